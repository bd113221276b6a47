/* expiries - how many events still count at a time, without keeping each: their ends, rounded up by
 * at most a 32nd of what was left. Pure but for memory; the clock comes from the caller. */
#ifndef BANMESH_MESH_EXPIRIES_H
#define BANMESH_MESH_EXPIRIES_H

#include "clock.h"

#include <stddef.h>
#include <stdint.h>

typedef struct expiries expiries_t;

expiries_t *expiries_new(void);
void expiries_destroy(expiries_t **self_p);

/* One more that ends then. What has ended already counts for nothing. */
void expiries_add(expiries_t *self, int64_t end_ms, wall_t now);

/* How many have not ended; forgets those that have. */
uint64_t expiries_running(expiries_t *self, wall_t now);

#endif
