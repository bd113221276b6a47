#include "denials.h"

#include "log.h"

#include <stdlib.h>

static size_t find(const denials_t *self, const pubkey_t *key)
{
    size_t i = 0;
    while (i < self->count && !pubkey_equal(&self->keys[i], key))
        i++;
    return i;
}

bool denials_add(denials_t *self, const pubkey_t *key, uint64_t behind, uint64_t oldest, mono_t now)
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
    self->keys[self->count++] = *key;
    return true;
}

void denials_remove(denials_t *self, const pubkey_t *key)
{
    size_t at = find(self, key);
    if (at < self->count && at != --self->count)
        self->keys[at] = self->keys[self->count];
}

bool denials_has(const denials_t *self, const pubkey_t *key)
{
    return find(self, key) < self->count;
}

void denials_clear(denials_t *self)
{
    free(self->keys);
    *self = (denials_t){0};
}
