/* ahead - whose bans come from the future, and by how much: that node's clock is ahead, or this
 * host's is behind. Nearly always empty. */
#ifndef BANMESH_NODE_AHEAD_H
#define BANMESH_NODE_AHEAD_H

#include "clock.h"
#include "event.h"

#include <stdbool.h>

#define AHEAD_FUTURE_MS 60000 /* clocks differ; more than this is told */

typedef struct ahead ahead_t;

ahead_t *ahead_new(void);
void ahead_destroy(ahead_t **self_p);

/* A ban of an origin, and when it began by the origin's clock. One of about now says that the
 * clocks agree again; an old one says nothing. */
void ahead_note(ahead_t *self, const pubkey_t *origin, int64_t time_ms, wall_t now);

/* By how much one is ahead, by its last bans; index from 0. False behind the last. */
bool ahead_at(const ahead_t *self, size_t index, const pubkey_t **origin, int64_t *ahead_ms);

#endif
