/* catalog - all feeds in memory: by id, by origin, and what rooms keep of each. Knows no disk; what
 * the numbers of a feed mean is feed's business. Loop thread only. */
#ifndef BANMESH_FEED_CATALOG_H
#define BANMESH_FEED_CATALOG_H

#include "feed_ref.h"

#include <stddef.h>

typedef struct catalog catalog_t;

/* The feeds of one origin. */
typedef struct {
    pubkey_t key;
    uint64_t epoch_floor; /* its oldest epoch that counts; 0: all do */
    feed_ref_t **refs;    /* by epoch, the oldest first */
    size_t count;
} catalog_origin_t;

catalog_t *catalog_new(void);
void catalog_destroy(catalog_t **self_p);

/* A new feed, zero but for its id; owned by the catalog, at this address until it is removed. */
feed_ref_t *catalog_add(catalog_t *self, const feed_id_t *id);

/* It may be removed: no room needs it any longer. Rooms are asked, so call it just before. */
bool catalog_may_remove(const catalog_t *self, feed_ref_t *feed);
void catalog_remove(catalog_t *self, feed_ref_t *feed);

/* NULL if there is none. */
feed_ref_t *catalog_find(const catalog_t *self, const feed_id_t *id);

/* All, in no order of meaning; NULL behind the last. */
feed_ref_t *catalog_at(const catalog_t *self, size_t index);
size_t catalog_count(const catalog_t *self);

/* The feeds of an origin: NULL if none was ever added; catalog_origin_of makes it. Both live as
 * long as the catalog. */
catalog_origin_t *catalog_find_origin(const catalog_t *self, const pubkey_t *key);
catalog_origin_t *catalog_origin_of(catalog_t *self, const pubkey_t *key);

/* ---- what rooms keep of each feed ---- */

/* Called before a feed is removed. False: the room needs it yet. True: what the note owns is freed,
 * and the room holds the feed no longer. */
typedef bool(feed_leave_fn)(void *arg, const feed_ref_t *feed, void *note);

/* Lay `size` bytes, all zero, beside each feed, those to come included. leave may be NULL. Returns
 * the number of the note. */
size_t catalog_reserve(catalog_t *self, size_t size, feed_leave_fn *leave, void *arg);

/* The room ends: the notes are freed, leave is not called. */
void catalog_release(catalog_t *self, size_t note);

#endif
