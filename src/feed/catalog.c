#include "catalog.h"

#include "log.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    bool used;
    size_t size;
    feed_leave_fn *leave;
    void *arg;
} room_t;

struct catalog {
    feed_ref_t **refs;
    size_t count;
    size_t size;
    void *origins; /* tsearch tree of catalog_origin_t */
    room_t rooms[FEED_NOTES_MAX];
};

static int by_key(const void *one, const void *other)
{
    return pubkey_compare(&((const catalog_origin_t *)one)->key,
                          &((const catalog_origin_t *)other)->key);
}

catalog_t *catalog_new(void)
{
    return xcalloc(1, sizeof(catalog_t));
}

static void free_ref(feed_ref_t *feed)
{
    for (size_t i = 0; i < FEED_NOTES_MAX; i++)
        free(feed->notes[i]);
    free(feed);
}

static void free_origin(void *origin)
{
    free(((catalog_origin_t *)origin)->refs);
    free(origin);
}

void catalog_destroy(catalog_t **self_p)
{
    catalog_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    tdestroy(self->origins, free_origin);
    for (size_t i = 0; i < self->count; i++)
        free_ref(self->refs[i]);
    free(self->refs);
    free(self);
}

/* ---- by origin ---- */

catalog_origin_t *catalog_find_origin(const catalog_t *self, const pubkey_t *key)
{
    const catalog_origin_t wanted = {.key = *key};
    void *found = tfind(&wanted, &self->origins, by_key);
    return found != NULL ? *(catalog_origin_t **)found : NULL;
}

catalog_origin_t *catalog_origin_of(catalog_t *self, const pubkey_t *key)
{
    catalog_origin_t *origin = catalog_find_origin(self, key);
    if (origin != NULL)
        return origin;
    origin = xcalloc(1, sizeof *origin);
    origin->key = *key;
    if (tsearch(origin, &self->origins, by_key) == NULL)
        fatalx("out of memory");
    return origin;
}

/* The first feed of an origin that is not before that one. */
static size_t place_of(const catalog_origin_t *origin, const feed_id_t *id)
{
    size_t low = 0;
    size_t high = origin->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (feed_id_compare(&origin->refs[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list(catalog_origin_t *origin, feed_ref_t *feed)
{
    size_t at = place_of(origin, &feed->id);
    origin->refs = xrealloc(origin->refs, (origin->count + 1) * sizeof(feed_ref_t *));
    memmove(origin->refs + at + 1, origin->refs + at, (origin->count - at) * sizeof(feed_ref_t *));
    origin->refs[at] = feed;
    origin->count++;
}

static void unlist(catalog_origin_t *origin, const feed_ref_t *feed)
{
    size_t at = place_of(origin, &feed->id);
    origin->count--;
    memmove(origin->refs + at, origin->refs + at + 1, (origin->count - at) * sizeof(feed_ref_t *));
}

feed_ref_t *catalog_find(const catalog_t *self, const feed_id_t *id)
{
    const catalog_origin_t *origin = catalog_find_origin(self, &id->origin);
    size_t at = origin != NULL ? place_of(origin, id) : 0;
    if (origin == NULL || at == origin->count || feed_id_compare(id, &origin->refs[at]->id) != 0)
        return NULL;
    return origin->refs[at];
}

/* ---- all ---- */

feed_ref_t *catalog_add(catalog_t *self, const feed_id_t *id)
{
    feed_ref_t *feed = xcalloc(1, sizeof *feed);
    feed->id = *id;
    feed->index = self->count;
    if (self->count == self->size) {
        self->size = self->size * 2 + 16;
        self->refs = xrealloc(self->refs, self->size * sizeof(feed_ref_t *));
    }
    self->refs[self->count++] = feed;
    list(catalog_origin_of(self, &id->origin), feed);
    for (size_t i = 0; i < FEED_NOTES_MAX; i++)
        if (self->rooms[i].used)
            feed->notes[i] = xcalloc(1, self->rooms[i].size);
    return feed;
}

bool catalog_may_remove(const catalog_t *self, feed_ref_t *feed)
{
    for (size_t i = 0; i < FEED_NOTES_MAX; i++) {
        const room_t *room = &self->rooms[i];
        if (room->used && room->leave != NULL && !room->leave(room->arg, feed, feed->notes[i]))
            return false;
    }
    return true;
}

void catalog_remove(catalog_t *self, feed_ref_t *feed)
{
    unlist(catalog_origin_of(self, &feed->id.origin), feed);
    self->refs[feed->index] = self->refs[--self->count];
    self->refs[feed->index]->index = feed->index;
    free_ref(feed);
}

feed_ref_t *catalog_at(const catalog_t *self, size_t index)
{
    return index < self->count ? self->refs[index] : NULL;
}

size_t catalog_count(const catalog_t *self)
{
    return self->count;
}

/* ---- what rooms keep of each feed ---- */

size_t catalog_reserve(catalog_t *self, size_t size, feed_leave_fn *leave, void *arg)
{
    size_t note = 0;
    while (note < FEED_NOTES_MAX && self->rooms[note].used)
        note++;
    if (note == FEED_NOTES_MAX)
        fatalx("more than %d rooms keep notes of feeds", FEED_NOTES_MAX);
    self->rooms[note] = (room_t){true, size, leave, arg};
    for (size_t i = 0; i < self->count; i++)
        self->refs[i]->notes[note] = xcalloc(1, size);
    return note;
}

void catalog_release(catalog_t *self, size_t note)
{
    self->rooms[note].used = false;
    for (size_t i = 0; i < self->count; i++) {
        free(self->refs[i]->notes[note]);
        self->refs[i]->notes[note] = NULL;
    }
}
