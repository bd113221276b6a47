#include "clock.h"

#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

wall_t wall_now(void)
{
    return (wall_t){read_ms(CLOCK_REALTIME)};
}

mono_t mono_now(void)
{
    return (mono_t){read_ms(CLOCK_MONOTONIC)};
}
