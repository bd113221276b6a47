#include "rate.h"

#define NO_LIMIT_MILLI (INT64_MAX / 4)
#define ELAPSED_MAX_MS (3650LL * 86400 * MS_PER_S)

static void begin_catchup(rate_t *self, wall_t now)
{
    self->catchup_ms = self->behind_ms = now.ms;
}

static void earn(rate_t *self, int64_t per_s, int64_t elapsed_ms)
{
    int64_t earned = (elapsed_ms < ELAPSED_MAX_MS ? elapsed_ms : ELAPSED_MAX_MS) * per_s;
    if (self->level_milli < NO_LIMIT_MILLI - earned)
        self->level_milli += earned;
}

static bool is_over(const rate_t *self, wall_t now)
{
    return now.ms - self->behind_ms > RATE_QUIET_MS || now.ms - self->catchup_ms > RATE_CATCHUP_MS;
}

void rate_hear(rate_t *self, int64_t per_s, bool behind, wall_t now)
{
    int64_t burst_milli = per_s * RATE_BURST_S * MS_PER_S;
    int64_t elapsed_ms = now.ms - self->heard_ms;
    bool is_first = self->heard_ms == 0;
    /* Over a restart the level alone says that a catch-up went on. */
    if (self->catchup_ms == 0 && self->level_milli > burst_milli)
        begin_catchup(self, now);
    if (self->catchup_ms != 0 && is_over(self, now)) {
        self->catchup_ms = 0;
        self->level_milli = self->level_milli < burst_milli ? self->level_milli : burst_milli;
    }
    if (elapsed_ms > 0) {
        earn(self, per_s, elapsed_ms);
        self->heard_ms = now.ms;
    }
    if (is_first)
        self->level_milli = NO_LIMIT_MILLI;
    if (elapsed_ms > RATE_GAP_MS && self->catchup_ms == 0)
        begin_catchup(self, now);
    if (behind)
        self->behind_ms = now.ms;
    if (self->catchup_ms == 0 && self->level_milli > burst_milli)
        self->level_milli = burst_milli;
}

bool rate_take(rate_t *self)
{
    if (self->level_milli < MS_PER_S)
        return false;
    self->level_milli -= MS_PER_S;
    return true;
}

void rate_grant(rate_t *self, int64_t tokens, wall_t now)
{
    earn(self, 1, tokens * MS_PER_S);
    begin_catchup(self, now);
}
