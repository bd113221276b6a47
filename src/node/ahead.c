#include "ahead.h"

#include "log.h"

#include <stdlib.h>

typedef struct {
    pubkey_t origin;
    int64_t ahead_ms;
} entry_t;

struct ahead {
    entry_t *entries;
    size_t count;
};

ahead_t *ahead_new(void)
{
    return xcalloc(1, sizeof(ahead_t));
}

void ahead_destroy(ahead_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->entries);
    free(*self_p);
    *self_p = NULL;
}

static entry_t *find(ahead_t *self, const pubkey_t *origin)
{
    for (size_t i = 0; i < self->count; i++)
        if (pubkey_equal(&self->entries[i].origin, origin))
            return &self->entries[i];
    return NULL;
}

void ahead_note(ahead_t *self, const pubkey_t *origin, int64_t time_ms, wall_t now)
{
    int64_t ahead_ms = time_ms - now.ms;
    if (ahead_ms < -AHEAD_FUTURE_MS || (ahead_ms <= AHEAD_FUTURE_MS && self->count == 0))
        return;
    entry_t *entry = find(self, origin);
    if (ahead_ms <= AHEAD_FUTURE_MS) {
        if (entry != NULL)
            *entry = self->entries[--self->count];
        return;
    }
    if (entry == NULL) {
        self->entries = xrealloc(self->entries, (self->count + 1) * sizeof *self->entries);
        entry = &self->entries[self->count++];
        entry->origin = *origin;
    }
    entry->ahead_ms = ahead_ms;
}

bool ahead_at(const ahead_t *self, size_t index, const pubkey_t **origin, int64_t *ahead_ms)
{
    if (index >= self->count)
        return false;
    *origin = &self->entries[index].origin;
    *ahead_ms = self->entries[index].ahead_ms;
    return true;
}
