/* standing - what should be banned here, and that it is so: the bans of the index, each decided by
 * the guard, and for each address the strongest that stands; the sink is told the difference. New
 * bans, ends, changed settings, a clock, a restart all take the same path: look at the address
 * anew (settle). Knows neither where bans come from nor when what was told becomes true. */
#ifndef BANMESH_NODE_STANDING_H
#define BANMESH_NODE_STANDING_H

#include "judge.h"
#include "lifts.h"

typedef struct standing standing_t;

/* What it works on: all borrowed for as long as it lives. */
typedef struct {
    service_t *service;
    index_t *index;
    graces_t *graces;
    judge_t *judge;
    sink_t *sink;
    lifts_t *lifts;
} standing_parts_t;

/* Nothing is told to the sink before standing_begin: a hold whose ban has not been put in yet would
 * be let go. */
standing_t *standing_new(const standing_parts_t *parts);
void standing_destroy(standing_t **self_p);

/* All that is stored has been put in: bring the sink to agree with it, from the next step on. */
void standing_begin(standing_t *self);

/* The clock of what follows; call before anything else in a turn of the loop. */
void standing_look_at_clock(standing_t *self);

/* ---- what comes in ---- */

/* An event of a batch of a peer, and where that batch stands. */
typedef struct {
    const feed_ref_t *feed;
    uint64_t seq;
    size_t number; /* of the event in it */
    uint16_t origin;
    bool anew; /* it was counted before: it is put in again */
} standing_place_t;

void standing_take(standing_t *self, const standing_place_t *at, event_error_t malformed,
                   const event_t *event);

/* A ban of this host itself; a pardon or an allowance, with its place as original. */
void standing_take_own(standing_t *self, const ban_t *ban, int64_t nid);
void standing_take_own_grace(standing_t *self, const event_t *event);

/* One of this host's own bans was lifted by its jail. */
void standing_take_own_lift(standing_t *self, const addr_t *address, int64_t nid);

/* What was put in since the last commit is not stored: take it out. Looks at each. */
void standing_drop_lost(standing_t *self);

/* ---- what is to be done ---- */

/* Look at all addresses anew, in steps. */
void standing_sweep(standing_t *self);

/* Up to some milliseconds of it: what is due, the sweep, what waits for the pace. Returns whether
 * there is more that need not wait. */
bool standing_step(standing_t *self, bool catching_up);

/* As sink_untold_fn: a line was not written. */
void standing_untold(void *arg, uint32_t slot);

/* The jail answered what it was asked to let go of: settle the slot; if it is not wanted, it is to
 * be asked again then. 0: it need not be. */
void standing_lifted(standing_t *self, uint32_t number, uint32_t again_s);

/* The book and the jail differed about a slot. */
void standing_differs(standing_t *self, uint32_t number);

/* ---- for the status ---- */

size_t standing_backlog(const standing_t *self); /* addresses whose lines wait for the pace */

/* Add outcomes, and what is held and waits. */
void standing_status(const standing_t *self, json_t *status);

#endif
