/* ticker - call something at an interval, from a descriptor on the loop.
 * Not zloop_timer: zloop runs timers before readers, on a list of readers made earlier, so a timer
 * that ends a reader leaves zloop calling it; and after a pause it makes up for every tick missed.
 */
#ifndef BANMESH_LOOP_TICKER_H
#define BANMESH_LOOP_TICKER_H

#include "loop.h"

#include <stdint.h>

typedef struct ticker ticker_t;

/* interval_ms > 0. Fatal if the system has no timer to give. */
ticker_t *ticker_new(zloop_t *loop, int64_t interval_ms, void (*tick)(void *arg), void *arg);
void ticker_destroy(ticker_t **self_p);

/* Another interval, from now on; the one that it has changes nothing. */
void ticker_set(ticker_t *self, int64_t interval_ms);

#endif
