#include "trimmer.h"

#include "stored.h"

#include <stdlib.h>
#include <string.h>

#define STEP_BATCHES  128
#define LOOK_AGAIN_MS 60000 /* at a feed whose oldest batches are still kept */
#define LOOK_SOON_MS  1000  /* at one whose copies are on their way */

struct trimmer {
    feed_t *feed;
    wire_t *wire;
    int64_t kept_ms;
    size_t note; /* mono_t: when to look at it again */
    size_t next; /* feed to begin with, so that each gets its turn */
};

trimmer_t *trimmer_new(feed_t *feed, wire_t *wire)
{
    trimmer_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    self->note = feed_reserve(feed, sizeof(mono_t), NULL, NULL);
    return self;
}

void trimmer_destroy(trimmer_t **self_p)
{
    if (*self_p == NULL)
        return;
    feed_release((*self_p)->feed, (*self_p)->note);
    free(*self_p);
    *self_p = NULL;
}

static void put_off(const trimmer_t *self, const feed_ref_t *ref, int64_t until_ms)
{
    mono_t *not_before = feed_note(ref, self->note);
    not_before->ms = until_ms;
}

void trimmer_set_kept(trimmer_t *self, int64_t kept_ms)
{
    self->kept_ms = kept_ms;
    for (size_t i = 0; i < feed_count(self->feed); i++)
        put_off(self, feed_at(self->feed, i), 0);
}

static int64_t time_of(const event_t *event)
{
    return event->kind == EVENT_BAN ? event->ban.time_ms : event->grace.time_ms;
}

/* The time of a batch's newest event that we know the kind of. */
static int64_t newest_time(trimmer_t *self, const feed_ref_t *ref, uint64_t seq)
{
    wire_batch_t batch;
    event_t event;
    int64_t newest_ms = 0;
    if (stored_batch(self->feed, self->wire, ref, seq, &batch) != STORED_BATCH)
        return 0;
    for (size_t i = 0; i < batch.event_count; i++)
        if (wire_event(self->wire, i, &event) == EVENT_OK && event.kind != EVENT_UNKNOWN &&
            time_of(&event) > newest_ms)
            newest_ms = time_of(&event);
    return newest_ms;
}

/* Of our own epochs that have ended the newest few are kept for aggregators that were away; a node
 * that starts again and again must not keep all of them. */
static bool is_one_too_many(const trimmer_t *self, const feed_ref_t *ref)
{
    const feed_ref_t *other;
    size_t later = 0;
    for (size_t i = 0; (other = feed_own_at(self->feed, i)) != NULL && other->ended; i++)
        later += other->id.epoch > ref->id.epoch;
    return ref->ended && later >= TRIMMER_ENDED_KEPT;
}

static bool is_kept_for_a_time(const trimmer_t *self, const feed_ref_t *ref)
{
    return feed_keeps_history(self->feed) ||
           (feed_is_ours(self->feed, &ref->id.origin) && !is_one_too_many(self, ref));
}

/* Whether all is here that the origin had when it raised the floor: copies of what lies under it
 * stand in the same feed or in a later epoch. A floor is known as soon as its head is, and if the
 * origin dies before the copies came, what lies under it is all that there is. */
static bool has_copies(const trimmer_t *self, const feed_ref_t *ref)
{
    const feed_ref_t *other;
    for (size_t i = 0; (other = feed_of(self->feed, &ref->id.origin, i)) != NULL; i++)
        if (!other->ended && other->have < other->kept_seq && other->id.epoch >= ref->id.epoch)
            return false;
    return true;
}

/* The last batch under the floor that may go without its copies, since they could not be stored:
 * with the disk full, what our consumer is done with. */
static uint64_t last_without_copies(const trimmer_t *self, const feed_ref_t *ref)
{
    if (!state_is_full(feed_state(self->feed)))
        return 0;
    return feed_keeps_history(self->feed) || ref->cursor >= ref->floor ? ref->floor - 1
                                                                       : ref->cursor;
}

/* The last batch that may go now; 0: none. */
static uint64_t last_to_go(trimmer_t *self, const feed_ref_t *ref, bool waits, wall_t now)
{
    uint64_t last = waits ? last_without_copies(self, ref) : ref->floor - 1;
    if (last < ref->oldest)
        return 0;
    if (last > ref->oldest + STEP_BATCHES - 1)
        last = ref->oldest + STEP_BATCHES - 1;
    if (!is_kept_for_a_time(self, ref))
        return last;
    uint64_t seq = ref->oldest;
    while (seq <= last && newest_time(self, ref, seq) < now.ms - self->kept_ms)
        seq++;
    return seq > ref->oldest ? seq - 1 : 0;
}

/* Its newest batch stays while its head may have to show the hash of it. */
static bool has_some(const trimmer_t *self, const feed_ref_t *ref)
{
    const mono_t *not_before = feed_note(ref, self->note);
    bool some =
        ref->ended ? ref->floor > ref->have : ref->oldest < ref->floor && ref->oldest < ref->have;
    return some && mono_since_ms(*not_before) >= 0;
}

/* One feed that has some. Returns as trimmer_step; 0 if none of it may go now. */
static int trim_feed(trimmer_t *self, const feed_ref_t *ref, wall_t now)
{
    bool waits = !feed_is_ours(self->feed, &ref->id.origin) && !has_copies(self, ref);
    if (ref->ended && ref->oldest > ref->have && !waits) {
        int rc = feed_remove(self->feed, ref);
        if (rc == 0)
            put_off(self, ref, mono_now().ms + LOOK_SOON_MS);
        return rc;
    }
    uint64_t last = last_to_go(self, ref, waits, now);
    if (last > 0)
        return feed_trim(self->feed, ref, last) == 0 ? 1 : -1;
    put_off(self, ref, mono_now().ms + (waits ? LOOK_SOON_MS : LOOK_AGAIN_MS));
    return 0;
}

int trimmer_step(trimmer_t *self, wall_t now)
{
    size_t count = feed_count(self->feed);
    for (size_t i = 0; i < count; i++) {
        size_t at = (self->next + i) % count;
        const feed_ref_t *ref = feed_at(self->feed, at);
        if (!has_some(self, ref))
            continue;
        int rc = trim_feed(self, ref, now);
        self->next = at + 1;
        if (rc != 0)
            return rc;
    }
    return 0;
}
