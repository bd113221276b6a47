/* unrecorded - where the shared log and the table `held` differ after the run before.
 * Lines without rows: the daemon was killed between the log's sync and the commit. Their bans are
 * decided again after the start; this room says that the line is there, so that it does not stand
 * twice. Rows without lines: the log was truncated or renamed, and the daemon ended before it saw
 * that. Those of its last minute may not have been read by fail2ban. */
#ifndef BANMESH_NODE_UNRECORDED_H
#define BANMESH_NODE_UNRECORDED_H

#include "held.h"

typedef struct unrecorded unrecorded_t;

/* Compare the end of a log, as much as the last slices may have filled, with the newest rows, and
 * with those of what was let go of lately: what is older than these are kept lacks nothing. A log
 * that cannot be read differs in nothing.
 *   bantime_ms  how long fail2ban holds an address */
unrecorded_t *unrecorded_new(const char *log, held_t *held, int64_t bantime_ms, wall_t now);
void unrecorded_destroy(unrecorded_t **self_p);

/* How many lines lack their rows: nearly always none. */
size_t unrecorded_count(const unrecorded_t *self);

/* The rows of held.h whose lines should stand and do not: nearly always none. */
const int64_t *unrecorded_lost(const unrecorded_t *self, size_t *count);

/* The stamp of the newest line that was read; 1970: none was. */
wall_t unrecorded_newest(const unrecorded_t *self);

/* If a line of this ban stands there and fail2ban still holds the address because of it: when it
 * was written. 0: write it.
 *   bantime_ms  how long fail2ban holds an address */
int64_t unrecorded_take(unrecorded_t *self, int64_t nid, int64_t bantime_ms, wall_t now);

/* What was taken has its row now: forget it. Or it has not: it may be taken again. */
void unrecorded_commit(unrecorded_t *self);
void unrecorded_take_back(unrecorded_t *self);

/* Forget all lines. */
void unrecorded_clear(unrecorded_t *self);

#endif
