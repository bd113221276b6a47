#include "quorum.h"

#include <stdlib.h>

void quorum_clear(quorum_t *self)
{
    self->count = 0;
}

void quorum_add(quorum_t *self, uint16_t origin, int64_t begin_ms)
{
    if (self->count < QUORUM_VOTES_MAX)
        self->votes[self->count++] = (quorum_vote_t){begin_ms, origin};
}

static int by_begin(const void *one, const void *other)
{
    const quorum_vote_t *a = one;
    const quorum_vote_t *b = other;
    return (a->begin_ms > b->begin_ms) - (a->begin_ms < b->begin_ms);
}

void quorum_close(quorum_t *self)
{
    qsort(self->votes, self->count, sizeof *self->votes, by_begin);
}

/* Each window that cannot grow ends at a vote: look at those in which begin_ms lies. */
int64_t quorum_origins(quorum_t *self, int64_t begin_ms, int64_t window_ms)
{
    int64_t most = 0;
    int64_t origins = 0;
    size_t first = 0;
    for (size_t last = 0; last < self->count; last++) {
        const quorum_vote_t *newest = &self->votes[last];
        origins += self->seen[newest->origin]++ == 0;
        for (; newest->begin_ms - self->votes[first].begin_ms > window_ms; first++)
            origins -= --self->seen[self->votes[first].origin] == 0;
        if (self->votes[first].begin_ms <= begin_ms && newest->begin_ms >= begin_ms &&
            origins > most)
            most = origins;
    }
    for (; first < self->count; first++)
        self->seen[self->votes[first].origin] = 0;
    return most;
}
