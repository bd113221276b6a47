#include "replica.h"

#include "attempts.h"
#include "bytes.h"
#include "early.h"
#include "heads.h"
#include "position.h"
#include "seen.h"
#include "stored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_BYTES (1024 * 1024) /* in one transaction: it takes room before it gives it back */

const state_tables_t replica_tables = {.own = {attempts_table},
                                       .peers = {forks_table},
                                       .own_6 = attempts_6,
                                       .rekeyed = attempts_rekeyed};

struct replica {
    replica_config_t config;
    feed_t *feed;
    wire_t *wire;
    const trust_t *trust;
    const settings_t *settings;
    size_t note; /* of no size: early holds feeds */
    early_t *early;
    seen_t *seen;
    forks_t *forks;
    db_t *databases[2]; /* peers.db, own.db */
    bool in_transaction[2];
    size_t uncommitted_bytes;
    replica_counters_t counters;
};

static const char *const reason_names[REPLICA_REASON_COUNT] = {
    [REPLICA_UNKNOWN_ORIGIN] = "unknown-origin", [REPLICA_AGGREGATOR_ROLE] = "aggregator-role",
    [REPLICA_OUR_NUMBERS] = "our-numbers",       [REPLICA_TOO_MANY_FEEDS] = "too-many-feeds",
    [REPLICA_MORE_FRAMES] = "more-frames",       [REPLICA_WRONG_PEER] = "wrong-peer",
    [REPLICA_QUARANTINED] = "quarantined",
};

const char *replica_reason_name(replica_reason_t reason)
{
    return reason_names[reason];
}

static bool leave(void *arg, const feed_ref_t *feed, void *none)
{
    replica_t *self = arg;
    (void)none;
    early_forget(self->early, feed);
    return true;
}

static void quarantine_forked(replica_t *self)
{
    const fork_t *fork;
    for (size_t i = 0; (fork = forks_at(self->forks, i)) != NULL; i++)
        if (!fork->reset)
            feed_quarantine(self->feed, &fork->feed.origin, true);
}

replica_t *replica_new(const replica_config_t *config, const trust_t *trust,
                       const settings_t *settings, fault_t *fault)
{
    replica_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->feed = config->feed;
    self->wire = config->wire;
    self->databases[false] = feed_peers_db(config->feed);
    self->databases[true] = feed_own_db(config->feed);
    self->early = early_new();
    self->note = feed_reserve(self->feed, 0, leave, self);
    self->seen = seen_new();
    seen_fit(self->seen, feed_count(config->feed));
    self->forks = forks_new(feed_peers_db(config->feed), fault);
    replica_set_trust(self, trust, settings);
    if (self->forks == NULL)
        replica_destroy(&self);
    else
        quarantine_forked(self);
    return self;
}

void replica_destroy(replica_t **self_p)
{
    if (*self_p == NULL)
        return;
    feed_release((*self_p)->feed, (*self_p)->note);
    early_destroy(&(*self_p)->early);
    seen_destroy(&(*self_p)->seen);
    forks_destroy(&(*self_p)->forks);
    free(*self_p);
    *self_p = NULL;
}

void replica_set_trust(replica_t *self, const trust_t *trust, const settings_t *settings)
{
    self->trust = trust;
    self->settings = settings;
}

void replica_refuse(replica_t *self, replica_reason_t reason)
{
    self->counters.refused[reason]++;
}

void replica_refuse_wire(replica_t *self, wire_error_t error)
{
    self->counters.refused_wire[error]++;
}

const replica_counters_t *replica_counters(const replica_t *self)
{
    return &self->counters;
}

static replica_result_t refuse(replica_t *self, replica_reason_t reason)
{
    replica_refuse(self, reason);
    return REPLICA_REFUSED;
}

static replica_result_t refuse_wire(replica_t *self, wire_error_t error)
{
    replica_refuse_wire(self, error);
    return REPLICA_REFUSED;
}

/* Whether what this key signed counts here at all; asked before the costly verification. */
static bool is_aggregator(const replica_t *self, const trusted_t *node)
{
    return node != NULL && text_list_has(&self->settings->roles.aggregators, node->name);
}

/* The feed of an id, made if needed. A feed is added outside the transaction, so that a rollback
 * leaves every feed_ref_t valid. */
static const feed_ref_t *open_feed(replica_t *self, const feed_id_t *id)
{
    const feed_ref_t *ref = feed_find(self->feed, id);
    if (ref != NULL)
        return ref;
    ref = replica_commit(self) == 0 ? feed_add(self->feed, id) : NULL;
    seen_fit(self->seen, feed_count(self->feed));
    return ref;
}

static replica_result_t open_failure(replica_t *self)
{
    if (errno == ESTALE) {
        self->counters.known++; /* of an epoch that has ended: what counts of it is known */
        return REPLICA_KNOWN;
    }
    return errno == EDQUOT ? refuse(self, REPLICA_TOO_MANY_FEEDS) : REPLICA_FAILED;
}

/* Of the database that a feed is in: an older epoch of ours that comes back may be in own.db.
 *   frees  it leaves more room than it takes: also while the disk is full */
static int begin(replica_t *self, const feed_ref_t *feed, bool frees)
{
    db_t *db = self->databases[feed->own_db];
    bool *begun = &self->in_transaction[feed->own_db];
    if (*begun && !frees && db_is_frozen(db)) {
        errno = ENOSPC;
        return -1;
    }
    if (!*begun && (frees ? db_begin_freeing(db) : db_begin(db)) == -1)
        return -1;
    *begun = true;
    return 0;
}

static int roll_back(replica_t *self)
{
    int saved = errno;
    db_rollback(self->databases[false]);
    db_rollback(self->databases[true]);
    self->in_transaction[false] = self->in_transaction[true] = false;
    self->uncommitted_bytes = 0;
    seen_clear(self->seen);
    feed_forget(self->feed);
    if (self->config.taken_back != NULL)
        self->config.taken_back(self->config.arg);
    errno = saved;
    return -1;
}

int replica_commit(replica_t *self)
{
    for (int own_db = 0; own_db < 2; own_db++) {
        if (self->in_transaction[own_db] && db_commit(self->databases[own_db]) == -1)
            return roll_back(self);
        self->in_transaction[own_db] = false;
    }
    self->uncommitted_bytes = 0;
    return 0;
}

/* Our own running epoch is numbered by us alone. An older one may come back to us from peers, after
 * a backup was restored. */
static bool numbers_are_ours(replica_t *self, const feed_ref_t *feed)
{
    return feed == feed_own_current(self->feed);
}

/* ---- two bodies for one number ---- */

/* Compare a batch with what else was signed for its number. True if they differ: the origin is in
 * quarantine from now on. */
static bool differs(replica_t *self, const feed_ref_t *feed, uint64_t seq, const envelope_t *here,
                    const uint8_t hash_there[static WIRE_HASH_BYTES])
{
    fork_t fork = {.feed = feed->id, .seq = seq, .found_ms = wall_now().ms};
    wire_hash(here, fork.hash_here);
    if (memcmp(fork.hash_here, hash_there, WIRE_HASH_BYTES) == 0)
        return false;
    memcpy(fork.hash_there, hash_there, WIRE_HASH_BYTES);
    if (forks_add(self->forks, &fork) && self->config.forked != NULL)
        self->config.forked(self->config.arg, &fork);
    feed_quarantine(self->feed, &feed->id.origin, true);
    return true;
}

/* The same for the batch that we hold. */
static bool is_forked(replica_t *self, const feed_ref_t *feed, uint64_t seq,
                      const uint8_t hash_there[static WIRE_HASH_BYTES])
{
    envelope_t here;
    return forks_compares(self->forks, &feed->id) && stored_open(self->feed, feed, seq, &here) &&
           differs(self, feed, seq, &here, hash_there);
}

/* A batch that comes, and that its origin's head was known of before: they must agree. The batch is
 * decoded anew, since reading the head undid that. */
static bool differs_from_head(replica_t *self, const feed_ref_t *feed, const envelope_t *envelope,
                              wire_batch_t *batch)
{
    uint8_t bytes[HEADS_ENVELOPE_MAX];
    envelope_t kept;
    wire_head_t head;
    if (batch->seq != feed->kept_seq || !forks_compares(self->forks, &feed->id))
        return false;
    size_t size = feed_read_head(self->feed, feed, bytes, sizeof bytes);
    bool differ = wire_open(bytes, size, &kept) == WIRE_OK &&
                  wire_read_head(self->wire, &kept, &head) == WIRE_OK && head.seq == batch->seq &&
                  differs(self, feed, head.seq, envelope, head.hash);
    wire_read_batch(self->wire, envelope, batch);
    return differ;
}

/* ---- batches and heads ---- */

/* The next batch of a feed, decoded last of all. */
static replica_result_t store(replica_t *self, const feed_ref_t *feed, const arrival_t *in,
                              wire_batch_t *batch)
{
    const envelope_t *envelope = &in->envelope;
    /* Before anybody acts on it or passes it on. */
    if (differs_from_head(self, feed, envelope, batch))
        return refuse(self, REPLICA_QUARANTINED);
    if (begin(self, feed, false) == -1)
        return REPLICA_FAILED;
    if (feed_store(self->feed, feed, batch->seq, envelope->bytes, envelope->size) == -1) {
        roll_back(self);
        return REPLICA_FAILED;
    }
    self->counters.stored++;
    seen_add(self->seen, envelope->bytes, envelope->size);
    if (self->config.stored != NULL)
        self->config.stored(self->config.arg, in, feed, batch);
    self->uncommitted_bytes += envelope->size;
    if (self->uncommitted_bytes >= COMMIT_BYTES && replica_commit(self) == -1)
        return REPLICA_FAILED;
    return REPLICA_STORED;
}

/* Of the same origin as the one before them. Those were live, only too early, and were read well
 * when they came. */
static replica_result_t store_early_ones(replica_t *self, const feed_ref_t *feed,
                                         const trusted_t *signer)
{
    arrival_t in = {.signer = signer, .live = true};
    wire_batch_t batch;
    replica_result_t result = REPLICA_STORED;
    while (result == REPLICA_STORED &&
           early_take(self->early, feed, feed->have + 1, &in.envelope)) {
        if (wire_read_batch(self->wire, &in.envelope, &batch) == WIRE_OK)
            result = store(self, feed, &in, &batch);
        wire_free(&in.envelope);
    }
    return result;
}

static replica_result_t receive_known(replica_t *self, const feed_ref_t *feed, uint64_t seq,
                                      const envelope_t *envelope)
{
    uint8_t hash[WIRE_HASH_BYTES];
    wire_hash(envelope, hash);
    if (is_forked(self, feed, seq, hash))
        return refuse(self, REPLICA_QUARANTINED);
    seen_add(self->seen, envelope->bytes, envelope->size);
    self->counters.known++;
    return REPLICA_KNOWN;
}

/* in is this function's own: what a node that nobody can reach offers while we fetch from it looks
 * like an answer. Beyond all that was promised it is news. */
static replica_result_t receive_batch(replica_t *self, arrival_t *in)
{
    wire_batch_t batch;
    wire_error_t error = wire_read_batch(self->wire, &in->envelope, &batch);
    if (error != WIRE_OK)
        return refuse_wire(self, error);
    if (is_aggregator(self, in->signer))
        return refuse(self, REPLICA_AGGREGATOR_ROLE);
    if (in->quarantined)
        return refuse(self, REPLICA_QUARANTINED);
    const feed_ref_t *feed = open_feed(self, &batch.feed);
    if (feed == NULL)
        return open_failure(self);
    if (feed->ended && !feed_keeps_history(self->feed)) {
        self->counters.known++;
        return REPLICA_KNOWN;
    }
    if (batch.seq <= feed->have)
        return receive_known(self, feed, batch.seq, &in->envelope);
    if (numbers_are_ours(self, feed))
        return refuse(self, REPLICA_OUR_NUMBERS);
    if (batch.seq > feed->have + 1) {
        feed_promise(self->feed, feed, batch.seq);
        self->counters.early++;
        early_put(self->early, feed, batch.seq, &in->envelope);
        return REPLICA_EARLY;
    }
    in->live = in->live || batch.seq > feed->head_seq;
    replica_result_t result = store(self, feed, in, &batch);
    if (result == REPLICA_FAILED)
        feed_promise(self->feed, feed, batch.seq); /* to be fetched as soon as it can be stored */
    return result == REPLICA_STORED ? store_early_ones(self, feed, in->signer) : result;
}

static feed_mark_t mark_of(const wire_head_t *head)
{
    return (feed_mark_t){head->seq, head->floor, head->epoch_floor};
}

/* A floor that rises makes room. */
static int write_head(replica_t *self, const feed_ref_t *feed, const envelope_t *envelope,
                      const wire_head_t *head)
{
    const feed_mark_t mark = mark_of(head);
    if (!position_is_newer(feed, &mark))
        return 0;
    if (begin(self, feed, mark.floor > feed->floor || mark.epoch_floor > feed->epoch_floor) == -1)
        return -1;
    if (feed_keep_head(self->feed, feed, &mark, envelope->bytes, envelope->size) == -1)
        return roll_back(self);
    return 0;
}

#define WORDS_BYTES (FEED_ID_BYTES + 3 * 8 + WIRE_HASH_BYTES)

/* What a head says, but for its time: each heartbeat says it again. */
static void put_words(uint8_t out[static WORDS_BYTES], const wire_head_t *head)
{
    feed_id_put(out, &head->feed);
    out += FEED_ID_BYTES;
    put_u64(out, head->seq);
    put_u64(out + 8, head->floor);
    put_u64(out + 16, head->epoch_floor);
    memcpy(out + 24, head->hash, WIRE_HASH_BYTES);
}

static bool was_said(const replica_t *self, const wire_head_t *head)
{
    uint8_t words[WORDS_BYTES];
    put_words(words, head);
    return seen_has(self->seen, words, sizeof words);
}

/* Only once it is kept, and compared with the batch that is here. */
static void note_said(replica_t *self, const wire_head_t *head)
{
    uint8_t words[WORDS_BYTES];
    put_words(words, head);
    seen_add(self->seen, words, sizeof words);
}

static replica_result_t keep_head(replica_t *self, const envelope_t *envelope,
                                  const wire_head_t *head)
{
    /* First: of an origin with too many feeds it may end some. */
    feed_raise_epoch_floor(self->feed, &head->feed.origin, head->epoch_floor);
    const feed_ref_t *feed = open_feed(self, &head->feed);
    if (feed == NULL && errno == ESTALE)
        return REPLICA_HEAD; /* a heartbeat all the same */
    if (feed == NULL)
        return open_failure(self);
    bool is_here = head->seq <= feed->have;
    if (is_here && head->seq > 0 && !was_said(self, head))
        is_forked(self, feed, head->seq, head->hash);
    if (forks_holds(self->forks, &head->feed.origin))
        return REPLICA_HEAD;
    if (!numbers_are_ours(self, feed) && write_head(self, feed, envelope, head) == -1) {
        feed_promise(self->feed, feed, head->seq); /* to be fetched as soon as it can be stored */
        return REPLICA_FAILED;
    }
    if (!numbers_are_ours(self, feed))
        seen_add(self->seen, envelope->bytes, envelope->size);
    if (is_here)
        note_said(self, head);
    return REPLICA_HEAD;
}

static replica_result_t receive_head(replica_t *self, const arrival_t *in, wire_head_t *head)
{
    wire_error_t error = in->envelope.size > HEADS_ENVELOPE_MAX
                             ? WIRE_TOO_LONG
                             : wire_read_head(self->wire, &in->envelope, head);
    if (error != WIRE_OK)
        return refuse_wire(self, error);
    self->counters.heads++;
    /* A heartbeat, nothing to fetch. */
    if (head->feed.epoch == 0 || is_aggregator(self, in->signer) ||
        forks_holds(self->forks, &head->feed.origin))
        return REPLICA_HEAD;
    return keep_head(self, &in->envelope, head);
}

bool replica_knows_head(replica_t *self, const envelope_t *envelope, wire_head_t *head)
{
    if (envelope->size > HEADS_ENVELOPE_MAX ||
        wire_read_head(self->wire, envelope, head) != WIRE_OK)
        return false;
    /* Epoch 0: of a node that has banned nothing yet. */
    if (head->feed.epoch != 0 && !was_said(self, head))
        return false;
    self->counters.heads++;
    return true;
}

bool replica_takes(const replica_t *self, const pubkey_t *origin)
{
    const trusted_t *node = trust_by_sign(self->trust, origin);
    return (node != NULL || feed_is_ours(self->feed, origin)) && !is_aggregator(self, node) &&
           !forks_holds(self->forks, origin);
}

bool replica_resolve(replica_t *self, arrival_t *in)
{
    const pubkey_t *origin = in->envelope.origin;
    in->signer = trust_by_sign(self->trust, origin);
    in->quarantined = forks_holds(self->forks, origin);
    if (in->signer != NULL || feed_is_ours(self->feed, origin))
        return true;
    replica_refuse(self, REPLICA_UNKNOWN_ORIGIN);
    return false;
}

replica_result_t replica_look(replica_t *self, arrival_t *in)
{
    const envelope_t *envelope = &in->envelope;
    if (!replica_resolve(self, in))
        return REPLICA_REFUSED;
    if (envelope->kind == WIRE_BATCH && in->quarantined)
        return refuse(self, REPLICA_QUARANTINED);
    if (!seen_has(self->seen, envelope->bytes, envelope->size))
        return REPLICA_WANTED;
    self->counters.known++;
    return REPLICA_KNOWN;
}

replica_result_t replica_receive(replica_t *self, const arrival_t *in, wire_head_t *head)
{
    arrival_t own = *in;
    return in->envelope.kind == WIRE_HEAD ? receive_head(self, in, head)
                                          : receive_batch(self, &own);
}

int replica_reset(replica_t *self, const pubkey_t *origin)
{
    if (replica_commit(self) == -1)
        return -1;
    int count = forks_reset(self->forks, origin);
    if (count > 0)
        feed_quarantine(self->feed, origin, forks_holds(self->forks, origin));
    return count;
}

const fork_t *replica_fork(const replica_t *self, size_t index)
{
    return forks_at(self->forks, index);
}
