#include "refill.h"

#include "nid.h"
#include "stored.h"

#define STEP_MS 10

/* What is kept of each feed. */
typedef struct {
    uint64_t run;  /* of the refill that looked at it last */
    uint64_t done; /* newest seq that it has put in */
} reach_t;

struct refill {
    feed_t *feed;
    wire_t *wire;
    index_t *index;
    entries_t *entries;
    size_t note; /* reach_t */
    uint64_t run;
    bool goes_on;
};

refill_t *refill_new(service_t *service, index_t *index, entries_t *entries)
{
    refill_t *self = xcalloc(1, sizeof *self);
    self->feed = service_feed(service);
    self->wire = service_wire(service);
    self->index = index;
    self->entries = entries;
    self->note = feed_reserve(self->feed, sizeof(reach_t), NULL, NULL);
    return self;
}

void refill_destroy(refill_t **self_p)
{
    if (*self_p == NULL)
        return;
    feed_release((*self_p)->feed, (*self_p)->note);
    free(*self_p);
    *self_p = NULL;
}

void refill_begin(refill_t *self)
{
    self->run++;
    self->goes_on = true;
    index_forget_left_out(self->index);
}

bool refill_goes_on(const refill_t *self)
{
    return self->goes_on;
}

static void put_own(refill_t *self, const feed_ref_t *feed, const event_t *event)
{
    if (event->kind == EVENT_BAN)
        entries_take_own(self->entries, &event->ban, nid_of(&feed->id.origin, &event->original));
    else if (event->kind != EVENT_UNKNOWN)
        entries_take_own_grace(self->entries, event);
}

static void put_batch(refill_t *self, const feed_ref_t *feed, uint64_t seq)
{
    wire_batch_t batch;
    event_t event;
    if (stored_batch(self->feed, self->wire, feed, seq, &batch) != STORED_BATCH)
        return;
    bool is_ours = feed_is_ours(self->feed, &feed->id.origin);
    entries_place_t at = {
        .feed = feed,
        .seq = seq,
        .origin = index_origin(self->index, &feed->id.origin),
        .anew = true,
    };
    for (; at.number < batch.event_count; at.number++) {
        event_error_t malformed = wire_event(self->wire, at.number, &event);
        if (!is_ours)
            entries_take(self->entries, &at, malformed, &event);
        else if (malformed == EVENT_OK)
            put_own(self, feed, &event);
    }
}

/* What the consumer has not come to yet is put in by the consumer. */
static uint64_t end_of(const refill_t *self, const feed_ref_t *feed)
{
    return feed_is_ours(self->feed, &feed->id.origin) ? feed->have : feed->cursor;
}

/* Put in what one feed has, as far as the step goes. Returns how many batches that were. */
static int put_feed(refill_t *self, const feed_ref_t *feed, reach_t *reach, int max)
{
    int count = 0;
    while (count < max && reach->done < end_of(self, feed)) {
        int64_t next = feed_next(self->feed, feed, reach->done);
        if (next == -1)
            fatalx("%s", state_failure(feed_state(self->feed)));
        if (next == 0 || (uint64_t)next > end_of(self, feed)) {
            reach->done = end_of(self, feed);
            break;
        }
        put_batch(self, feed, (uint64_t)next);
        reach->done = (uint64_t)next;
        count++;
    }
    return count;
}

bool refill_step(refill_t *self, int batches)
{
    mono_t until = {mono_now().ms + STEP_MS};
    for (size_t i = 0; self->goes_on && i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        reach_t *reach = feed_note(feed, self->note);
        if (reach->run != self->run)
            *reach = (reach_t){.run = self->run};
        while (reach->done < end_of(self, feed)) {
            batches -= put_feed(self, feed, reach, batches < 16 ? batches : 16);
            if (batches <= 0 || mono_now().ms >= until.ms)
                return true;
        }
    }
    self->goes_on = false;
    return false;
}
