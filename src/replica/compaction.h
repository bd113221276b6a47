/* compaction - which of our own oldest batches may leave our log, and what of them is to be copied
 * forward first. A copy carries its original's identity, so nobody takes it for another ban; what
 * lies under the floor that is raised then counts no longer. Plans only: own_feed writes. Remembers
 * nothing of the log: each plan looks at its beginning.
 *
 * The oldest batches leave the log once half of what they hold has ended: then at most as much is
 * written as is let go of. Bans that last would keep what ended behind them for ever, so after
 * eight days they are copied forward all the same; so is what stands in an epoch of ours while
 * there are more than a few. Thus the log holds what runs, what began within eight days, and not
 * much else. A pardon counts for ten years behind what it covers: it must outlive any ban that it
 * voids, wherever that may still come from. An allowance counts until its end.
 *
 * Whatever is not copied is lost to newcomers, so two things keep a wrong clock from deciding that.
 * The time that callers give is steady's, which no jump moves forward. And an event counts until a
 * day after its end: so a clock that is ahead by hours when the daemon starts, which nothing here
 * can know, lets go of nothing that still runs. */
#ifndef BANMESH_REPLICA_COMPACTION_H
#define BANMESH_REPLICA_COMPACTION_H

#include "attempts.h"
#include "feed.h"
#include "wire.h"

#define COMPACTION_STEP_BATCHES 64 /* a plan passes so many, and 1,024 events, if it can */
#define COMPACTION_EPOCHS_MAX   8  /* of ours that count: more are emptied, the oldest first */

/* A hardware clock in local time is ahead by 14 hours at most. */
#define COMPACTION_LINGER_MS (24LL * 3600 * MS_PER_S)
#define COMPACTION_AGE_MS    (8LL * 24 * 3600 * MS_PER_S)

typedef struct compaction compaction_t;

/* To raise the floor of one of our own feeds. */
typedef struct {
    const feed_ref_t *feed;
    uint64_t floor;
} compaction_move_t;

typedef struct {
    compaction_move_t moves[COMPACTION_STEP_BATCHES];
    size_t move_count;
    event_t events[WIRE_EVENTS_MAX]; /* to append first, with their originals */
    size_t count;                    /* of these; may be 0 */
} compaction_plan_t;

/* All borrowed for as long as the compaction lives. */
compaction_t *compaction_new(feed_t *feed, wire_t *wire, attempts_t *attempts);
void compaction_destroy(compaction_t **self_p);

/* What to do next. Returns 1 and the plan, 0 if there is nothing to do; -1 and errno of db_step.
 * Reads the oldest 64 batches at most. If there is nothing to do, it looks again when as many were
 * appended, or a minute later. */
int compaction_plan(compaction_t *self, wall_t now, compaction_plan_t *plan);

/* The oldest epoch of ours that holds anything which counts, or is to come back from peers; the
 * newest one if none does. What is older has ended, once our head says so. 0: none is older. */
uint64_t compaction_epoch_floor(const compaction_t *self);

/* Batches and epochs in our log. */
void compaction_size(const compaction_t *self, uint64_t *batches, uint64_t *epochs);

#endif
