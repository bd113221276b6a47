#include "compaction.h"

#include "expiries.h"
#include "stored.h"

#include <stdlib.h>
#include <string.h>

/* A call looks at so many events, and some more: some milliseconds. */
#define COUNT_EVENTS 4096
#define PLAN_EVENTS  1024
#define STEP_BATCHES 64
#define GRACE_KEPT_MS                                                                              \
    (365LL * 24 * 3600 * MS_PER_S) /* what may void bans lives as long as they                     \
                                    */

/* How far the events of one of our feeds are counted; by the feed's index. */
typedef struct {
    uint64_t through;
} tally_t;

struct compaction {
    feed_t *feed;
    wire_t *wire;
    attempts_t *attempts;
    expiries_t *expiries;
    uint64_t events; /* in our log, from the floors up */
    tally_t *tallies;
    size_t tally_count;
    size_t counting;         /* the feed that is being counted */
    const feed_ref_t *noted; /* what is appended to it is noted, not counted; NULL: nothing yet */
    uint64_t noted_from;     /* its first batch of that kind */
    bool stale;              /* what is known of the log is not: count again */
    uint64_t round_left;     /* events that this round has yet to pass; 0: none has begun */
    bool round_ended;        /* and the log was not looked at since */
};

compaction_t *compaction_new(feed_t *feed, wire_t *wire, attempts_t *attempts)
{
    compaction_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    self->attempts = attempts;
    self->expiries = expiries_new();
    return self;
}

void compaction_destroy(compaction_t **self_p)
{
    if (*self_p == NULL)
        return;
    expiries_destroy(&(*self_p)->expiries);
    free((*self_p)->tallies);
    free(*self_p);
    *self_p = NULL;
}

static int64_t end_of(const event_t *event)
{
    if (event->kind == EVENT_BAN)
        return ban_end_ms(&event->ban);
    if (event->kind == EVENT_UNKNOWN)
        return EVENT_FOREVER;
    int64_t kept_ms = event->grace.time_ms + GRACE_KEPT_MS;
    return event->grace.until_ms > kept_ms ? event->grace.until_ms : kept_ms;
}

static int64_t kept_until(const event_t *event)
{
    int64_t end_ms = end_of(event);
    return end_ms > EVENT_FOREVER - COMPACTION_LINGER_MS ? EVENT_FOREVER
                                                         : end_ms + COMPACTION_LINGER_MS;
}

void compaction_follow(compaction_t *self, const feed_ref_t *own)
{
    /* Another epoch of this run: rare, and what was noted of the one before is not in its tally. */
    if (self->noted != NULL && self->noted != own)
        self->stale = true;
    if (self->noted != NULL)
        return;
    self->noted = own;
    self->noted_from = own->have + 1;
}

void compaction_note(compaction_t *self, const event_t *event, wall_t now)
{
    self->events++;
    expiries_add(self->expiries, kept_until(event), now);
}

/* ---- counting what is in the log ---- */

static void start_over(compaction_t *self)
{
    expiries_destroy(&self->expiries);
    self->expiries = expiries_new();
    if (self->tally_count > 0)
        memset(self->tallies, 0, self->tally_count * sizeof *self->tallies);
    self->events = self->counting = 0;
    self->noted = feed_own_current(self->feed);
    self->noted_from = self->noted != NULL ? self->noted->have + 1 : 0;
    self->stale = false;
}

static void follow_feeds(compaction_t *self)
{
    size_t count = feed_count(self->feed);
    if (count == self->tally_count)
        return;
    self->tallies = xrealloc(self->tallies, count * sizeof *self->tallies);
    memset(self->tallies + self->tally_count, 0,
           (count - self->tally_count) * sizeof *self->tallies);
    self->tally_count = count;
}

/* Returns what it cost. */
static size_t count_batch(compaction_t *self, const feed_ref_t *ref, uint64_t seq, wall_t now)
{
    wire_batch_t batch;
    event_t event;
    if (stored_batch(self->feed, self->wire, ref, seq, &batch) != STORED_BATCH)
        return COUNT_EVENTS / STEP_BATCHES;
    for (size_t i = 0; i < batch.event_count; i++)
        if (wire_event(self->wire, i, &event) == EVENT_OK)
            compaction_note(self, &event, now);
    return COUNT_EVENTS / STEP_BATCHES + batch.event_count;
}

/* How far a feed of ours is to be counted. */
static uint64_t count_through(const compaction_t *self, const feed_ref_t *ref)
{
    return ref == self->noted ? self->noted_from - 1 : ref->have;
}

bool compaction_count(compaction_t *self, wall_t now)
{
    size_t cost = 0;
    if (self->stale)
        start_over(self);
    follow_feeds(self);
    for (size_t left = self->tally_count; left > 0; left--) {
        size_t at = self->counting % self->tally_count;
        const feed_ref_t *ref = feed_at(self->feed, at);
        tally_t *tally = &self->tallies[at];
        if (feed_is_ours(self->feed, &ref->id.origin)) {
            if (tally->through + 1 < ref->floor)
                tally->through = ref->floor - 1;
            while (tally->through < count_through(self, ref) && cost < COUNT_EVENTS)
                cost += count_batch(self, ref, ++tally->through, now);
        }
        if (cost >= COUNT_EVENTS)
            return true;
        self->counting = at + 1;
    }
    return false;
}

/* ---- planning ---- */

static feed_ref_t *oldest_own(const compaction_t *self)
{
    feed_ref_t *oldest = NULL;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        feed_ref_t *ref = feed_at(self->feed, i);
        if (feed_is_ours(self->feed, &ref->id.origin) && ref->floor <= ref->have &&
            ref->have >= ref->head_seq && (oldest == NULL || ref->id.epoch < oldest->id.epoch))
            oldest = ref;
    }
    return oldest;
}

static bool is_at(const event_position_t *one, const event_position_t *other)
{
    return one->epoch == other->epoch && one->seq == other->seq && one->index == other->index;
}

/* Copies and prolongations only ever go forward. */
static bool is_later(const event_position_t *one, const event_position_t *other)
{
    if (one->epoch != other->epoch)
        return one->epoch > other->epoch;
    return one->seq != other->seq ? one->seq > other->seq : one->index > other->index;
}

/* Complete an event to the copy that would be made of it. Returns 1; 0 if none is needed, because
 * it has ended or a later event carries it; -1 and errno. */
static int make_copy(compaction_t *self, event_t *event, const event_position_t *place, wall_t now)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    attempt_t attempt;
    int found = 0;
    event->has_original = true;
    if (event->kind == EVENT_BAN) {
        attempts_key(&event->ban, key);
        found = attempts_find(self->attempts, key, &attempt);
    }
    if (found == -1)
        return -1;
    if (found == 1 && is_at(&attempt.position, &event->original)) {
        if (is_later(&attempt.place, place))
            return 0;
        event->ban.duration_s = attempt.duration_s;
    }
    return kept_until(event) > now.ms;
}

/* Add what must be copied of one batch to the plan. Returns 1; 0 if the plan has no room for it, or
 * it cannot be copied; -1 and errno. */
static int plan_batch(compaction_t *self, wall_t now, uint64_t seq, compaction_plan_t *plan)
{
    wire_batch_t batch;
    size_t count = plan->count;
    int64_t next = feed_next(self->feed, plan->from, seq - 1);
    if (next == -1)
        return -1;
    if ((uint64_t)next != seq)
        return 1; /* lost: there is nothing to copy */
    if (stored_batch(self->feed, self->wire, plan->from, seq, &batch) != STORED_BATCH)
        return 0;
    for (size_t i = 0; i < batch.event_count; i++) {
        if (count == WIRE_EVENTS_MAX)
            return 0;
        event_position_t place = {plan->from->id.epoch, seq, plan->from->id.channel, (uint32_t)i};
        event_t *event = &plan->events[count];
        /* Of ours, malformed by a newer version's rules, or unknown to us: only that version may
         * say whether it still counts. */
        if (wire_event(self->wire, i, event) != EVENT_OK || event->kind == EVENT_UNKNOWN)
            return 0;
        int rc = make_copy(self, event, &place, now);
        if (rc == -1)
            return -1;
        count += (size_t)rc;
    }
    plan->count = count;
    plan->passed += batch.event_count;
    return 1;
}

/* Whether the log is to be made shorter. A round passes all that is in it; a plan of its own may
 * copy as much as it passes, since what runs may stand before what has ended, but after a round all
 * that has ended is gone. If the log is too long even so, what it is compared with is wrong (a
 * clock that was set back by more than expiries remember): without counting again the same would be
 * copied round and round. */
static bool is_due(compaction_t *self, wall_t now)
{
    uint64_t running = expiries_running(self->expiries, now);
    bool too_long = self->events > 2 * running + COMPACTION_SLACK_EVENTS;
    self->stale = self->stale || (too_long && self->round_ended);
    self->round_ended = false;
    if (!too_long || self->stale)
        self->round_left = 0;
    else if (self->round_left == 0)
        self->round_left = self->events;
    return self->round_left > 0;
}

int compaction_plan(compaction_t *self, wall_t now, compaction_plan_t *plan)
{
    plan->from = is_due(self, now) ? oldest_own(self) : NULL;
    plan->count = 0;
    plan->passed = 0;
    if (plan->from == NULL)
        return 0;
    int rc = 1;
    plan->floor = plan->from->floor;
    for (int i = 0; rc == 1 && i < STEP_BATCHES && plan->passed < PLAN_EVENTS &&
                    plan->floor <= plan->from->have;
         i++) {
        rc = plan_batch(self, now, plan->floor, plan);
        plan->floor += rc == 1;
    }
    if (rc == -1)
        return -1;
    return plan->floor > plan->from->floor;
}

void compaction_done(compaction_t *self, const compaction_plan_t *plan)
{
    self->events -= plan->passed < self->events ? plan->passed : self->events;
    /* Their ends are known already. */
    self->events += plan->count;
    self->round_left -= plan->passed < self->round_left ? plan->passed : self->round_left;
    self->round_ended = self->round_left == 0;
}

uint64_t compaction_events(const compaction_t *self)
{
    return self->events;
}

uint64_t compaction_running(const compaction_t *self, wall_t now)
{
    return expiries_running(self->expiries, now);
}
