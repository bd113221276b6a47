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
    mono_t *not_before; /* by the feed's index */
    size_t count;
    size_t next; /* feed to begin with, so that each gets its turn */
};

trimmer_t *trimmer_new(feed_t *feed, wire_t *wire)
{
    trimmer_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    return self;
}

void trimmer_destroy(trimmer_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->not_before);
    free(*self_p);
    *self_p = NULL;
}

void trimmer_set_kept(trimmer_t *self, int64_t kept_ms)
{
    self->kept_ms = kept_ms;
    for (size_t i = 0; i < self->count; i++)
        self->not_before[i].ms = 0;
}

static void follow_feeds(trimmer_t *self)
{
    size_t count = feed_count(self->feed);
    if (count == self->count)
        return;
    self->not_before = xrealloc(self->not_before, count * sizeof *self->not_before);
    memset(self->not_before + self->count, 0, (count - self->count) * sizeof *self->not_before);
    self->count = count;
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

static bool is_kept_for_a_time(const trimmer_t *self, const feed_ref_t *ref)
{
    return feed_keeps_history(self->feed) || feed_is_ours(self->feed, &ref->id.origin);
}

/* Whether all is here that the origin had when it raised the floor: copies of what lies under it
 * stand in the same feed or in a later epoch. A floor is known as soon as its head is, and if the
 * origin dies before the copies came, what lies under it is all that there is. */
static bool has_copies(const trimmer_t *self, const feed_ref_t *ref)
{
    for (size_t i = 0; i < self->count; i++) {
        const feed_ref_t *other = feed_at(self->feed, i);
        if (other->have < other->kept_seq && other->id.epoch >= ref->id.epoch &&
            pubkey_equal(&other->id.origin, &ref->id.origin))
            return false;
    }
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

static bool has_some(const trimmer_t *self, size_t at)
{
    const feed_ref_t *ref = feed_at(self->feed, at);
    return ref->oldest < ref->floor && ref->oldest < ref->have &&
           mono_since_ms(self->not_before[at]) >= 0;
}

int trimmer_step(trimmer_t *self, wall_t now)
{
    follow_feeds(self);
    for (size_t i = 0; i < self->count; i++) {
        size_t at = (self->next + i) % self->count;
        if (!has_some(self, at))
            continue;
        feed_ref_t *ref = feed_at(self->feed, at);
        bool waits = !feed_is_ours(self->feed, &ref->id.origin) && !has_copies(self, ref);
        uint64_t last = last_to_go(self, ref, waits, now);
        self->next = at + 1;
        if (last > 0)
            return feed_trim(self->feed, ref, last) == 0 ? 1 : -1;
        self->not_before[at].ms = mono_now().ms + (waits ? LOOK_SOON_MS : LOOK_AGAIN_MS);
        if (waits)
            return 1; /* it took a look at every feed */
    }
    return 0;
}
