#include "steady.h"

steady_t steady_begin(wall_t wall, mono_t mono)
{
    int64_t ms = wall.ms - mono.ms;
    return (steady_t){.believed_ms = ms, .seen_ms = ms, .seen_since = mono};
}

static bool is_step(int64_t from_ms, int64_t to_ms)
{
    return to_ms - from_ms > STEADY_TOLERANCE_MS || from_ms - to_ms > STEADY_TOLERANCE_MS;
}

steady_change_t steady_look(steady_t *self, wall_t wall, mono_t mono)
{
    int64_t ms = wall.ms - mono.ms;
    bool agrees = !is_step(self->believed_ms, ms);
    if (!self->in_doubt && agrees) {
        self->believed_ms = self->seen_ms = ms;
        return STEADY_AS_BEFORE;
    }
    if (is_step(self->seen_ms, ms)) {
        self->seen_ms = ms;
        self->seen_since = mono;
    }
    if (!self->in_doubt) {
        self->in_doubt = true;
        return STEADY_JUMPED;
    }
    if (mono.ms - self->seen_since.ms < (agrees ? STEADY_CALM_MS : STEADY_BELIEVED_MS))
        return STEADY_AS_BEFORE;
    self->in_doubt = false;
    self->believed_ms = self->seen_ms = ms;
    return agrees ? STEADY_RETURNED : STEADY_BELIEVED;
}

wall_t steady_time(const steady_t *self, wall_t wall, mono_t mono)
{
    int64_t believed_ms = self->believed_ms + mono.ms;
    return (wall_t){wall.ms < believed_ms ? wall.ms : believed_ms};
}

int64_t steady_ahead_ms(const steady_t *self)
{
    return self->seen_ms - self->believed_ms;
}
