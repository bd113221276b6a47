/* clock - wall and monotonic time as different types, so that they cannot be mixed.
 * Wall time says when something happened and goes into events, logs and files; it may jump.
 * Monotonic time measures intervals inside one process and never leaves it.
 * Nobody else asks the system what time it is: whoever links another clock.c decides it. */
#ifndef BANMESH_BASE_CLOCK_H
#define BANMESH_BASE_CLOCK_H

#include <stdint.h>

#define MS_PER_S  1000
#define NS_PER_MS 1000000

typedef struct {
    int64_t ms; /* since 1970-01-01 UTC */
} wall_t;

typedef struct {
    int64_t ms; /* since an arbitrary start; never goes back */
} mono_t;

wall_t wall_now(void);
mono_t mono_now(void);

static inline int64_t mono_since_ms(mono_t then)
{
    return mono_now().ms - then.ms;
}

#endif
