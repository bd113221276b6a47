#include "compaction.h"

#include "stored.h"

#include <stdlib.h>
#include <string.h>

#define STEP_EVENTS   1024
#define LOOK_AGAIN_MS 60000

struct compaction {
    feed_t *feed;
    wire_t *wire;
    attempts_t *attempts;
    bool idle; /* there was nothing to do */
    mono_t idle_since;
    uint64_t idle_batches; /* in the log then */
    uint64_t idle_epochs;
};

/* What was gathered for a plan so far. */
typedef struct {
    size_t batches;
    size_t events;
    bool some_are_old;
} passed_t;

compaction_t *compaction_new(feed_t *feed, wire_t *wire, attempts_t *attempts)
{
    compaction_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    self->attempts = attempts;
    return self;
}

void compaction_destroy(compaction_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

/* ---- what still counts ---- */

/* A pardon lives as long as any ban that it may void; what withdraws an allowance, as long as that.
 */
static int64_t end_of(const event_t *event)
{
    const grace_t *grace = &event->grace;
    if (event->kind == EVENT_BAN)
        return ban_end_ms(&event->ban);
    int64_t until_ms = grace_until_ms(grace);
    if (event->kind == EVENT_ALLOW && until_ms > grace->time_ms)
        return until_ms;
    return (until_ms > grace->time_ms ? until_ms : grace->time_ms) + EVENT_GRACE_MAX_MS;
}

static bool counts(const event_t *event, wall_t now)
{
    int64_t end_ms = end_of(event);
    return end_ms > EVENT_FOREVER - COMPACTION_LINGER_MS || end_ms + COMPACTION_LINGER_MS > now.ms;
}

/* Copies and prolongations only ever go forward. */
static bool is_later(const event_position_t *one, const event_position_t *other)
{
    if (one->epoch != other->epoch)
        return one->epoch > other->epoch;
    return one->seq != other->seq ? one->seq > other->seq : one->index > other->index;
}

/* Complete an event to the copy that would be made of it. Returns 1; 0 if none is needed, because
 * it has ended, was lifted or a later event carries it; -1 and errno. */
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
    if (event->kind == EVENT_BAN) {
        int lifted = attempts_is_lifted(self->attempts, &event->original);
        if (lifted != 0)
            return lifted == 1 ? 0 : -1;
    }
    if (found == 1 && event_position_equal(&attempt.position, &event->original)) {
        if (is_later(&attempt.place, place))
            return 0;
        event->ban.duration_s = attempt.duration_s;
    }
    return counts(event, now);
}

/* ---- gathering a plan ---- */

/* What was signed in times to come was so by a clock that was wrong: it tells nothing, and would
 * stay for as long. Unless it is now that the clock is ahead: then all that is written is of such
 * times. */
static bool is_old(int64_t signed_ms, wall_t now)
{
    bool was_ahead = signed_ms > now.ms + COMPACTION_LINGER_MS;
    bool is_ahead = wall_now().ms > now.ms + COMPACTION_LINGER_MS;
    return now.ms - signed_ms > COMPACTION_AGE_MS || (was_ahead && !is_ahead);
}

/* Add what must be copied of one batch. Returns 1; 0 if the plan has no room for it, or the batch
 * cannot be copied; -1 and errno. */
static int pass_batch(compaction_t *self, const feed_ref_t *feed, uint64_t seq, wall_t now,
                      passed_t *passed, compaction_plan_t *plan)
{
    wire_batch_t batch;
    size_t count = plan->count;
    int64_t next = feed_next(self->feed, feed, seq - 1);
    if (next == -1)
        return -1;
    if ((uint64_t)next != seq)
        return 1; /* lost: there is nothing to copy */
    if (stored_batch(self->feed, self->wire, feed, seq, &batch) != STORED_BATCH)
        return 0;
    for (size_t i = 0; i < batch.event_count; i++) {
        if (count == WIRE_EVENTS_MAX)
            return 0;
        const event_position_t place = {feed->id.epoch, seq, feed->id.channel, (uint32_t)i};
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
    passed->some_are_old |= is_old(batch.time_ms, now);
    passed->batches++;
    passed->events += batch.event_count;
    return 1;
}

static bool has_room(const passed_t *passed, const compaction_plan_t *plan)
{
    return passed->batches < COMPACTION_STEP_BATCHES && passed->events < STEP_EVENTS &&
           plan->move_count < COMPACTION_STEP_BATCHES;
}

/* Pass what one feed holds. Returns 1 if all of it is passed, 0 if not; -1 and errno. */
static int pass_feed(compaction_t *self, const feed_ref_t *feed, wall_t now, passed_t *passed,
                     compaction_plan_t *plan)
{
    int rc = 1;
    uint64_t floor = feed->floor;
    while (rc == 1 && floor <= feed->have && has_room(passed, plan)) {
        rc = pass_batch(self, feed, floor, now, passed, plan);
        floor += rc == 1;
    }
    if (floor > feed->floor)
        plan->moves[plan->move_count++] = (compaction_move_t){feed, floor};
    return rc == -1 ? -1 : floor > feed->have;
}

/* What was lost with our disk comes back from peers: it is not passed before it is here. */
static bool is_whole(const feed_ref_t *feed)
{
    return feed->have >= feed->head_seq;
}

/* From the beginning of the log, as far as a step goes.
 *   all_but_newest  leave the epoch alone that is to remain */
static int gather(compaction_t *self, wall_t now, bool all_but_newest, passed_t *passed,
                  compaction_plan_t *plan)
{
    const feed_ref_t *feed;
    int rc = 1;
    *passed = (passed_t){0};
    plan->count = plan->move_count = 0;
    for (size_t i = 0; rc == 1 && (feed = feed_own_at(self->feed, i)) != NULL; i++)
        if (is_whole(feed) &&
            (!all_but_newest || feed->ended || feed != feed_own_newest(self->feed)))
            rc = pass_feed(self, feed, now, passed, plan);
    return rc == -1 ? -1 : 0;
}

/* ---- whether it is worth it ---- */

static bool is_worth_it(const passed_t *passed, const compaction_plan_t *plan)
{
    bool is_full = passed->batches == COMPACTION_STEP_BATCHES || passed->events >= STEP_EVENTS;
    if (is_full && 2 * plan->count <= passed->events)
        return true;
    return passed->some_are_old;
}

static bool is_idle(compaction_t *self, uint64_t batches, uint64_t epochs)
{
    return self->idle && epochs == self->idle_epochs &&
           batches < self->idle_batches + COMPACTION_STEP_BATCHES &&
           mono_since_ms(self->idle_since) < LOOK_AGAIN_MS;
}

/* An epoch of ours has ended by what came back from peers, and was not emptied: our disk had been
 * lost, and the clock was behind, when it began. */
static bool has_stranded(const compaction_t *self)
{
    const feed_ref_t *feed;
    for (size_t i = 0; (feed = feed_own_at(self->feed, i)) != NULL && feed->ended; i++)
        if (feed->floor <= feed->have)
            return true;
    return false;
}

int compaction_plan(compaction_t *self, wall_t now, compaction_plan_t *plan)
{
    uint64_t batches;
    uint64_t epochs;
    passed_t passed;
    compaction_size(self, &batches, &epochs);
    if (is_idle(self, batches, epochs))
        return 0;
    bool too_many = epochs > COMPACTION_EPOCHS_MAX || has_stranded(self);
    if (gather(self, now, too_many, &passed, plan) == -1)
        return -1;
    if (plan->move_count > 0 && (too_many || is_worth_it(&passed, plan))) {
        self->idle = false;
        return 1;
    }
    self->idle = true;
    self->idle_since = mono_now();
    self->idle_batches = batches;
    self->idle_epochs = epochs;
    return 0;
}

uint64_t compaction_epoch_floor(const compaction_t *self)
{
    const feed_ref_t *feed = NULL;
    for (size_t i = 0; (feed = feed_own_at(self->feed, i)) != NULL; i++)
        if (feed->floor <= feed->have || !is_whole(feed) || feed == feed_own_newest(self->feed))
            return i > 0 ? feed->id.epoch : 0;
    return 0;
}

void compaction_size(const compaction_t *self, uint64_t *batches, uint64_t *epochs)
{
    const feed_ref_t *feed;
    *batches = *epochs = 0;
    for (size_t i = 0; (feed = feed_own_at(self->feed, i)) != NULL; i++) {
        if (feed->floor <= feed->have || !feed->ended)
            ++*epochs;
        if (feed->floor <= feed->have)
            *batches += feed->have + 1 - feed->floor;
    }
}
