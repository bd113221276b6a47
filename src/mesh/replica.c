#include "replica.h"

#include "early.h"
#include "heads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct replica {
    feed_t *feed;
    wire_t *wire;
    uint8_t own[WIRE_KEY_BYTES];
    const trust_t *trust;
    const settings_t *settings;
    early_t *early;
    bool in_transaction;
    replica_counters_t counters;
};

static const char *const reason_names[REPLICA_REASON_COUNT] = {
    [REPLICA_UNKNOWN_ORIGIN] = "unknown-origin", [REPLICA_AGGREGATOR_ROLE] = "aggregator-role",
    [REPLICA_OUR_NUMBERS] = "our-numbers",       [REPLICA_TOO_MANY_FEEDS] = "too-many-feeds",
    [REPLICA_MORE_FRAMES] = "more-frames",       [REPLICA_WRONG_PEER] = "wrong-peer",
};

const char *replica_reason_name(replica_reason_t reason)
{
    return reason_names[reason];
}

replica_t *replica_new(feed_t *feed, wire_t *wire, const uint8_t own[static WIRE_KEY_BYTES],
                       const trust_t *trust, const settings_t *settings)
{
    replica_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    memcpy(self->own, own, WIRE_KEY_BYTES);
    self->early = early_new();
    replica_set_trust(self, trust, settings);
    return self;
}

void replica_destroy(replica_t **self_p)
{
    if (*self_p == NULL)
        return;
    early_destroy(&(*self_p)->early);
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
static bool is_trusted(const replica_t *self, const uint8_t *origin)
{
    return memcmp(origin, self->own, WIRE_KEY_BYTES) == 0 ||
           trust_by_sign(self->trust, origin) != NULL;
}

static bool is_aggregator(const replica_t *self, const uint8_t *origin)
{
    const trusted_t *node = trust_by_sign(self->trust, origin);
    return node != NULL && text_list_has(&self->settings->roles.aggregators, node->name);
}

/* The feed of an id, made if needed. A feed is added outside the transaction, so that a rollback
 * leaves every feed_ref_t valid. */
static feed_ref_t *open_feed(replica_t *self, const feed_id_t *id)
{
    feed_ref_t *ref = feed_find(self->feed, id);
    if (ref != NULL)
        return ref;
    return replica_commit(self) == 0 ? feed_add(self->feed, id) : NULL;
}

static replica_result_t open_failure(replica_t *self)
{
    return errno == EDQUOT ? refuse(self, REPLICA_TOO_MANY_FEEDS) : REPLICA_FAILED;
}

static int begin(replica_t *self)
{
    if (self->in_transaction)
        return 0;
    if (db_begin(feed_peers_db(self->feed)) == -1)
        return -1;
    self->in_transaction = true;
    return 0;
}

static int roll_back(replica_t *self)
{
    int saved = errno;
    db_rollback(feed_peers_db(self->feed));
    self->in_transaction = false;
    feed_forget(self->feed);
    errno = saved;
    return -1;
}

int replica_commit(replica_t *self)
{
    if (!self->in_transaction)
        return 0;
    if (db_commit(feed_peers_db(self->feed)) == -1)
        return roll_back(self);
    self->in_transaction = false;
    return 0;
}

/* Our own running epoch is numbered by us alone. An older one may come back to us from peers, after
 * a backup was restored. */
static bool numbers_are_ours(replica_t *self, const feed_ref_t *feed)
{
    return feed == feed_own_current(self->feed);
}

static replica_result_t store(replica_t *self, feed_ref_t *feed, uint64_t seq, const uint8_t *bytes,
                              size_t size)
{
    if (begin(self) == -1 || feed_store(self->feed, feed, seq, bytes, size) == -1) {
        roll_back(self);
        return REPLICA_FAILED;
    }
    self->counters.stored++;
    return REPLICA_STORED;
}

static replica_result_t store_early_ones(replica_t *self, feed_ref_t *feed)
{
    uint8_t *bytes;
    size_t size;
    replica_result_t result = REPLICA_STORED;
    while (result == REPLICA_STORED &&
           (size = early_take(self->early, feed, feed->have + 1, &bytes)) > 0) {
        result = store(self, feed, feed->have + 1, bytes, size);
        free(bytes);
    }
    return result;
}

static replica_result_t receive_batch(replica_t *self, const uint8_t *envelope, size_t size)
{
    wire_batch_t batch;
    wire_error_t error = wire_read_batch(self->wire, envelope, size, &batch);
    if (error != WIRE_OK)
        return refuse_wire(self, error);
    if (is_aggregator(self, batch.feed.origin))
        return refuse(self, REPLICA_AGGREGATOR_ROLE);
    feed_ref_t *feed = open_feed(self, &batch.feed);
    if (feed == NULL)
        return open_failure(self);
    if (batch.seq <= feed->have) {
        self->counters.known++;
        return REPLICA_KNOWN;
    }
    if (numbers_are_ours(self, feed))
        return refuse(self, REPLICA_OUR_NUMBERS);
    if (feed->head_seq < batch.seq)
        feed->head_seq = batch.seq;
    if (batch.seq > feed->have + 1) {
        self->counters.early++;
        early_put(self->early, feed, batch.seq, envelope, size);
        return REPLICA_EARLY;
    }
    replica_result_t result = store(self, feed, batch.seq, envelope, size);
    return result == REPLICA_STORED ? store_early_ones(self, feed) : result;
}

static replica_result_t receive_head(replica_t *self, const uint8_t *envelope, size_t size,
                                     wire_head_t *head)
{
    wire_error_t error = size > HEADS_ENVELOPE_MAX
                             ? WIRE_TOO_LONG
                             : wire_read_head(self->wire, envelope, size, head);
    if (error != WIRE_OK)
        return refuse_wire(self, error);
    self->counters.heads++;
    if (head->feed.epoch == 0 || is_aggregator(self, head->feed.origin))
        return REPLICA_HEAD; /* a heartbeat, nothing to fetch */
    feed_ref_t *feed = open_feed(self, &head->feed);
    if (feed == NULL)
        return open_failure(self);
    if (numbers_are_ours(self, feed))
        return REPLICA_HEAD;
    bool newer = head->seq > feed->kept_seq || head->floor > feed->floor;
    if (newer && (begin(self) == -1 ||
                  feed_keep_head(self->feed, feed, head->seq, head->floor, envelope, size) == -1)) {
        roll_back(self);
        return REPLICA_FAILED;
    }
    return REPLICA_HEAD;
}

replica_result_t replica_receive(replica_t *self, const uint8_t *envelope, size_t size,
                                 wire_head_t *head)
{
    if (!is_trusted(self, wire_origin(envelope)))
        return refuse(self, REPLICA_UNKNOWN_ORIGIN);
    wire_error_t error = wire_verify(self->wire, envelope, size);
    if (error != WIRE_OK)
        return refuse_wire(self, error);
    return wire_kind(envelope) == WIRE_HEAD ? receive_head(self, envelope, size, head)
                                            : receive_batch(self, envelope, size);
}
