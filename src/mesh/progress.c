#include "progress.h"

#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    progress_of_t is;
    bool behind;        /* at this look */
    bool told;          /* the log knows of it */
    uint64_t have_told; /* as it was then */
    mono_t told_at;
} item_t;

struct progress {
    feed_t *feed;
    progress_calls_t calls;
    item_t *items; /* those that are behind */
    size_t count;
};

progress_t *progress_new(feed_t *feed, const progress_calls_t *calls)
{
    progress_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->calls = *calls;
    return self;
}

void progress_destroy(progress_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->items);
    free(*self_p);
    *self_p = NULL;
}

const char *progress_count(uint64_t number, char out[static PROGRESS_COUNT_MAX])
{
    char digits[PROGRESS_COUNT_MAX];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *end = out;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *end++ = ',';
        *end++ = digits[i];
    }
    *end = '\0';
    return out;
}

static item_t *find(progress_t *self, const pubkey_t *origin)
{
    for (size_t i = 0; i < self->count; i++)
        if (pubkey_equal(&self->items[i].is.origin, origin))
            return &self->items[i];
    return NULL;
}

static item_t *add(progress_t *self, const pubkey_t *origin, mono_t now)
{
    self->items = xrealloc(self->items, (self->count + 1) * sizeof *self->items);
    item_t *item = &self->items[self->count++];
    *item = (item_t){.is = {.since = now}, .told_at = now};
    item->is.origin = *origin;
    return item;
}

/* The first batch that counts: where the history is kept, also those under the floor that came. */
static uint64_t first_of(const progress_t *self, const feed_ref_t *ref)
{
    return feed_keeps_history(self->feed) && ref->oldest < ref->floor ? ref->oldest : ref->floor;
}

/* Count what is here and what there is, over all feeds of each origin that is behind in one. */
static void tally(progress_t *self, mono_t now)
{
    const feed_ref_t *ref;
    for (size_t i = 0; i < self->count; i++) {
        self->items[i].behind = false;
        self->items[i].is.have = self->items[i].is.all = 0;
    }
    for (size_t i = 0; (ref = feed_at(self->feed, i)) != NULL; i++) {
        item_t *item = ref->have < ref->head_seq ? find(self, &ref->id.origin) : NULL;
        if (ref->have < ref->head_seq && item == NULL &&
            self->calls.name(self->calls.arg, &ref->id.origin) != NULL)
            item = add(self, &ref->id.origin, now);
        if (item != NULL)
            item->behind = true;
    }
    for (size_t i = 0; self->count > 0 && (ref = feed_at(self->feed, i)) != NULL; i++) {
        item_t *item = find(self, &ref->id.origin);
        if (item != NULL) {
            uint64_t first = first_of(self, ref);
            item->is.have += ref->have + 1 - first;
            item->is.all += ref->head_seq + 1 - first;
        }
    }
}

static void say(progress_t *self, item_t *item, mono_t now)
{
    char text[256];
    char have[PROGRESS_COUNT_MAX];
    char all[PROGRESS_COUNT_MAX];
    const char *name = self->calls.name(self->calls.arg, &item->is.origin);
    progress_count(item->is.have, have);
    progress_count(item->is.all, all);
    if (item->behind)
        snprintf(text, sizeof text, "catching up with %s: %s of %s batches", name, have, all);
    else
        snprintf(text, sizeof text, "caught up with %s: %s batches, after %" PRId64 " s", name, all,
                 (now.ms - item->is.since.ms) / MS_PER_S);
    self->calls.say(self->calls.arg, text);
    item->told = true;
    item->told_at = now;
    item->have_told = item->is.have;
}

void progress_look(progress_t *self, mono_t now)
{
    tally(self, now);
    for (size_t i = 0; i < self->count;) {
        item_t *item = &self->items[i];
        if (item->is.since.ms == now.ms)
            item->have_told = item->is.have;
        bool wanted = self->calls.name(self->calls.arg, &item->is.origin) != NULL;
        bool due = item->behind ? now.ms - item->told_at.ms >= PROGRESS_SAY_MS &&
                                      item->is.have > item->have_told
                                : item->told;
        if (wanted && due)
            say(self, item, now);
        if (wanted && item->behind)
            i++;
        else
            self->items[i] = self->items[--self->count];
    }
}

const progress_of_t *progress_at(const progress_t *self, size_t index)
{
    return index < self->count ? &self->items[index].is : NULL;
}
