/* unrecorded - lines that stand in the shared log although the rows of their slice were never
 * committed: the daemon was killed in between. Their bans are decided again after the start; this
 * room says that the line is there, so that it does not stand twice. */
#ifndef BANMESH_NODE_UNRECORDED_H
#define BANMESH_NODE_UNRECORDED_H

#include "held.h"

typedef struct unrecorded unrecorded_t;

/* Read the end of a log, as much as the last slices may have filled, and forget the lines whose
 * holds are rows. A log that cannot be read has none. */
unrecorded_t *unrecorded_new(const char *log, held_t *held);
void unrecorded_destroy(unrecorded_t **self_p);

/* How many there are: nearly always none. */
size_t unrecorded_count(const unrecorded_t *self);

/* If a line of this ban stands there and fail2ban still holds the address because of it: when it
 * was written. 0: write it.
 *   bantime_ms  how long fail2ban holds an address */
int64_t unrecorded_take(unrecorded_t *self, int64_t nid, int64_t bantime_ms, wall_t now);

/* What was taken has its row now: forget it. Or it has not: it may be taken again. */
void unrecorded_commit(unrecorded_t *self);
void unrecorded_take_back(unrecorded_t *self);

/* Forget all. */
void unrecorded_clear(unrecorded_t *self);

#endif
