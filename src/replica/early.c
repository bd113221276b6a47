#include "early.h"

#include <stdlib.h>

typedef struct {
    const feed_ref_t *feed;
    uint64_t seq;
    envelope_t batch; /* a copy */
} entry_t;

struct early {
    entry_t entries[EARLY_COUNT_MAX];
    size_t count;
    size_t bytes;
};

early_t *early_new(void)
{
    return xcalloc(1, sizeof(early_t));
}

void early_destroy(early_t **self_p)
{
    if (*self_p == NULL)
        return;
    for (size_t i = 0; i < (*self_p)->count; i++)
        wire_free(&(*self_p)->entries[i].batch);
    free(*self_p);
    *self_p = NULL;
}

static void cut(early_t *self, size_t index)
{
    self->bytes -= self->entries[index].batch.size;
    self->entries[index] = self->entries[--self->count];
}

static void drop(early_t *self, size_t index)
{
    envelope_t batch = self->entries[index].batch;
    cut(self, index);
    wire_free(&batch);
}

/* Catch-up may have brought some of these meanwhile. */
static void drop_stale(early_t *self)
{
    for (size_t i = 0; i < self->count;)
        if (self->entries[i].seq <= self->entries[i].feed->have)
            drop(self, i);
        else
            i++;
}

void early_forget(early_t *self, const feed_ref_t *feed)
{
    for (size_t i = 0; i < self->count;)
        if (self->entries[i].feed == feed)
            drop(self, i);
        else
            i++;
}

static bool is_full(const early_t *self, const feed_ref_t *feed, size_t size)
{
    size_t count = 0;
    size_t bytes = size;
    for (size_t i = 0; i < self->count; i++)
        if (pubkey_equal(&self->entries[i].feed->id.origin, &feed->id.origin)) {
            count++;
            bytes += self->entries[i].batch.size;
        }
    return self->count == EARLY_COUNT_MAX || self->bytes + size > EARLY_BYTES_MAX ||
           count >= EARLY_COUNT_MAX / EARLY_SHARES || bytes > EARLY_BYTES_MAX / EARLY_SHARES;
}

bool early_put(early_t *self, const feed_ref_t *feed, uint64_t seq, const envelope_t *batch)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].feed == feed && self->entries[i].seq == seq)
            return true;
    if (is_full(self, feed, batch->size))
        drop_stale(self);
    if (is_full(self, feed, batch->size))
        return false;
    self->entries[self->count++] = (entry_t){feed, seq, wire_copy(batch)};
    self->bytes += batch->size;
    return true;
}

bool early_take(early_t *self, const feed_ref_t *feed, uint64_t seq, envelope_t *out)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].feed == feed && self->entries[i].seq == seq) {
            *out = self->entries[i].batch;
            cut(self, i);
            return true;
        }
    return false;
}
