#include "origin.h"

#include "nid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* WIRE_EVENTS_MAX events of the largest size fill no more batches than this. */
#define BATCHES_MAX 4

typedef struct {
    uint8_t bytes[WIRE_ENVELOPE_MAX];
    size_t size;
} sealed_t;

struct origin {
    feed_t *feed;
    wire_t *wire;
    uint8_t own[WIRE_KEY_BYTES];
    attempts_t *attempts;
    origin_publish_fn *publish;
    void *arg;
    event_t events[WIRE_EVENTS_MAX]; /* of the batch being filled */
    size_t event_count;
    size_t body_size; /* upper bound */
    sealed_t sealed[BATCHES_MAX];
    size_t sealed_count;
};

origin_t *origin_new(feed_t *feed, wire_t *wire, const uint8_t own[static WIRE_KEY_BYTES],
                     origin_publish_fn *publish, void *arg)
{
    origin_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    memcpy(self->own, own, WIRE_KEY_BYTES);
    self->attempts = attempts_new(feed_own_db(feed));
    self->publish = publish;
    self->arg = arg;
    return self;
}

void origin_destroy(origin_t **self_p)
{
    if (*self_p == NULL)
        return;
    attempts_destroy(&(*self_p)->attempts);
    free(*self_p);
    *self_p = NULL;
}

/* Sign and store what was gathered as the next batch. */
static int seal(origin_t *self, feed_ref_t *ref)
{
    if (self->event_count == 0)
        return 0;
    sealed_t *sealed = &self->sealed[self->sealed_count];
    wire_batch_t batch = {.feed = ref->id, .seq = ref->have + 1, .event_count = self->event_count};
    sealed->size = wire_write_batch(self->wire, &batch, self->events, sealed->bytes);
    if (sealed->size == 0)
        fatalx("%zu events of at most %zu bytes do not fit a batch", self->event_count,
               self->body_size);
    self->event_count = 0;
    self->body_size = 0;
    self->sealed_count++;
    return feed_store(self->feed, ref, batch.seq, sealed->bytes, sealed->size);
}

static bool is_longer(int64_t duration_s, int64_t than_s)
{
    return than_s != -1 && (duration_s == -1 || duration_s > than_s);
}

/* A ban of an attempt that is there: a repetition, or an event under the first one's position. */
static int prolong(origin_t *self, origin_item_t *item,
                   const uint8_t key[static ATTEMPTS_KEY_BYTES], event_t *event)
{
    attempt_t attempt;
    if (attempts_find(self->attempts, key, &attempt) != 1)
        return -1;
    item->nid = nid_of(self->own, &attempt.position);
    item->result = ORIGIN_REPEATED;
    if (!is_longer(item->ban->duration_s, attempt.duration_s))
        return 0;
    item->result = ORIGIN_PROLONGED;
    event->has_original = true;
    event->original = attempt.position;
    return attempts_prolong(self->attempts, key, item->ban->duration_s);
}

/* Decide what an item is, and make its event unless it is a repetition. */
static int add_item(origin_t *self, feed_ref_t *ref, origin_item_t *item)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    event_t *event = &self->events[self->event_count];
    *event = (event_t){.kind = EVENT_BAN, .ban = *item->ban};
    size_t size = wire_event_size(event);
    if (self->body_size + size > WIRE_BODY_MAX) {
        if (seal(self, ref) == -1)
            return -1;
        self->events[0] = *event;
        event = &self->events[0];
    }
    attempt_t attempt = {.duration_s = item->ban->duration_s};
    attempt.position = (event_position_t){.epoch = ref->id.epoch,
                                          .channel = ref->id.channel,
                                          .seq = ref->have + 1,
                                          .index = (uint32_t)self->event_count};
    attempts_key(item->ban, key);
    int claimed = attempts_claim(self->attempts, key, &attempt);
    if (claimed == -1 || (claimed == 0 && prolong(self, item, key, event) == -1))
        return -1;
    if (claimed == 1) {
        item->result = ORIGIN_NEW;
        item->nid = nid_of(self->own, &attempt.position);
    }
    if (item->result != ORIGIN_REPEATED) {
        self->event_count++;
        self->body_size += size;
    }
    return 0;
}

static int append_all(origin_t *self, feed_ref_t *ref, origin_item_t *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (add_item(self, ref, &items[i]) == -1)
            return -1;
    return seal(self, ref);
}

int origin_append(origin_t *self, origin_item_t *items, size_t count)
{
    db_t *db = feed_own_db(self->feed);
    if (count > WIRE_EVENTS_MAX)
        fatalx("%zu bans in one group, expected at most %d", count, WIRE_EVENTS_MAX);
    self->event_count = self->body_size = self->sealed_count = 0;
    feed_ref_t *ref = feed_own(self->feed, wall_now());
    if (ref == NULL || db_begin(db) == -1)
        return -1;
    if (append_all(self, ref, items, count) == -1 || db_commit(db) == -1) {
        int saved = errno;
        db_rollback(db);
        feed_forget(self->feed);
        errno = saved;
        return -1;
    }
    for (size_t i = 0; i < self->sealed_count; i++)
        self->publish(self->arg, self->sealed[i].bytes, self->sealed[i].size);
    return 0;
}

int origin_prune(origin_t *self)
{
    return attempts_prune(self->attempts, wall_now());
}
