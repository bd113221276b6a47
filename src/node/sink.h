/* sink - the shared log, and all that becomes true with its lines: holds, bans that wait, counts,
 * the consumer's cursor. What was decided is gathered in a slice; finishing it writes and syncs the
 * lines, then commits the rest in one transaction. So after a crash lines may stand without their
 * rows, never rows without their lines. Knows how many lines the pace allows; knows no policy. */
#ifndef BANMESH_NODE_SINK_H
#define BANMESH_NODE_SINK_H

#include "settings.h"
#include "shared_log.h"
#include "slice.h"

typedef struct sink sink_t;

/* Read back what is held. feed and settings are borrowed, settings until sink_set. NULL with the
 * fault: the state directory says no. */
sink_t *sink_new(feed_t *feed, const settings_t *settings, fault_t *fault);
void sink_destroy(sink_t **self_p);

void sink_set(sink_t *self, const settings_t *settings);

/* Until when an address is held here, ms; 0: it is not known. What has ended may be reported. */
int64_t sink_held_until(const sink_t *self, const addr_t *address);

/* A jail of this host holds it, too. */
void sink_note_held(sink_t *self, const addr_t *address, int64_t until_ms);

/* ---- the slice ---- */

/* A line, and with it a hold for the shared jail's ban time from now. If the ban lasts longer, it
 * waits for the end of that. row: nid, origin, and the ban with its time as clamped; name: ours for
 * the origin. */
void sink_write(sink_t *self, const pending_row_t *row, const char *name, int64_t until_ms,
                wall_t now);

/* It waits as row.due_ms says. */
void sink_wait(sink_t *self, const pending_row_t *row);

/* A row that waited is decided; to be called before what is decided about it. */
void sink_waited(sink_t *self, const pending_row_t *row);

/* The consumer is done with a feed up to seq. */
void sink_move(sink_t *self, const feed_ref_t *feed, uint64_t seq);

/* Batch seq may be decided now: all before it is, and the slice is not full. */
bool sink_takes(const sink_t *self, const feed_ref_t *feed, uint64_t seq);

void sink_count(sink_t *self, const guard_verdict_t *verdict);

/* Something was decided that is to be finished. */
bool sink_is_begun(const sink_t *self);

/* Finish it before more is decided: it is large, or half done. */
bool sink_is_full(const sink_t *self);

/* Make the slice true and empty it. Returns 0; -1 with the fault: if the lines could not be written
 * nothing of it counts, decide it again. If the lines are there but not the rest, the slice is half
 * done: it is kept, and goes first at the next call, so that no line is written again and again. A
 * damaged database is fatal. */
int sink_finish(sink_t *self, fault_t *fault);

/* Nothing of the slice counts, decide it again; unless it is half done. */
void sink_take_back(sink_t *self);

/* Have everything that still counts decided anew: the cursors go back to the floors, and a row that
 * waits and cannot be read goes. What is held stays. 0, or -1 with the fault: nothing of it is
 * done. */
int sink_begin_anew(sink_t *self, fault_t *fault);

/* Whether a row that waits cannot be read. */
bool sink_is_damaged(const sink_t *self);

/* ---- what waits ---- */

/* Up to max rows, to be decided again. Return how many, -1 with the fault. */
int sink_due(sink_t *self, pending_row_t *out, int max, fault_t *fault);
int sink_newest(sink_t *self, pending_row_t *out, int max, fault_t *fault);

int64_t sink_pending(const sink_t *self); /* for the end of a hold */
int64_t sink_backlog(const sink_t *self); /* for the pace */

/* ---- the pace ---- */

/* What may be written of what arrives: bans of now as long as there is credit. Others go to the
 * backlog, even if it is empty, so that they are taken newest first. */
guard_pace_t sink_pace(sink_t *self);

/* How many lines of the backlog may be written now. catching_up: more is known to come, and may be
 * newer: then no more than the rate, the burst is for when all of it is here. */
int64_t sink_room(sink_t *self, bool catching_up);

/* ---- now and then ---- */

/* Each second. A rotation of the log is followed, the log made if it is missing; if fail2ban has
 * started anew, it gets the lines again that the one before may have lost. 0, or -1 with the fault:
 * the log cannot be written. */
int sink_check(sink_t *self, fault_t *fault);

/* Forget holds that have ended. Looks at each. 0, or -1 and errno. */
int sink_sweep(sink_t *self);

/* ---- for the status ---- */

uint64_t sink_outcome(const sink_t *self, guard_outcome_t outcome);
uint64_t sink_from_future(const sink_t *self);
size_t sink_held(const sink_t *self);
const shared_log_counts_t *sink_log_counts(const sink_t *self);
const char *sink_fail2ban(const sink_t *self); /* fail2ban_state */

#endif
