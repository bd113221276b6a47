/* origin - our own feed: bans in; signed, numbered, durable batches out.
 * A group of bans that wait together becomes one batch, one signature, one commit. Only after the
 * commit are they published and may be acknowledged. Loop thread only. */
#ifndef BANMESH_MESH_ORIGIN_H
#define BANMESH_MESH_ORIGIN_H

#include "attempts.h"
#include "compaction.h"
#include "feed.h"
#include "wire.h"

typedef enum {
    ORIGIN_NEW,       /* stored as an event of its own */
    ORIGIN_PROLONGED, /* the same attempt with a longer ban: an event under the first one's nid */
    ORIGIN_REPEATED,  /* stored before; nothing to do */
} origin_result_t;

typedef struct {
    const ban_t *ban;       /* in: passes event_check_ban; borrowed for the call */
    origin_result_t result; /* out */
    int64_t nid;            /* out */
} origin_item_t;

typedef struct origin origin_t;

typedef void(origin_publish_fn)(void *arg, const uint8_t *envelope, size_t size);

/* feed and wire (with our key) are borrowed for as long as the origin lives. publish is called for
 * each batch after its commit. */
origin_t *origin_new(feed_t *feed, wire_t *wire, const uint8_t own[static WIRE_KEY_BYTES],
                     origin_publish_fn *publish, void *arg);
void origin_destroy(origin_t **self_p);

/* Append up to WIRE_EVENTS_MAX bans. Returns 0 once all of them are on disk: they survive power
 * loss. -1 and errno of db_step: none of them is kept. Costs one synced
 * commit, and a signature a batch. */
int origin_append(origin_t *self, origin_item_t *items, size_t count);

/* Keep our log within twice what still counts: copy what does out of the oldest batches, and raise
 * their floor, in one transaction. One small step a call; call it now and then while it returns
 * true. A full disk only puts it off. Call outside a transaction. */
bool origin_compact(origin_t *self);

/* Events in our log, and how many of them still count. */
void origin_size(origin_t *self, uint64_t *events, uint64_t *running);

/* Once a day: forget attempts too old to be repeated. 0, or -1 and errno. */
int origin_prune(origin_t *self);

#endif
