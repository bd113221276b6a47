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
    memo_t *memo;
    sink_t *sink;
    lifts_t *lifts;
    chronicle_t *chronicle;
} standing_parts_t;

/* Nothing is told to the sink before standing_begin: a hold whose ban has not been put in yet would
 * be let go. */
standing_t *standing_new(const standing_parts_t *parts);
void standing_destroy(standing_t **self_p);

/* All that is stored has been put in: bring the sink to agree with it, from the next step on. */
void standing_begin(standing_t *self);

bool standing_has_begun(const standing_t *self);

/* The clock of what follows; call before anything else in a turn of the loop. */
void standing_look_at_clock(standing_t *self);

/* The time of this turn; and the same, but for jumps. */
wall_t standing_now(const standing_t *self);
wall_t standing_steady(const standing_t *self);

/* ---- what comes in ---- */

/* A ban was put into a slot that was not there, or was shorter: settle the slot and count what it
 * came to. */
void standing_settle_new(standing_t *self, uint32_t number, int64_t nid);

/* A ban came that is known; or one that came to something without being put in. */
void standing_count_known(standing_t *self);
void standing_count(standing_t *self, guard_outcome_t outcome);

/* Something else of a slot changed. Also as admission_fn. */
void standing_changed(void *arg, uint32_t number);

/* A pardon or an allowance was put in. */
void standing_note_grace(standing_t *self, const grace_entry_t *grace);

/* Somebody lifted the address of a slot in the shared jail, at that time: what stands of it does so
 * no longer, nor does the jail hold it. Not if we had asked for it. Returns whether that changed
 * anything. */
bool standing_lift_by_hand(standing_t *self, uint32_t number, int64_t at_ms);

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

/* ---- for the status ---- */

size_t standing_backlog(const standing_t *self); /* addresses whose lines wait for the pace */

/* Add a count to the outcomes of a status, if it is one. */
void standing_add_count(json_t *outcomes, const char *name, uint64_t count);

/* Add outcomes, and what is held and waits. */
void standing_status(const standing_t *self, json_t *status);

#endif
