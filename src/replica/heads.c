#include "heads.h"

#include "stored.h"

#include <stdlib.h>
#include <string.h>

#define LAST_WORDS_TICKS 6 /* an origin that lives signs a head within five heartbeats */

/* What all were told of a feed; by the feed's index. */
typedef struct {
    uint64_t seq;
    uint64_t floor;
    unsigned times;
} told_t;

/* A batch beyond the head; by the feed's index. */
typedef struct {
    uint64_t seq;
    unsigned ticks; /* for how many heartbeats it has been the newest; LAST_WORDS_TICKS: told */
} last_t;

struct heads {
    feed_t *feed;
    wire_t *wire;
    told_t *told;
    last_t *last;
    size_t count;
    size_t next;       /* feed to begin with, so that each gets its turn */
    size_t last_at;    /* feed to look at next for last words */
    size_t last_count; /* given out in this heartbeat */
};

size_t heads_sign(feed_t *feed, wire_t *wire, const feed_ref_t *ref, wall_t now, uint8_t *out)
{
    wire_head_t head = {.floor = 1, .time_ms = now.ms};
    if (ref != NULL) {
        envelope_t batch;
        head.feed = ref->id;
        /* Of an epoch that came back by its head alone there is no batch to show: a floor without
         * one would be refused. */
        if (stored_open(feed, ref, ref->have, &batch)) {
            head.seq = ref->have;
            head.floor = ref->floor;
            wire_hash(&batch, head.hash);
        }
    }
    return wire_write_head(wire, &head, out);
}

size_t heads_read(feed_t *feed, wire_t *wire, const feed_ref_t *ref, wall_t now, uint8_t *out)
{
    const uint8_t *newest;
    /* Of an older epoch of ours that came back from peers we may hold no more than the head. */
    if (feed_is_ours(feed, &ref->id.origin) &&
        (ref->have == 0 || feed_read(feed, ref, ref->have, &newest) > 0))
        return heads_sign(feed, wire, ref, now, out);
    return feed_read_head(feed, ref, out, HEADS_ENVELOPE_MAX);
}

heads_t *heads_new(feed_t *feed, wire_t *wire)
{
    heads_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    return self;
}

void heads_destroy(heads_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->told);
    free((*self_p)->last);
    free(*self_p);
    *self_p = NULL;
}

static void follow_feeds(heads_t *self)
{
    size_t count = feed_count(self->feed);
    if (count == self->count)
        return;
    self->told = xrealloc(self->told, count * sizeof *self->told);
    memset(self->told + self->count, 0, (count - self->count) * sizeof *self->told);
    self->last = xrealloc(self->last, count * sizeof *self->last);
    memset(self->last + self->count, 0, (count - self->count) * sizeof *self->last);
    self->count = count;
}

/* What its head says: ours is made from what is stored. */
static told_t state_of(const heads_t *self, const feed_ref_t *ref)
{
    return (told_t){feed_is_ours(self->feed, &ref->id.origin) ? ref->have : ref->kept_seq,
                    ref->floor, 1};
}

void heads_gather_changed(heads_t *self, wall_t now, wire_bundle_t *out)
{
    const feed_ref_t *heartbeat = feed_own_newest(self->feed);
    follow_feeds(self);
    self->last_at = self->last_count = 0;
    out->count = out->used = 0;
    for (size_t i = 0; i < self->count; i++) {
        size_t at = (self->next + i) % self->count;
        const feed_ref_t *ref = feed_at(self->feed, at);
        told_t is = state_of(self, ref);
        if (is.seq == self->told[at].seq && is.floor == self->told[at].floor)
            is.times += self->told[at].times;
        if (ref == heartbeat || is.times > HEADS_TELL_TIMES)
            continue;
        uint8_t head[HEADS_ENVELOPE_MAX];
        size_t size = heads_read(self->feed, self->wire, ref, now, head);
        if (size > 0 && !wire_bundle_add(out, head, size)) {
            self->next = at;
            return;
        }
        self->told[at] = is;
    }
}

/* True if the newest batch of a feed has waited long enough for its head, and was not told yet. */
static bool is_unsaid(heads_t *self, size_t at)
{
    const feed_ref_t *ref = feed_at(self->feed, at);
    last_t *last = &self->last[at];
    if (feed_is_ours(self->feed, &ref->id.origin) || ref->have <= ref->kept_seq)
        return false;
    if (last->seq != ref->have)
        *last = (last_t){.seq = ref->have};
    if (last->ticks == LAST_WORDS_TICKS || self->last_count == HEADS_LAST_WORDS_MAX)
        return false;
    return ++last->ticks == LAST_WORDS_TICKS;
}

const feed_ref_t *heads_last_words(heads_t *self)
{
    while (self->last_at < self->count)
        if (is_unsaid(self, self->last_at++)) {
            self->last_count++;
            return feed_at(self->feed, self->last_at - 1);
        }
    return NULL;
}
