#include "catchup.h"

#include <stdlib.h>
#include <string.h>

#define STUCK_MS            5000  /* without a batch of what was asked for */
#define ANSWER_MAX_MS       30000 /* for a whole answer */
#define FRUITLESS_WAIT_MS   500   /* doubled each time, FRUITLESS_DOUBLINGS times at most */
#define FRUITLESS_DOUBLINGS 4
#define ORIGIN_WAIT_MS      3600000 /* before what only it may have counts as gone */

/* How the search for one feed stands; by the feed's index. */
typedef struct {
    const peer_t *asked; /* a request is out; NULL: none */
    mono_t asked_at;
    mono_t progress_at;
    uint64_t have_seen; /* at progress_at */
    uint64_t have_then; /* when it was asked */
    mono_t not_before;  /* wait after an answer that brought nothing */
    size_t turn;        /* 0: ask the origin; then the others in turn */
    unsigned fruitless; /* answers in a row that brought nothing */
    uint64_t oldest;    /* where those who lack what comes next go on; 0: nobody said */
    mono_t refused_at;  /* when the first of them said so */
    bool origin_lacks;  /* the origin is one of them */
} search_t;

struct catchup {
    feed_t *feed;
    wire_t *wire;
    const replica_t *replica;
    search_t *searches;
    size_t count;
    size_t connected;    /* peers, when last looked at */
    size_t next;         /* feed to begin with, so that each gets its turn */
    const peer_t **busy; /* requests are out to them */
    size_t busy_count;
    size_t busy_size;
    uint8_t out[WIRE_ENVELOPE_MAX];
};

catchup_t *catchup_new(feed_t *feed, wire_t *wire, const replica_t *replica)
{
    catchup_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    self->replica = replica;
    return self;
}

void catchup_destroy(catchup_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->searches);
    free((*self_p)->busy);
    free(*self_p);
    *self_p = NULL;
}

static bool is_behind(const feed_ref_t *ref)
{
    return ref->have < ref->head_seq;
}

bool catchup_is_asked(const catchup_t *self, const peer_t *peer)
{
    for (size_t i = 0; i < self->busy_count; i++)
        if (self->busy[i] == peer)
            return true;
    return false;
}

static void begin(catchup_t *self, search_t *search, const peer_t *peer)
{
    if (self->busy_count == self->busy_size) {
        self->busy_size = self->busy_size * 2 + 8;
        self->busy = xrealloc(self->busy, self->busy_size * sizeof(peer_t *));
    }
    self->busy[self->busy_count++] = search->asked = peer;
}

static void end(catchup_t *self, search_t *search)
{
    for (size_t i = 0; i < self->busy_count; i++)
        if (self->busy[i] == search->asked) {
            self->busy[i] = self->busy[--self->busy_count];
            break;
        }
    search->asked = NULL;
}

static bool is_origin(const peer_t *peer, const feed_ref_t *ref)
{
    return memcmp(peer_node(peer)->sign_public, ref->id.origin, FEED_ORIGIN_BYTES) == 0;
}

/* Whom to ask now: the origin at turn 0, at each later turn the next of the connected ones. NULL if
 * nobody is connected. */
static peer_t *choose(const search_t *search, const feed_ref_t *ref, peer_t *const *peers,
                      size_t peer_count)
{
    size_t connected = 0;
    for (size_t i = 0; i < peer_count; i++) {
        if (!peer_connected(peers[i]))
            continue;
        connected++;
        if (search->turn == 0 && is_origin(peers[i], ref))
            return peers[i];
    }
    if (connected == 0)
        return NULL;
    size_t chosen = search->turn % connected;
    for (size_t i = 0; i < peer_count; i++)
        if (peer_connected(peers[i]) && chosen-- == 0)
            return peers[i];
    return NULL;
}

/* This peer brought nothing, and yet there is more: somebody else may have it, or it is of an
 * origin that is trusted no longer and nobody's copy counts. */
static void turn_away(search_t *search)
{
    unsigned doublings =
        search->fruitless < FRUITLESS_DOUBLINGS ? search->fruitless : FRUITLESS_DOUBLINGS;
    search->turn++;
    search->fruitless++;
    search->not_before.ms = mono_now().ms + (FRUITLESS_WAIT_MS << doublings);
}

static void ask(catchup_t *self, search_t *search, const feed_ref_t *ref, peer_t *peer)
{
    wire_fetch_t fetch = {.feed = ref->id, .after = ref->have, .credit = CATCHUP_CREDIT};
    size_t size = wire_write_fetch(self->wire, &fetch, self->out);
    if (peer_send(peer, self->out, size) == -1) {
        turn_away(search);
        return;
    }
    begin(self, search, peer);
    search->asked_at = search->progress_at = mono_now();
    search->have_then = search->have_seen = ref->have;
}

static void follow_feeds(catchup_t *self)
{
    size_t count = feed_count(self->feed);
    if (count == self->count)
        return;
    self->searches = xrealloc(self->searches, count * sizeof *self->searches);
    memset(self->searches + self->count, 0, (count - self->count) * sizeof *self->searches);
    self->count = count;
}

static size_t count_connected(peer_t *const *peers, size_t peer_count)
{
    size_t connected = 0;
    for (size_t i = 0; i < peer_count; i++)
        connected += peer_connected(peers[i]);
    return connected;
}

void catchup_pump(catchup_t *self, peer_t *const *peers, size_t peer_count)
{
    self->connected = count_connected(peers, peer_count);
    follow_feeds(self);
    size_t next = self->next;
    for (size_t i = 0; i < self->count && self->busy_count < self->connected; i++) {
        size_t at = (next + i) % self->count;
        search_t *search = &self->searches[at];
        const feed_ref_t *ref = feed_at(self->feed, at);
        if (!is_behind(ref) || search->asked != NULL || mono_since_ms(search->not_before) < 0 ||
            !replica_takes(self->replica, ref->id.origin))
            continue;
        peer_t *peer = choose(search, ref, peers, peer_count);
        if (peer == NULL || catchup_is_asked(self, peer))
            continue;
        ask(self, search, ref, peer);
        self->next = at + 1;
    }
}

static bool lacks_next(const feed_ref_t *ref, const wire_done_t *done)
{
    return done->have > 0 && done->oldest > ref->have + 1;
}

/* Where the history is kept: this peer has nothing as old as we want. Others are asked at once. If
 * everybody was, and the origin itself, or it is away for long, what lies before the oldest that is
 * left is gone. */
static void weigh_oldest(catchup_t *self, search_t *search, feed_ref_t *ref, const peer_t *peer,
                         const wire_done_t *done)
{
    if (search->oldest == 0)
        search->refused_at = mono_now();
    if (search->oldest == 0 || done->oldest < search->oldest)
        search->oldest = done->oldest;
    search->origin_lacks = search->origin_lacks || is_origin(peer, ref);
    if (search->turn < self->connected) {
        search->turn++;
        return;
    }
    turn_away(search);
    if (!search->origin_lacks && mono_since_ms(search->refused_at) < ORIGIN_WAIT_MS)
        return;
    feed_give_up(self->feed, ref, search->oldest - 1);
    search->oldest = search->turn = search->fruitless = 0;
    search->not_before.ms = 0;
    search->origin_lacks = false;
}

static void take_answer(catchup_t *self, search_t *search, feed_ref_t *ref, const peer_t *peer,
                        const wire_done_t *done)
{
    bool progress = ref->have > search->have_then;
    end(self, search);
    if (progress) {
        search->fruitless = 0;
        search->oldest = 0;
        search->origin_lacks = false;
    }
    if (!is_behind(ref))
        search->turn = 0;
    else if (!progress && feed_keeps_history(self->feed) && lacks_next(ref, done))
        weigh_oldest(self, search, ref, peer, done);
    else if (!progress || done->through >= done->have)
        turn_away(search);
}

void catchup_done(catchup_t *self, const peer_t *peer, const wire_done_t *done)
{
    feed_ref_t *ref = feed_find(self->feed, &done->feed);
    for (size_t i = 0; ref != NULL && i < self->count; i++)
        if (self->searches[i].asked == peer && feed_at(self->feed, i) == ref)
            take_answer(self, &self->searches[i], ref, peer, done);
}

void catchup_release(catchup_t *self, const peer_t *peer)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->searches[i].asked == peer) {
            end(self, &self->searches[i]);
            self->searches[i].turn++;
        }
}

/* Only batches of the feed that was asked for count: a bad peer may send other things for ever. */
bool catchup_is_stuck(catchup_t *self, const peer_t *peer)
{
    for (size_t i = 0; i < self->count; i++) {
        search_t *search = &self->searches[i];
        if (search->asked != peer)
            continue;
        uint64_t have = feed_at(self->feed, i)->have;
        if (have > search->have_seen) {
            search->have_seen = have;
            search->progress_at = mono_now();
        }
        return mono_since_ms(search->progress_at) > STUCK_MS ||
               mono_since_ms(search->asked_at) > ANSWER_MAX_MS;
    }
    return false;
}

void catchup_favour(catchup_t *self, const peer_t *peer)
{
    for (size_t i = 0; i < self->count; i++) {
        self->searches[i].fruitless = 0;
        self->searches[i].not_before.ms = 0;
        if (is_origin(peer, feed_at(self->feed, i)))
            self->searches[i].turn = 0;
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

uint64_t catchup_lag(const catchup_t *self, const uint8_t origin[static FEED_ORIGIN_BYTES])
{
    uint64_t missing = 0;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *ref = feed_at(self->feed, i);
        if (memcmp(ref->id.origin, origin, FEED_ORIGIN_BYTES) == 0)
            missing += ref->head_seq - ref->have;
    }
    return missing;
}
