/* rate - how many bans of one origin are let in: tokens that come in by this host's clock since the
 * origin was last heard, while this host was down, too; never by the times that the origin says.
 * What it banned meanwhile comes all at once and is let in; what it bans from then on, only as fast
 * as the rate says, with a burst of ten seconds' worth. The first catch-up is free. Pure. */
#ifndef BANMESH_NODE_RATE_H
#define BANMESH_NODE_RATE_H

#include "clock.h"

#include <stdbool.h>
#include <stdint.h>

#define RATE_BURST_S    10
#define RATE_GAP_MS     10000   /* not heard for longer than that: it has a catch-up before it */
#define RATE_QUIET_MS   60000   /* nothing of it is behind for so long: the catch-up is over */
#define RATE_CATCHUP_MS 3600000 /* ... at the latest */

/* All zero: never heard. */
typedef struct {
    int64_t heard_ms;
    int64_t level_milli; /* thousandths of a token */
    int64_t catchup_ms;  /* when the catch-up began; 0: none goes on */
    int64_t behind_ms;   /* something was behind, last */
} rate_t;

/* It was heard, by a heartbeat or a batch.
 *   per_s   the setting; 0: no limit, and nothing is to be taken
 *   behind  some of what is stored of it is not decided yet */
void rate_hear(rate_t *self, int64_t per_s, bool behind, wall_t now);

/* So many more may come in, whatever the rate. */
void rate_grant(rate_t *self, int64_t tokens, wall_t now);

/* Let one ban in. False: it has to wait. */
bool rate_take(rate_t *self);

#endif
