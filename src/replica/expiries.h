/* expiries - how many events still count at a time, without keeping each: their ends, rounded up by
 * a 16th of what was left at most, or a minute. What has ended is kept for a month, so that a look
 * at a clock that is wrong changes nothing. Pure but for memory; the clock comes from the caller.
 */
#ifndef BANMESH_REPLICA_EXPIRIES_H
#define BANMESH_REPLICA_EXPIRIES_H

#include "clock.h"

#include <stddef.h>
#include <stdint.h>

typedef struct expiries expiries_t;

expiries_t *expiries_new(void);
void expiries_destroy(expiries_t **self_p);

/* One more that ends then, or ended; those that ended a month ago are forgotten. */
void expiries_add(expiries_t *self, int64_t end_ms, wall_t now);

/* How many have not ended at a time. Looks at each rounded end: some hundreds. */
uint64_t expiries_running(const expiries_t *self, wall_t now);

#endif
