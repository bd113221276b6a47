/* bucket - a token bucket: so many a second, so many at once. May be overdrawn, so that what has no
 * size beforehand can be paid for afterwards. Pure: the clock comes from the caller. */
#ifndef BANMESH_BASE_BUCKET_H
#define BANMESH_BASE_BUCKET_H

#include "clock.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t per_s;
    int64_t burst;
    int64_t level_milli; /* thousandths of a token: per_s of them come in each millisecond */
    mono_t filled_at;
} bucket_t;

/* A full bucket. per_s and burst > 0. */
static inline bucket_t bucket_full(int64_t per_s, int64_t burst, mono_t now)
{
    return (bucket_t){per_s, burst, burst * MS_PER_S, now};
}

/* True if anything is left at that time. */
static inline bool bucket_has(bucket_t *self, mono_t now)
{
    int64_t room_milli = self->burst * MS_PER_S - self->level_milli;
    int64_t elapsed_ms = now.ms - self->filled_at.ms;
    self->filled_at = now;
    if (elapsed_ms > room_milli / self->per_s)
        self->level_milli += room_milli;
    else
        self->level_milli += elapsed_ms * self->per_s;
    return self->level_milli > 0;
}

/* Take tokens out; more than there are must be waited for afterwards. */
static inline void bucket_spend(bucket_t *self, int64_t tokens)
{
    self->level_milli -= tokens * MS_PER_S;
}

#endif
