/* housekeeper - all that is done to the replica when nobody waits for it: room on the disk, the
 * beginning of our own log, what lies under floors, epochs that ended, attempts too old to be
 * repeated. In small steps, so that no ban waits. Knows neither loop nor log: the caller says when,
 * and tells the operator what changed. */
#ifndef BANMESH_REPLICA_HOUSEKEEPER_H
#define BANMESH_REPLICA_HOUSEKEEPER_H

#include "own_feed.h"
#include "replica.h"
#include "steady.h"

typedef struct housekeeper housekeeper_t;

typedef struct {
    feed_t *feed;
    wire_t *wire;
    replica_t *replica;
    own_feed_t *own_feed;
} housekeeper_config_t;

/* What a round came to. */
typedef struct {
    state_change_t room;
    steady_change_t clock;
    bool more;    /* there is more to do: call again soon */
    bool failed;  /* EIO or EBADMSG, see state_failure: stop */
    bool put_off; /* something could not be done for another reason: errno as it was, in `error` */
    int error;
} housekeeper_round_t;

/* Everything in config is borrowed for as long as the housekeeper lives. */
housekeeper_t *housekeeper_new(const housekeeper_config_t *config);
void housekeeper_destroy(housekeeper_t **self_p);

/* How long batches are kept that nobody but an aggregator wants (trimmer.h). */
void housekeeper_set_kept(housekeeper_t *self, int64_t kept_ms);

/* One round: HOUSEKEEPER_MS at most, and one step more. Call outside a transaction, each second, or
 * sooner while there is more to do. */
#define HOUSEKEEPER_MS 10
housekeeper_round_t housekeeper_work(housekeeper_t *self);

/* By how much the clock is ahead of what is believed, ms. */
int64_t housekeeper_ahead_ms(const housekeeper_t *self);

#endif
