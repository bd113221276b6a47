#include "pace.h"

#define BURST_S       10       /* fail2ban is behind by no more than about this */
#define RESERVE_SHARE 2        /* one in so many of the burst */
#define UNIT          MS_PER_S /* so that rate times ms is credit */

static int64_t burst(const pace_t *self)
{
    return self->rate * BURST_S * UNIT;
}

pace_t pace_of(int64_t rate, mono_t now)
{
    pace_t self = {.rate = rate, .at = now};
    self.credit = burst(&self);
    return self;
}

void pace_set(pace_t *self, int64_t rate, mono_t now)
{
    if (self->rate == 0)
        *self = pace_of(rate, now);
    else
        pace_refill(self, now);
    self->rate = rate;
    if (self->credit > burst(self))
        self->credit = burst(self);
}

void pace_refill(pace_t *self, mono_t now)
{
    int64_t passed_ms = now.ms - self->at.ms;
    if (passed_ms > BURST_S * MS_PER_S)
        passed_ms = BURST_S * MS_PER_S;
    self->at = now;
    self->credit += passed_ms * self->rate;
    if (self->credit > burst(self))
        self->credit = burst(self);
}

static int64_t lines_of(const pace_t *self, int64_t kept)
{
    if (self->rate == 0)
        return PACE_NO_LIMIT;
    return self->credit > kept ? (self->credit - kept) / UNIT : 0;
}

int64_t pace_live(const pace_t *self)
{
    return lines_of(self, 0);
}

int64_t pace_spare(const pace_t *self)
{
    return lines_of(self, burst(self) / RESERVE_SHARE);
}

void pace_spend(pace_t *self, int64_t lines)
{
    if (self->rate != 0)
        self->credit -= lines * UNIT;
}
