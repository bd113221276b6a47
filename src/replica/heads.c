#include "heads.h"

#include "stored.h"

#include <stdlib.h>
#include <string.h>

#define LAST_WORDS_TICKS 6 /* an origin that lives signs a head within five heartbeats */

/* What all were told of a feed. */
typedef struct {
    feed_mark_t mark;
    unsigned times;
    uint64_t last_seq; /* a batch beyond the head: */
    unsigned
        last_ticks; /* for how many heartbeats it has been the newest; LAST_WORDS_TICKS: told */
} told_t;

struct heads {
    feed_t *feed;
    wire_t *wire;
    size_t note;       /* told_t */
    size_t next;       /* feed to begin with, so that each gets its turn */
    size_t last_at;    /* feed to look at next for last words */
    size_t last_count; /* given out in this heartbeat */
};

size_t heads_sign(feed_t *feed, wire_t *wire, const feed_ref_t *ref, wall_t now, uint8_t *out)
{
    wire_head_t head = {.floor = 1, .time_ms = now.ms};
    if (ref != NULL) {
        head.epoch_floor = feed_epoch_floor(feed, &ref->id.origin);
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
    self->note = feed_reserve(feed, sizeof(told_t), NULL, NULL);
    return self;
}

void heads_destroy(heads_t **self_p)
{
    if (*self_p == NULL)
        return;
    feed_release((*self_p)->feed, (*self_p)->note);
    free(*self_p);
    *self_p = NULL;
}

/* What its head says: ours is made from what is stored. */
static feed_mark_t mark_of(const heads_t *self, const feed_ref_t *ref)
{
    if (feed_is_ours(self->feed, &ref->id.origin))
        return (feed_mark_t){ref->have, ref->floor, feed_epoch_floor(self->feed, &ref->id.origin)};
    return (feed_mark_t){ref->kept_seq, ref->floor, ref->epoch_floor};
}

static bool is_same(const feed_mark_t *one, const feed_mark_t *other)
{
    return one->seq == other->seq && one->floor == other->floor &&
           one->epoch_floor == other->epoch_floor;
}

/* Add the head of a feed, if it changed of late. False if the bundle has no room for it. */
static bool tell(heads_t *self, const feed_ref_t *ref, wall_t now, wire_bundle_t *out)
{
    told_t *told = feed_note(ref, self->note);
    feed_mark_t is = mark_of(self, ref);
    unsigned times = is_same(&is, &told->mark) ? told->times + 1 : 1;
    if (times > HEADS_TELL_TIMES || ref->ended || ref == feed_own_newest(self->feed))
        return true;
    uint8_t head[HEADS_ENVELOPE_MAX];
    size_t size = heads_read(self->feed, self->wire, ref, now, head);
    if (size > 0 && !wire_bundle_add(out, head, size))
        return false;
    told->mark = is;
    told->times = times;
    return true;
}

void heads_gather_changed(heads_t *self, wall_t now, wire_bundle_t *out)
{
    size_t count = feed_count(self->feed);
    self->last_at = self->last_count = 0;
    out->count = out->used = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (self->next + i) % count;
        if (!tell(self, feed_at(self->feed, at), now, out)) {
            self->next = at;
            return;
        }
    }
}

/* True if the newest batch of a feed has waited long enough for its head, and was not told yet. */
static bool is_unsaid(heads_t *self, const feed_ref_t *ref)
{
    told_t *told = feed_note(ref, self->note);
    if (feed_is_ours(self->feed, &ref->id.origin) || ref->ended || ref->have <= ref->kept_seq)
        return false;
    if (told->last_seq != ref->have) {
        told->last_seq = ref->have;
        told->last_ticks = 0;
    }
    if (told->last_ticks == LAST_WORDS_TICKS || self->last_count == HEADS_LAST_WORDS_MAX)
        return false;
    return ++told->last_ticks == LAST_WORDS_TICKS;
}

const feed_ref_t *heads_last_words(heads_t *self)
{
    const feed_ref_t *ref;
    while ((ref = feed_at(self->feed, self->last_at)) != NULL) {
        self->last_at++;
        if (is_unsaid(self, ref)) {
            self->last_count++;
            return ref;
        }
    }
    return NULL;
}
