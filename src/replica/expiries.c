#include "expiries.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define FINENESS     32 /* a 32nd of the time that is left */
#define FINEST_MS    (60LL * MS_PER_S)
#define FORGOTTEN_MS (30LL * 24 * 3600 * MS_PER_S) /* after the end */

/* Ends within one rounding; in order of time, some hundreds of them. */
typedef struct {
    int64_t end_ms;
    uint64_t count;
} bin_t;

struct expiries {
    bin_t *bins;
    size_t count;
    size_t size;
};

expiries_t *expiries_new(void)
{
    return xcalloc(1, sizeof(expiries_t));
}

void expiries_destroy(expiries_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->bins);
    free(*self_p);
    *self_p = NULL;
}

static int64_t round_up(int64_t end_ms, int64_t now_ms)
{
    int64_t distance_ms = end_ms > now_ms ? end_ms - now_ms : now_ms - end_ms;
    int64_t step_ms = FINEST_MS;
    while (step_ms < distance_ms / FINENESS)
        step_ms *= 2;
    return end_ms > INT64_MAX - step_ms ? INT64_MAX : (end_ms + step_ms - 1) / step_ms * step_ms;
}

/* The first bin that does not end before then. */
static size_t find(const expiries_t *self, int64_t end_ms)
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->bins[middle].end_ms < end_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(expiries_t *self, size_t at, int64_t end_ms)
{
    if (self->count == self->size) {
        self->size = self->size * 2 + 64;
        self->bins = xrealloc(self->bins, self->size * sizeof *self->bins);
    }
    memmove(self->bins + at + 1, self->bins + at, (self->count - at) * sizeof *self->bins);
    self->bins[at] = (bin_t){end_ms, 0};
    self->count++;
}

static void forget(expiries_t *self, int64_t before_ms)
{
    size_t count = find(self, before_ms);
    if (count == 0)
        return;
    self->count -= count;
    memmove(self->bins, self->bins + count, self->count * sizeof *self->bins);
}

void expiries_add(expiries_t *self, int64_t end_ms, wall_t now)
{
    forget(self, now.ms - FORGOTTEN_MS);
    if (end_ms < now.ms - FORGOTTEN_MS)
        return;
    int64_t rounded_ms = round_up(end_ms, now.ms);
    size_t at = find(self, rounded_ms);
    if (at == self->count || self->bins[at].end_ms != rounded_ms)
        insert(self, at, rounded_ms);
    self->bins[at].count++;
}

uint64_t expiries_running(const expiries_t *self, wall_t now)
{
    uint64_t running = 0;
    for (size_t at = find(self, now.ms + 1); at < self->count; at++)
        running += self->bins[at].count;
    return running;
}
