/* compaction - what of our own log still counts, and what to copy forward so that the log stays
 * within twice that. Plans only: origin writes. A copy carries its original's identity, so nobody
 * takes it for another ban; what lies under the floor that is raised then counts no longer.
 * Whatever is not copied is lost to newcomers, so two things keep a wrong clock from deciding that.
 * The time that callers give is steady's, which no jump moves forward. And an event counts until a
 * day after its end: so a clock that is ahead by hours when the daemon starts, which nothing here
 * can know, lets go of nothing that still runs. */
#ifndef BANMESH_REPLICA_COMPACTION_H
#define BANMESH_REPLICA_COMPACTION_H

#include "attempts.h"
#include "feed.h"
#include "wire.h"

#define COMPACTION_SLACK_EVENTS 1024 /* so many more than twice what counts are left alone */

/* A hardware clock in local time is ahead by 14 hours at most. */
#define COMPACTION_LINGER_MS (24LL * 3600 * MS_PER_S)

typedef struct compaction compaction_t;

typedef struct {
    feed_ref_t *from;                /* one of our own feeds */
    uint64_t floor;                  /* to raise its floor to */
    event_t events[WIRE_EVENTS_MAX]; /* to append, with their originals */
    size_t count;                    /* of these; may be 0 */
    uint64_t passed;                 /* events that leave the log */
} compaction_plan_t;

/* All borrowed for as long as the compaction lives. */
compaction_t *compaction_new(feed_t *feed, wire_t *wire, attempts_t *attempts);
void compaction_destroy(compaction_t **self_p);

/* What is appended to our feed of this run from here on will be noted. own is borrowed for as long
 * as the compaction lives. */
void compaction_follow(compaction_t *self, const feed_ref_t *own);

/* An event was appended to it. */
void compaction_note(compaction_t *self, const event_t *event, wall_t now);

/* Count what is in our log and was not noted, some batches a call. True if there may be more. */
bool compaction_count(compaction_t *self, wall_t now);

/* What to do next. Returns 1 and the plan, 0 if there is nothing to do; -1 and errno of db_step.
 * Reads at most some dozen batches. */
int compaction_plan(compaction_t *self, wall_t now, compaction_plan_t *plan);

/* The plan was carried out. */
void compaction_done(compaction_t *self, const compaction_plan_t *plan);

/* Events in our log, and how many of them still count, the last day's included: for the status. */
uint64_t compaction_events(const compaction_t *self);
uint64_t compaction_running(const compaction_t *self, wall_t now);

#endif
