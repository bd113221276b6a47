#include "admission.h"

#include "nid.h"
#include "stored.h"

#define HEARD_MS     5000 /* a heartbeat that came within it counts for now */
#define STEP_BATCHES 8    /* of each feed */

struct admission {
    service_t *service;
    feed_t *feed;
    wire_t *wire;
    index_t *index;
    memo_t *memo;
    admission_fn *let_in;
    void *arg;
};

admission_t *admission_new(service_t *service, index_t *index, memo_t *memo, admission_fn *let_in,
                           void *arg)
{
    admission_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    self->feed = service_feed(service);
    self->wire = service_wire(service);
    self->index = index;
    self->memo = memo;
    self->let_in = let_in;
    self->arg = arg;
    return self;
}

void admission_destroy(admission_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static int64_t per_second(const admission_t *self)
{
    return service_settings(self->service)->guard.rate;
}

static bool is_behind(const admission_t *self, const pubkey_t *origin)
{
    const feed_ref_t *feed;
    for (size_t i = 0; (feed = feed_of(self->feed, origin, i)) != NULL; i++)
        if (feed->cursor < feed->have)
            return true;
    return false;
}

void admission_tick(admission_t *self, wall_t now)
{
    for (size_t i = 0; i < index_origin_count(self->index); i++) {
        const pubkey_t *origin = &index_origin_at(self->index, (uint16_t)i)->key;
        int64_t heard_ms = mesh_heard_ms(service_mesh(self->service), origin);
        if (heard_ms >= 0 && heard_ms <= HEARD_MS)
            rate_hear(memo_rate(self->memo, (uint16_t)i), per_second(self), is_behind(self, origin),
                      now);
    }
}

void admission_hear(admission_t *self, const feed_ref_t *feed, uint16_t origin, wall_t now)
{
    rate_hear(memo_rate(self->memo, origin), per_second(self), feed->cursor + 1 < feed->have, now);
}

static bool take(admission_t *self, uint16_t origin)
{
    return per_second(self) == 0 || rate_take(memo_rate(self->memo, origin));
}

bool admission_holds(admission_t *self, const feed_ref_t *feed, uint16_t origin, uint64_t place)
{
    uint64_t mark;
    if (memo_mark(self->memo, feed, &mark))
        return place > mark;
    if (take(self, origin))
        return false;
    memo_set_mark(self->memo, feed, place - 1);
    return true;
}

bool admission_held(const admission_t *self, const feed_ref_t *feed, uint64_t place)
{
    uint64_t mark;
    return memo_mark(self->memo, feed, &mark) && place > mark;
}

/* Returns false if it has to wait on. */
static bool let_in(admission_t *self, const feed_ref_t *feed, const event_t *event)
{
    uint32_t slot = index_find(self->index, &event->ban.address);
    if (slot == INDEX_NONE)
        return true;
    index_ban_t *ban =
        index_find_ban(self->index, slot, nid_of(&feed->id.origin, &event->original));
    if (ban == NULL || !ban->waits)
        return true;
    if (!take(self, ban->origin))
        return false;
    index_set_waits(self->index, ban, false);
    self->let_in(self->arg, slot);
    return true;
}

/* Of one batch, from an event on. Returns the place of the first that waits on, or of the next
 * batch. */
static uint64_t let_batch_in(admission_t *self, const feed_ref_t *feed, uint64_t seq, size_t number)
{
    wire_batch_t batch;
    event_t event;
    if (stored_batch(self->feed, self->wire, feed, seq, &batch) == STORED_BATCH)
        for (; number < batch.event_count; number++)
            if (wire_event(self->wire, number, &event) == EVENT_OK && event.kind == EVENT_BAN &&
                !let_in(self, feed, &event))
                return seq << INDEX_EVENT_BITS | number;
    return (seq + 1) << INDEX_EVENT_BITS;
}

/* Returns whether there is more of this feed that need not wait. */
static bool step_feed(admission_t *self, const feed_ref_t *feed, uint64_t mark)
{
    uint64_t place = mark + 1;
    for (int i = 0; i < STEP_BATCHES; i++) {
        uint64_t seq = place >> INDEX_EVENT_BITS;
        size_t number = place & ((1U << INDEX_EVENT_BITS) - 1);
        int64_t next = feed_next(self->feed, feed, seq > 0 ? seq - 1 : 0);
        if (next == -1)
            fatalx("%s", state_failure(feed_state(self->feed)));
        if (next == 0 || (uint64_t)next > feed->cursor) {
            memo_clear_mark(self->memo, feed);
            return false;
        }
        uint64_t reached =
            let_batch_in(self, feed, (uint64_t)next, (uint64_t)next == seq ? number : 0);
        if (reached - 1 != mark)
            memo_set_mark(self->memo, feed, reached - 1);
        if (reached >> INDEX_EVENT_BITS == (uint64_t)next)
            return false;
        place = reached;
        mark = reached - 1;
    }
    return true;
}

bool admission_step(admission_t *self)
{
    bool more = false;
    uint64_t mark;
    if (memo_mark_count(self->memo) == 0)
        return false;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        if (memo_mark(self->memo, feed, &mark))
            more = step_feed(self, feed, mark) || more;
    }
    return more;
}

void admission_admit(admission_t *self, uint16_t origin, wall_t now)
{
    rate_grant(memo_rate(self->memo, origin), index_origin_at(self->index, origin)->waiting, now);
}
