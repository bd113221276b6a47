/* sink - the shared jail as what peers' bans are brought into: told by lines of the shared log what
 * to hold. Keeps the book of what it was told, in slots of the index and in rows of held.h; knows
 * how many lines the pace allows, and when fail2ban may have missed some; knows no policy.
 *
 * What is told is gathered in a slice; finishing it writes and syncs the lines, then commits the
 * rows, the memo and the consumer's cursor in one transaction. So after a crash lines may stand
 * without their rows, never rows without their lines. */
#ifndef BANMESH_NODE_SINK_H
#define BANMESH_NODE_SINK_H

#include "index.h"
#include "memo.h"
#include "settings.h"
#include "shared_log.h"
#include "slice.h"

typedef struct sink sink_t;

/* Read back what is held, into slots of the index. feed, index and memo are borrowed for as long
 * as the sink lives, settings until sink_set. NULL with the fault: the state directory says no. */
sink_t *sink_new(feed_t *feed, index_t *index, memo_t *memo, const settings_t *settings,
                 fault_t *fault);
void sink_destroy(sink_t **self_p);

void sink_set(sink_t *self, const settings_t *settings);

/* ---- the slice ---- */

typedef struct {
    const char *origin; /* our name for it */
    const char *jail;
    int64_t nid;
    int64_t begin_ms;
    int64_t until_ms;
} sink_ban_t;

/* Have the jail hold the address of a slot: for its ban time, from now on. The slot says so at
 * once.
 */
void sink_tell(sink_t *self, uint32_t number, const sink_ban_t *ban, wall_t now);

/* The jail does not hold the address of a slot any more. The slot says so at once. */
void sink_note_free(sink_t *self, uint32_t number);

/* Whether the jail was told to hold it, and let go of it lately. */
bool sink_let_go_of(const sink_t *self, const addr_t *address);

/* The consumer is done with a feed up to seq. */
void sink_move(sink_t *self, const feed_ref_t *feed, uint64_t seq);

/* Batch seq may be decided now: all before it is, and the slice is not full. */
bool sink_takes(const sink_t *self, const feed_ref_t *feed, uint64_t seq);

/* There is something to finish. */
bool sink_is_begun(const sink_t *self);

/* Finish it before more is decided: it is large, or half done. */
bool sink_is_full(const sink_t *self);

/* Make the slice true and empty it. Returns 0; -1 with the fault: if the lines could not be written
 * none of them was told, and the slots say so again; all else is done. If the lines are there but
 * not the rest, it is half done: call again, and no line is written twice. A damaged database is
 * fatal.
 *   untold, arg  called for each slot whose line is taken back; may be NULL */
typedef void(sink_untold_fn)(void *arg, uint32_t slot);
int sink_finish(sink_t *self, sink_untold_fn *untold, void *arg, fault_t *fault);

/* What was gathered does not count, unless it is half done. untold as above. */
void sink_take_back(sink_t *self, sink_untold_fn *untold, void *arg);

/* ---- the pace ---- */

/* What the pace of the shared log lets through. */
typedef enum {
    SINK_PACE_FREE = 0, /* anything */
    SINK_PACE_LIVE,     /* bans that have just begun; others wait, newest first */
    SINK_PACE_SPENT,    /* nothing for now */
} sink_pace_t;

sink_pace_t sink_pace(sink_t *self);

/* How many lines of what waits may be written now. catching_up: more is known to come, and may be
 * newer: then no more than the rate, the burst is for when all of it is here. */
int64_t sink_room(sink_t *self, bool catching_up);

/* ---- now and then ---- */

/* Each second. A rotation of the log is followed, the log made if it is missing; if fail2ban has
 * started anew, it gets the lines again that the one before may have lost. 0, or -1 with the fault:
 * the log cannot be written. */
int sink_check(sink_t *self, fault_t *fault);

/* Forget rows of holds that have ended. Looks at each. 0, or -1 and errno. */
int sink_sweep(sink_t *self);

/* How often fail2ban has started anew. */
uint64_t sink_starts(const sink_t *self);

/* ---- for the status ---- */

size_t sink_held(const sink_t *self); /* addresses */
const shared_log_counts_t *sink_log_counts(const sink_t *self);
const char *sink_fail2ban(const sink_t *self); /* fail2ban_state */

#endif
