/* lifts - has the shared jail let go of what should not be held any more: asks jailer for a hundred
 * at a time, at the pace of the shared log, what was lifted before what has ended. An address is in
 * a queue once; a slot of the index says so (INDEX_LET_GO), and also while it is asked for
 * (INDEX_ASKED): then nobody may write a line of it.
 *
 * Bans go to fail2ban by a log, lifts by its socket, so a lift may come before the line that it is
 * about. An address that fail2ban does not hold, though its line was written a moment ago, is asked
 * for again; one that it did hold is asked for once more later, as another line may have been on
 * its way (INDEX_RECHECK). */
#ifndef BANMESH_NODE_LIFTS_H
#define BANMESH_NODE_LIFTS_H

#include "chronicle.h"
#include "index.h"
#include "jailer.h"
#include "sink.h"

typedef struct lifts lifts_t;

/* All borrowed for as long as the lifts live. */
typedef struct {
    index_t *index;
    sink_t *sink;
    jailer_t *jailer;
    /* The jail holds it no longer, or is to be asked again at a time: look at the slot anew. */
    void (*answered)(void *arg, uint32_t slot, uint32_t again_s);
    /* All answers of a request are in: there is work. */
    void (*done)(void *arg);
    void *arg;
    chronicle_t *chronicle; /* may be NULL */
} lifts_parts_t;

/* settings: until lifts_set. */
lifts_t *lifts_new(const lifts_parts_t *parts, const settings_t *settings);
void lifts_destroy(lifts_t **self_p);

void lifts_set(lifts_t *self, const settings_t *settings);

/* Put a slot into the queue, unless it is there.
 *   lifted  somebody took the ban back; not: it has ended */
void lifts_push(lifts_t *self, uint32_t number, bool lifted);

/* It should be held again: take it out. Not while it is asked for. */
void lifts_drop(lifts_t *self, uint32_t number);

/* Ask for what waits, as far as the pace allows and jailer is free. */
void lifts_step(lifts_t *self);

size_t lifts_waiting(const lifts_t *self);
uint64_t lifts_done(const lifts_t *self); /* that fail2ban held */

#endif
