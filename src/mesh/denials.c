#include "denials.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

static size_t find(const denials_t *self, const uint8_t *key)
{
    size_t i = 0;
    while (i < self->count && memcmp(self->keys[i], key, FEED_ORIGIN_BYTES) != 0)
        i++;
    return i;
}

bool denials_add(denials_t *self, const uint8_t key[static FEED_ORIGIN_BYTES], uint64_t behind,
                 uint64_t oldest, mono_t now)
{
    if (self->behind != behind)
        denials_clear(self);
    if (self->since.ms == 0)
        self->since = now;
    self->behind = behind;
    if (oldest != 0 && (self->oldest == 0 || oldest < self->oldest))
        self->oldest = oldest;
    if (denials_has(self, key))
        return false;
    if (self->count == self->size) {
        self->size = self->size * 2 + 4;
        self->keys = xrealloc(self->keys, self->size * sizeof *self->keys);
    }
    memcpy(self->keys[self->count++], key, FEED_ORIGIN_BYTES);
    return true;
}

void denials_remove(denials_t *self, const uint8_t key[static FEED_ORIGIN_BYTES])
{
    size_t at = find(self, key);
    if (at < self->count && at != --self->count)
        memcpy(self->keys[at], self->keys[self->count], FEED_ORIGIN_BYTES);
}

bool denials_has(const denials_t *self, const uint8_t key[static FEED_ORIGIN_BYTES])
{
    return find(self, key) < self->count;
}

void denials_clear(denials_t *self)
{
    free(self->keys);
    *self = (denials_t){0};
}
