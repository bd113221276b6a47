#include "catchup.h"

#include "denials.h"

#include <stdlib.h>

#define STUCK_MS            5000  /* without a batch of what was asked for */
#define ANSWER_MAX_MS       30000 /* for a whole answer */
#define FRUITLESS_WAIT_MS   500   /* doubled each time, so many times at most: */
#define FRUITLESS_DOUBLINGS 4
#define PROMISE_DOUBLINGS   7 /* for a feed that nobody gave a batch of: promises cost little */

/* How the search for one feed stands. */
typedef struct {
    const peer_t *asked; /* a request is out; NULL: none */
    bool in_between;     /* to a newcomer, while the others are left in peace */
    mono_t asked_at;
    mono_t progress_at;
    uint64_t have_seen; /* at progress_at */
    uint64_t have_then; /* when it was asked */
    mono_t not_before;  /* wait after an answer that brought nothing */
    size_t turn;        /* 0: ask the origin; then the others in turn */
    const peer_t *good; /* brought something the last time, and may have more; NULL: nobody */
    unsigned fruitless; /* answers in a row that brought nothing */
    bool begun;
    uint64_t met;      /* newcomers up to this number were asked */
    denials_t denials; /* where the history is kept: who lacks what comes next */
} search_t;

/* A peer that got connected; the later, the larger its number. */
typedef struct {
    peer_t *peer;
    uint64_t number; /* from 1 on */
} newcomer_t;

/* A search that waits for an answer. */
typedef struct {
    const peer_t *peer;
    const feed_ref_t *feed; /* it stays as long: see leave */
} request_t;

struct catchup {
    feed_t *feed;
    wire_t *wire;
    const replica_t *replica;
    size_t note;       /* search_t */
    mono_t looked_at;  /* by the last pump */
    size_t next;       /* feed to begin with, so that each gets its turn */
    bool due;          /* somebody is free, or new */
    uint64_t promises; /* of the feeds, at the last pump */
    request_t *busy;   /* requests that are out */
    size_t busy_count;
    size_t busy_size;
    newcomer_t *newcomers; /* who is connected, in the order in which they came */
    size_t newcomer_count;
    uint64_t newcomer_number; /* of the last one */
    uint8_t out[WIRE_ENVELOPE_MAX];
};

static search_t *search_of(const catchup_t *self, const feed_ref_t *ref)
{
    return feed_note(ref, self->note);
}

/* Not while an answer is awaited: it is known by its feed. */
static bool leave(void *arg, const feed_ref_t *ref, void *note)
{
    search_t *search = note;
    (void)arg;
    (void)ref;
    if (search->asked != NULL)
        return false;
    denials_clear(&search->denials);
    return true;
}

catchup_t *catchup_new(feed_t *feed, wire_t *wire, const replica_t *replica)
{
    catchup_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    self->replica = replica;
    self->note = feed_reserve(feed, sizeof(search_t), leave, self);
    return self;
}

void catchup_destroy(catchup_t **self_p)
{
    catchup_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < feed_count(self->feed); i++)
        denials_clear(&search_of(self, feed_at(self->feed, i))->denials);
    feed_release(self->feed, self->note);
    free(self->busy);
    free(self->newcomers);
    free(self);
}

static bool is_behind(const feed_ref_t *ref)
{
    return ref->have < ref->head_seq;
}

bool catchup_is_asked(const catchup_t *self, const peer_t *peer)
{
    for (size_t i = 0; i < self->busy_count; i++)
        if (self->busy[i].peer == peer)
            return true;
    return false;
}

static void begin(catchup_t *self, const feed_ref_t *ref, const peer_t *peer)
{
    if (self->busy_count == self->busy_size) {
        self->busy_size = self->busy_size * 2 + 8;
        self->busy = xrealloc(self->busy, self->busy_size * sizeof *self->busy);
    }
    self->busy[self->busy_count++] = (request_t){peer, ref};
    search_of(self, ref)->asked = peer;
}

static void end(catchup_t *self, search_t *search)
{
    for (size_t i = 0; i < self->busy_count; i++)
        if (self->busy[i].peer == search->asked) {
            self->busy[i] = self->busy[--self->busy_count];
            break;
        }
    search->asked = NULL;
    self->due = true;
}

static bool is_origin(const peer_t *peer, const feed_ref_t *ref)
{
    return pubkey_equal(&peer_node(peer)->sign_public, &ref->id.origin);
}

static bool lacks_it(const search_t *search, const peer_t *peer)
{
    return denials_has(&search->denials, &peer_node(peer)->sign_public);
}

/* Whom to ask now: who brought something last, or the origin at turn 0; at each later turn another
 * one of the connected ones, first of those who did not say that they lack it. NULL if nobody is
 * connected. */
static peer_t *choose(const search_t *search, const feed_ref_t *ref, const catchup_peers_t *them)
{
    size_t connected = 0;
    size_t hopeful = 0;
    for (size_t i = 0; i < them->count; i++) {
        peer_t *peer = them->peers[i];
        if (!peer_connected(peer))
            continue;
        if (peer == search->good || (search->turn == 0 && is_origin(peer, ref)))
            return peer;
        connected++;
        hopeful += !lacks_it(search, peer);
    }
    if (connected == 0)
        return NULL;
    size_t chosen = search->turn % (hopeful > 0 ? hopeful : connected);
    for (size_t i = 0; i < them->count; i++)
        if (peer_connected(them->peers[i]) && (hopeful == 0 || !lacks_it(search, them->peers[i])) &&
            chosen-- == 0)
            return them->peers[i];
    return NULL;
}

/* The next one to be asked in between, since it got connected while this search waits. */
static const newcomer_t *find_newcomer(const catchup_t *self, const search_t *search)
{
    if (search->met >= self->newcomer_number)
        return NULL;
    for (size_t i = 0; i < self->newcomer_count; i++)
        if (self->newcomers[i].number > search->met)
            return &self->newcomers[i];
    return NULL;
}

static bool has_nothing(const feed_ref_t *ref)
{
    return ref->oldest > ref->have;
}

/* This peer brought nothing, and yet there is more: somebody else may have it, or it is of an
 * origin that is trusted no longer and nobody's copy counts. */
static void turn_away(search_t *search, const feed_ref_t *ref)
{
    unsigned most = has_nothing(ref) ? PROMISE_DOUBLINGS : FRUITLESS_DOUBLINGS;
    unsigned doublings = search->fruitless < most ? search->fruitless : most;
    search->turn++;
    search->fruitless++;
    search->good = NULL;
    search->not_before.ms = mono_now().ms + (FRUITLESS_WAIT_MS << doublings);
}

static void ask(catchup_t *self, search_t *search, const feed_ref_t *ref, peer_t *peer)
{
    wire_fetch_t fetch = {.feed = ref->id, .after = ref->have, .credit = CATCHUP_CREDIT};
    size_t size = wire_write_fetch(self->wire, &fetch, self->out);
    if (peer_send(peer, self->out, size) == -1) {
        if (!search->in_between)
            turn_away(search, ref);
        return;
    }
    begin(self, ref, peer);
    search->asked_at = search->progress_at = mono_now();
    search->have_then = search->have_seen = ref->have;
}

static size_t count_connected(const catchup_peers_t *them)
{
    size_t connected = 0;
    for (size_t i = 0; i < them->count; i++)
        connected += peer_connected(them->peers[i]);
    return connected;
}

/* Where the history is kept: what comes next is gone if all who are connected said that they lack
 * it, and the origin did, or was away for long; and if nobody is left who may yet be connected, or
 * had the time for it. */
static bool is_gone(const search_t *search, const feed_ref_t *ref, const catchup_peers_t *them,
                    mono_t now)
{
    const denials_t *denials = &search->denials;
    if (denials->count == 0 || denials->behind != ref->have)
        return false;
    bool everybody = them->unseen == 0;
    for (size_t i = 0; i < them->count; i++) {
        bool said = lacks_it(search, them->peers[i]);
        if (!said && peer_connected(them->peers[i]))
            return false;
        everybody = everybody && said;
    }
    int64_t waited_ms = now.ms - denials->since.ms;
    return (denials_has(denials, &ref->id.origin) || waited_ms >= CATCHUP_ORIGIN_WAIT_MS) &&
           (everybody || waited_ms >= CATCHUP_PEERS_WAIT_MS);
}

static void give_up(catchup_t *self, search_t *search, const feed_ref_t *ref)
{
    uint64_t next = search->denials.oldest != 0 ? search->denials.oldest : ref->floor;
    feed_give_up(self->feed, ref, next - 1);
    denials_clear(&search->denials);
    search->turn = search->fruitless = 0;
    search->not_before.ms = 0;
    search->good = NULL;
}

/* Go on with one search, if somebody is free for it. */
static void pursue(catchup_t *self, size_t at, const catchup_peers_t *them, mono_t now)
{
    const feed_ref_t *ref = feed_at(self->feed, at);
    search_t *search = search_of(self, ref);
    if (!search->begun) {
        search->begun = true;
        search->met = self->newcomer_number; /* who is there is asked in turn */
    }
    if (!is_behind(ref) || search->asked != NULL || !replica_takes(self->replica, &ref->id.origin))
        return;
    const newcomer_t *newcomer =
        now.ms < search->not_before.ms ? find_newcomer(self, search) : NULL;
    if (now.ms < search->not_before.ms && newcomer == NULL)
        return;
    if (newcomer == NULL && is_gone(search, ref, them, now))
        give_up(self, search, ref);
    if (!is_behind(ref))
        return;
    peer_t *peer = newcomer != NULL ? newcomer->peer : choose(search, ref, them);
    if (peer == NULL || catchup_is_asked(self, peer))
        return;
    search->in_between = newcomer != NULL;
    if (newcomer != NULL)
        search->met = newcomer->number;
    ask(self, search, ref, peer);
    self->next = at + 1;
}

void catchup_pump(catchup_t *self, const catchup_peers_t *them, mono_t now)
{
    self->looked_at = now;
    self->due = false;
    self->promises = feed_promises(self->feed);
    size_t count = feed_count(self->feed);
    size_t connected = count_connected(them);
    size_t next = self->next;
    for (size_t i = 0; i < count && self->busy_count < connected; i++)
        pursue(self, (next + i) % count, them, now);
}

bool catchup_is_due(const catchup_t *self)
{
    return self->due || self->promises != feed_promises(self->feed);
}

/* Whether an answer without a batch says that the peer lacks what comes next, and that may be gone:
 * it lies under the floor, and there is nothing behind it, or something later. Who promises for as
 * long as an origin is waited for, and brings nothing, lacks it, too; unless it came and the disk
 * is full. */
static bool says_it_lacks(const catchup_t *self, const search_t *search, const feed_ref_t *ref,
                          const wire_done_t *done)
{
    if (!feed_keeps_history(self->feed) || ref->have + 1 >= ref->floor ||
        ref->have != search->have_then)
        return false;
    if (done->oldest != ref->have + 1)
        return done->oldest == 0 || done->oldest > ref->have;
    return search->denials.since.ms != 0 && !state_is_full(feed_state(self->feed)) &&
           self->looked_at.ms - search->denials.since.ms >= CATCHUP_ORIGIN_WAIT_MS;
}

/* Others are asked at once, until all said so. */
static void note_lack(search_t *search, const feed_ref_t *ref, const peer_t *peer, uint64_t oldest)
{
    bool first = denials_add(&search->denials, &peer_node(peer)->sign_public, ref->have,
                             oldest > ref->have + 1 ? oldest : 0, mono_now());
    if (search->in_between)
        return;
    if (first) {
        search->turn++;
        search->good = NULL;
    } else
        turn_away(search, ref);
}

static void take_answer(catchup_t *self, search_t *search, const feed_ref_t *ref,
                        const peer_t *peer, const wire_done_t *done)
{
    bool progress = ref->have > search->have_then;
    end(self, search);
    if (progress) {
        search->fruitless = 0;
        search->not_before.ms = 0;
        search->good = peer;
        denials_clear(&search->denials);
    }
    if (!is_behind(ref)) {
        search->turn = 0;
        search->good = NULL;
    } else if (!progress && says_it_lacks(self, search, ref, done))
        note_lack(search, ref, peer, done->oldest);
    else if (progress ? done->through >= done->have : !search->in_between)
        turn_away(search, ref);
}

void catchup_done(catchup_t *self, const peer_t *peer, const wire_done_t *done)
{
    const feed_ref_t *ref = feed_find(self->feed, &done->feed);
    if (ref != NULL && search_of(self, ref)->asked == peer)
        take_answer(self, search_of(self, ref), ref, peer, done);
}

static void forget_newcomer(catchup_t *self, const peer_t *peer)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->newcomer_count; i++)
        if (self->newcomers[i].peer != peer)
            self->newcomers[kept++] = self->newcomers[i];
    self->newcomer_count = kept;
}

void catchup_release(catchup_t *self, const peer_t *peer)
{
    forget_newcomer(self, peer);
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        search_t *search = search_of(self, feed_at(self->feed, i));
        if (search->good == peer)
            search->good = NULL;
        if (search->asked != peer)
            continue;
        end(self, search);
        search->turn += !search->in_between;
    }
}

/* Only batches of the feed that was asked for count: a bad peer may send other things for ever. */
bool catchup_is_stuck(catchup_t *self, const peer_t *peer)
{
    for (size_t i = 0; i < self->busy_count; i++) {
        if (self->busy[i].peer != peer)
            continue;
        search_t *search = search_of(self, self->busy[i].feed);
        uint64_t have = self->busy[i].feed->have;
        if (have > search->have_seen) {
            search->have_seen = have;
            search->progress_at = mono_now();
        }
        return mono_since_ms(search->progress_at) > STUCK_MS ||
               mono_since_ms(search->asked_at) > ANSWER_MAX_MS;
    }
    return false;
}

/* Pauses stand: one who comes and goes all the time must not have others asked again and again, nor
 * keep them from being asked. */
void catchup_favour(catchup_t *self, peer_t *peer)
{
    self->due = true;
    forget_newcomer(self, peer);
    self->newcomers =
        xrealloc(self->newcomers, (self->newcomer_count + 1) * sizeof *self->newcomers);
    self->newcomers[self->newcomer_count++] = (newcomer_t){peer, ++self->newcomer_number};
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        search_t *search = search_of(self, feed_at(self->feed, i));
        denials_remove(&search->denials, &peer_node(peer)->sign_public);
        if (search->fruitless == 0 && search->good == NULL &&
            is_origin(peer, feed_at(self->feed, i)))
            search->turn = 0;
    }
}

uint64_t catchup_missing(const catchup_t *self)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *ref = feed_at(self->feed, i);
        missing += ref->head_seq - ref->have;
    }
    return missing;
}

uint64_t catchup_lag(const catchup_t *self, const pubkey_t *origin)
{
    uint64_t missing = 0;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *ref = feed_at(self->feed, i);
        if (pubkey_equal(&ref->id.origin, origin))
            missing += ref->head_seq - ref->have;
    }
    return missing;
}
