#include "own_feed.h"

#include "nid.h"
#include "stored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* WIRE_EVENTS_MAX events of the largest size, pardons, fill no more batches than this. */
#define BATCHES_MAX 6

#define UNBAN_REASON "unban" /* what stands in such a pardon */

typedef struct {
    uint8_t bytes[WIRE_ENVELOPE_MAX];
    size_t size;
} sealed_t;

struct own_feed {
    feed_t *feed;
    wire_t *wire;
    attempts_t *attempts;
    compaction_t *compaction;
    compaction_plan_t plan;
    own_feed_publish_fn *publish;
    void *arg;
    event_t events[WIRE_EVENTS_MAX]; /* of the batch being filled */
    size_t event_count;
    size_t body_size; /* upper bound */
    wall_t now;
    sealed_t sealed[BATCHES_MAX];
    size_t sealed_count;
};

own_feed_t *own_feed_new(feed_t *feed, wire_t *wire, own_feed_publish_fn *publish, void *arg)
{
    own_feed_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->wire = wire;
    self->attempts = attempts_new(feed_own_db(feed));
    self->compaction = compaction_new(feed, wire, self->attempts);
    self->publish = publish;
    self->arg = arg;
    return self;
}

void own_feed_destroy(own_feed_t **self_p)
{
    if (*self_p == NULL)
        return;
    compaction_destroy(&(*self_p)->compaction);
    attempts_destroy(&(*self_p)->attempts);
    free(*self_p);
    *self_p = NULL;
}

/* Sign and store what was gathered as the next batch. */
static int seal(own_feed_t *self, const feed_ref_t *ref)
{
    if (self->event_count == 0)
        return 0;
    if (self->sealed_count == BATCHES_MAX)
        fatalx("a group fills more than %d batches", BATCHES_MAX);
    sealed_t *sealed = &self->sealed[self->sealed_count];
    wire_batch_t batch = {.feed = ref->id,
                          .seq = ref->have + 1,
                          .time_ms = self->now.ms,
                          .event_count = self->event_count};
    sealed->size = wire_write_batch(self->wire, &batch, self->events, sealed->bytes);
    if (sealed->size == 0)
        fatalx("%zu events of at most %zu bytes do not fit a batch", self->event_count,
               self->body_size);
    self->event_count = 0;
    self->body_size = 0;
    self->sealed_count++;
    return feed_store(self->feed, ref, batch.seq, sealed->bytes, sealed->size);
}

/* Make sure that the batch being filled has room for an event. 0, or -1 and errno. */
static int make_room(own_feed_t *self, const feed_ref_t *ref, size_t size)
{
    if (self->body_size + size > WIRE_BODY_MAX && seal(self, ref) == -1)
        return -1;
    return 0;
}

/* Where the next event of the batch being filled will stand. */
static event_position_t next_place(const own_feed_t *self, const feed_ref_t *ref)
{
    return (event_position_t){.epoch = ref->id.epoch,
                              .channel = ref->id.channel,
                              .seq = ref->have + 1,
                              .index = (uint32_t)self->event_count};
}

static void put_event(own_feed_t *self, const event_t *event, size_t size)
{
    self->events[self->event_count++] = *event;
    self->body_size += size;
}

/* A ban of an attempt that is there: a repetition, or an event under the first one's position. */
static int prolong(own_feed_t *self, const feed_ref_t *ref, own_feed_item_t *item,
                   const uint8_t key[static ATTEMPTS_KEY_BYTES], event_t *event)
{
    attempt_t attempt;
    const event_position_t place = next_place(self, ref);
    if (attempts_find(self->attempts, key, &attempt) != 1)
        return -1;
    int lifted = attempts_is_lifted(self->attempts, &attempt.position);
    item->nid = nid_of(&ref->id.origin, &attempt.position);
    item->result = OWN_FEED_REPEATED;
    item->lifted = lifted == 1;
    if (lifted != 0 || !ban_is_longer(item->ban->duration_s, attempt.duration_s))
        return lifted == -1 ? -1 : 0;
    item->result = OWN_FEED_PROLONGED;
    event->has_original = true;
    event->original = attempt.position;
    return attempts_move(self->attempts, key, &place, item->ban->duration_s);
}

/* Decide what a ban is, and make its event unless it is a repetition. */
static int add_ban(own_feed_t *self, const feed_ref_t *ref, own_feed_item_t *item)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    event_t event = {.kind = EVENT_BAN, .ban = *item->ban};
    size_t size = wire_event_size(&event);
    if (make_room(self, ref, size) == -1)
        return -1;
    attempt_t attempt = {.duration_s = item->ban->duration_s};
    attempt.position = next_place(self, ref);
    attempts_key(item->ban, key);
    int claimed = attempts_claim(self->attempts, key, &attempt);
    if (claimed == -1 || (claimed == 0 && prolong(self, ref, item, key, &event) == -1))
        return -1;
    if (claimed == 1) {
        item->result = OWN_FEED_NEW;
        item->nid = nid_of(&ref->id.origin, &attempt.position);
    }
    if (item->result != OWN_FEED_REPEATED)
        put_event(self, &event, size);
    return 0;
}

event_t own_feed_pardon(const own_feed_item_t *item)
{
    event_t event = {.kind = EVENT_PARDON, .original = item->place};
    grace_t *pardon = &event.grace;
    pardon->network = item->ban->address;
    pardon->time_ms = item->at_ms;
    pardon->bans[0] = item->named;
    pardon->ban_count = 1;
    memcpy(pardon->text, UNBAN_REASON, sizeof UNBAN_REASON);
    return event;
}

static int put_pardon(own_feed_t *self, const feed_ref_t *ref, own_feed_item_t *item)
{
    event_t event = own_feed_pardon(item);
    size_t size = wire_event_size(&event);
    if (make_room(self, ref, size) == -1)
        return -1;
    item->place = next_place(self, ref);
    put_event(self, &event, size);
    return 0;
}

static int add_unban(own_feed_t *self, const feed_ref_t *ref, own_feed_item_t *item)
{
    attempt_t attempt;
    int found = attempts_find_near(self->attempts, item->ban, &attempt);
    item->result = OWN_FEED_UNKNOWN;
    item->nid = 0;
    if (found != 1)
        return found;
    if (item->at_ms > self->now.ms) /* a clock that was ahead while the record was spooled */
        item->at_ms = self->now.ms;
    int lifted = attempts_lift(self->attempts, &attempt.position, item->at_ms);
    item->named = attempt.position;
    item->nid = nid_of(&ref->id.origin, &attempt.position);
    item->result = lifted == 1 ? OWN_FEED_LIFTED : OWN_FEED_REPEATED;
    item->lifted = true;
    return lifted == 1 ? put_pardon(self, ref, item) : lifted;
}

static int add_item(own_feed_t *self, const feed_ref_t *ref, own_feed_item_t *item)
{
    item->lifted = false;
    return item->is_unban ? add_unban(self, ref, item) : add_ban(self, ref, item);
}

static int append_all(own_feed_t *self, const feed_ref_t *ref, own_feed_item_t *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (add_item(self, ref, &items[i]) == -1)
            return -1;
    return seal(self, ref);
}

/* Returns the feed that they go to; NULL and errno. */
static const feed_ref_t *start_batches(own_feed_t *self)
{
    self->event_count = self->body_size = self->sealed_count = 0;
    self->now = wall_now();
    return feed_own(self->feed, self->now);
}

static void publish_batches(own_feed_t *self)
{
    for (size_t i = 0; i < self->sealed_count; i++)
        self->publish(self->arg, self->sealed[i].bytes, self->sealed[i].size);
}

/* Nothing of what was begun is kept. Returns -1, errno as it was. */
static int take_back(own_feed_t *self)
{
    int saved = errno;
    db_rollback(feed_own_db(self->feed));
    feed_forget(self->feed);
    errno = saved;
    return -1;
}

int own_feed_append(own_feed_t *self, own_feed_item_t *items, size_t count)
{
    db_t *db = feed_own_db(self->feed);
    if (count > WIRE_EVENTS_MAX)
        fatalx("%zu bans in one group, expected at most %d", count, WIRE_EVENTS_MAX);
    const feed_ref_t *ref = start_batches(self);
    if (ref == NULL || db_begin(db) == -1)
        return -1;
    if (append_all(self, ref, items, count) == -1 || feed_commit_own(self->feed) == -1)
        return take_back(self);
    publish_batches(self);
    return 0;
}

int own_feed_append_grace(own_feed_t *self, event_t *event)
{
    const feed_ref_t *ref = start_batches(self);
    if (ref == NULL || db_begin(feed_own_db(self->feed)) == -1)
        return -1;
    event->has_original = false;
    event->original = next_place(self, ref);
    put_event(self, event, wire_event_size(event));
    if (seal(self, ref) == -1 || feed_commit_own(self->feed) == -1)
        return take_back(self);
    publish_batches(self);
    return 0;
}

int own_feed_find(own_feed_t *self, const ban_t *ban, event_t *out)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    attempt_t attempt;
    wire_batch_t batch;
    attempts_key(ban, key);
    int rc = attempts_find(self->attempts, key, &attempt);
    const feed_ref_t *newest = feed_own_newest(self->feed);
    if (rc != 1 || newest == NULL)
        return rc == -1 ? -1 : 0;
    const feed_id_t id = {newest->id.origin, attempt.place.epoch, attempt.place.channel};
    const feed_ref_t *ref = feed_find(self->feed, &id);
    return ref != NULL &&
           stored_batch(self->feed, self->wire, ref, attempt.place.seq, &batch) == STORED_BATCH &&
           attempt.place.index < batch.event_count &&
           wire_event(self->wire, attempt.place.index, out) == EVENT_OK && out->kind == EVENT_BAN;
}

/* ---- compaction ---- */

/* The next event carries this attempt now, if there is a row for it. */
static int move_attempt(own_feed_t *self, const feed_ref_t *ref, const event_t *copy)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    const event_position_t place = next_place(self, ref);
    if (copy->kind != EVENT_BAN)
        return 0;
    attempts_key(&copy->ban, key);
    return attempts_move(self->attempts, key, &place, copy->ban.duration_s);
}

static int write_copies(own_feed_t *self, const feed_ref_t *ref)
{
    const compaction_plan_t *plan = &self->plan;
    for (size_t i = 0; i < plan->count; i++) {
        size_t size = wire_event_size(&plan->events[i]);
        if (make_room(self, ref, size) == -1 || move_attempt(self, ref, &plan->events[i]) == -1)
            return -1;
        put_event(self, &plan->events[i], size);
    }
    return plan->count > 0 ? seal(self, ref) : 0;
}

static int raise_floors(own_feed_t *self, bool own_db)
{
    for (size_t i = 0; i < self->plan.move_count; i++) {
        const compaction_move_t *move = &self->plan.moves[i];
        if (move->feed->own_db == own_db &&
            feed_raise_floor(self->feed, move->feed, move->floor) == -1)
            return -1;
    }
    return 0;
}

/* Copies and floors in one transaction. An older epoch that came back from peers stands in the
 * other database: its floor is raised after the copies are on disk, and a crash in between only has
 * them copied again. */
static int carry_out(own_feed_t *self)
{
    db_t *db = feed_own_db(self->feed);
    const feed_ref_t *ref = start_batches(self);
    if (ref == NULL || db_begin(db) == -1)
        return -1;
    if (write_copies(self, ref) == -1 || raise_floors(self, true) == -1 ||
        feed_commit_own(self->feed) == -1)
        return take_back(self);
    publish_batches(self);
    return raise_floors(self, false);
}

/* Have our heads say that the epochs before this one have ended. */
static int end_epochs(own_feed_t *self, uint64_t epoch)
{
    db_t *db = feed_own_db(self->feed);
    if (start_batches(self) == NULL || db_begin(db) == -1)
        return -1;
    if (feed_end_own_epochs(self->feed, epoch) == -1 || feed_commit_own(self->feed) == -1)
        return take_back(self);
    return 0;
}

int own_feed_compact(own_feed_t *self, wall_t now)
{
    const feed_ref_t *newest = feed_own_newest(self->feed);
    uint64_t epoch = compaction_epoch_floor(self->compaction);
    if (newest != NULL && epoch > feed_epoch_floor(self->feed, &newest->id.origin))
        return end_epochs(self, epoch) == 0 ? 1 : -1;
    int rc = compaction_plan(self->compaction, now, &self->plan);
    if (rc == 1 && carry_out(self) == -1)
        return -1;
    return rc;
}

void own_feed_size(const own_feed_t *self, uint64_t *batches, uint64_t *epochs)
{
    compaction_size(self->compaction, batches, epochs);
}

int own_feed_prune(own_feed_t *self, wall_t now)
{
    return attempts_prune(self->attempts, now);
}
