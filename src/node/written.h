/* written - lines that stand in the shared log although the rows of their slice were never
 * committed: the daemon was killed in between. Their bans are decided again after the start; this
 * room says that the line is there, so that it does not stand twice. */
#ifndef BANMESH_NODE_WRITTEN_H
#define BANMESH_NODE_WRITTEN_H

#include "held.h"

typedef struct written written_t;

/* Read the end of a log, as much as the last slices may have filled, and forget the lines whose
 * holds are rows. A log that cannot be read has none. */
written_t *written_new(const char *log, held_t *held);
void written_destroy(written_t **self_p);

/* How many there are: nearly always none. */
size_t written_count(const written_t *self);

/* If a line of this ban stands there and fail2ban still holds the address because of it: when it
 * was written. 0: write it.
 *   bantime_ms  how long fail2ban holds an address */
int64_t written_take(written_t *self, int64_t nid, int64_t bantime_ms, wall_t now);

/* What was taken has its row now: forget it. Or it has not: it may be taken again. */
void written_commit(written_t *self);
void written_take_back(written_t *self);

/* Forget all. */
void written_clear(written_t *self);

#endif
