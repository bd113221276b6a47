#include "salvage.h"

#include "attempts.h"
#include "sum.h"
#include "wreck.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_BATCHES 512 /* in one transaction */

/* What the columns of `batch` and `feed` are, by place (schema.h). */
enum {
    BATCH_ENVELOPE = 1,
    FEED_ORIGIN = 1,
    FEED_EPOCH,
    FEED_CHANNEL,
    FEED_FLOOR,
    FEED_HEAD_SEQ,
    FEED_HEAD,
    FEED_SUM,
    FEED_COLUMNS
};

/* A batch of ours in the wreck, or with place 0 the row of a feed of ours: its floor is in seq. */
typedef struct {
    uint64_t epoch;
    uint32_t channel;
    uint64_t seq;
    uint64_t place;
} find_t;

typedef struct {
    feed_t *feed;
    db_t *db;
    wire_t *wire;
    attempts_t *attempts;
    wreck_t *wreck;
    salvage_result_t *result;
    find_t *finds;
    size_t count;
    size_t size;
    const find_t *last; /* that was taken */
    size_t uncommitted;
    event_t events[WIRE_EVENTS_MAX]; /* of the batch at hand */
    event_t copies[WIRE_EVENTS_MAX]; /* that the next batch will hold */
    size_t copy_count;
    size_t body_size; /* upper bound */
    uint8_t out[WIRE_ENVELOPE_MAX];
} salvager_t;

/* ---- what is there ---- */

static void add_find(salvager_t *self, const find_t *find)
{
    if (self->count == self->size) {
        self->size = self->size * 2 + 256;
        self->finds = xrealloc(self->finds, self->size * sizeof *self->finds);
    }
    self->finds[self->count++] = *find;
}

/* Whether a row looks like a batch of ours. What it is worth is asked when it is taken: verifying
 * is what costs time. */
static bool is_own_batch(salvager_t *self, const wreck_row_t *row, envelope_t *envelope,
                         wire_batch_t *batch)
{
    if (row->count <= BATCH_ENVELOPE || row->columns[BATCH_ENVELOPE].bytes == NULL)
        return false;
    const wreck_value_t *column = &row->columns[BATCH_ENVELOPE];
    return wire_open(column->bytes, column->size, envelope) == WIRE_OK &&
           envelope->kind == WIRE_BATCH && feed_is_ours(self->feed, envelope->origin) &&
           wire_read_batch(self->wire, envelope, batch) == WIRE_OK;
}

/* A row of ours in `feed`, and whole: its floor decides what no longer counts. */
static bool is_own_feed(const salvager_t *self, const wreck_row_t *row)
{
    const wreck_value_t *column = row->columns;
    if (row->count != FEED_COLUMNS || column[FEED_ORIGIN].size != PUBKEY_BYTES)
        return false;
    feed_id_t id = {.epoch = (uint64_t)column[FEED_EPOCH].number,
                    .channel = (uint32_t)column[FEED_CHANNEL].number};
    memcpy(id.origin.bytes, column[FEED_ORIGIN].bytes, PUBKEY_BYTES);
    return feed_is_ours(self->feed, &id.origin) &&
           column[FEED_SUM].number == sum_feed(&id, (uint64_t)column[FEED_FLOOR].number,
                                               (uint64_t)column[FEED_HEAD_SEQ].number,
                                               column[FEED_HEAD].bytes, column[FEED_HEAD].size);
}

static void look(void *arg, const wreck_row_t *row)
{
    salvager_t *self = arg;
    envelope_t envelope;
    wire_batch_t batch;
    find_t find = {.place = row->place};
    if (is_own_batch(self, row, &envelope, &batch)) {
        find.epoch = batch.feed.epoch;
        find.channel = batch.feed.channel;
        find.seq = batch.seq;
    } else if (is_own_feed(self, row)) {
        find.epoch = (uint64_t)row->columns[FEED_EPOCH].number;
        find.channel = (uint32_t)row->columns[FEED_CHANNEL].number;
        find.seq = (uint64_t)row->columns[FEED_FLOOR].number;
        find.place = 0;
    } else
        return;
    add_find(self, &find);
}

/* By feed; in it first its floors, the highest first, then its batches in order. */
static int in_order(const void *one_p, const void *other_p)
{
    const find_t *one = one_p;
    const find_t *other = other_p;
    if (one->epoch != other->epoch)
        return one->epoch < other->epoch ? -1 : 1;
    if (one->channel != other->channel)
        return one->channel < other->channel ? -1 : 1;
    if ((one->place == 0) != (other->place == 0))
        return one->place == 0 ? -1 : 1;
    if (one->seq == other->seq)
        return 0;
    return (one->seq < other->seq) == (one->place != 0) ? -1 : 1;
}

/* ---- taking it over ---- */

static int begin(salvager_t *self)
{
    return self->uncommitted > 0 ? 0 : db_begin(self->db);
}

static int commit(salvager_t *self)
{
    if (self->uncommitted == 0)
        return 0;
    self->uncommitted = 0;
    return db_commit(self->db);
}

static int store(salvager_t *self, feed_ref_t *feed, const uint8_t *bytes, size_t size)
{
    if (begin(self) == -1)
        return -1;
    self->uncommitted++;
    if (feed_store(self->feed, feed, feed->have + 1, bytes, size) == -1)
        return -1;
    return self->uncommitted == COMMIT_BATCHES ? commit(self) : 0;
}

static int write_copies(salvager_t *self)
{
    if (self->copy_count == 0)
        return 0;
    feed_ref_t *feed = feed_own_current(self->feed);
    wire_batch_t batch = {.feed = feed->id, .seq = feed->have + 1, .event_count = self->copy_count};
    size_t size = wire_write_batch(self->wire, &batch, self->copies, self->out);
    if (size == 0)
        fatalx("%zu events of at most %zu bytes do not fit a batch", self->copy_count,
               self->body_size);
    self->result->copied += self->copy_count;
    self->copy_count = self->body_size = 0;
    return store(self, feed, self->out, size);
}

/* An event that must be announced again. */
static int copy(salvager_t *self, const event_t *event, const event_position_t *position)
{
    if (feed_own_current(self->feed) == NULL &&
        (commit(self) == -1 || feed_own(self->feed, wall_now()) == NULL))
        return -1;
    size_t size = wire_event_size(event);
    if ((self->copy_count == WIRE_EVENTS_MAX || self->body_size + size > WIRE_BODY_MAX) &&
        write_copies(self) == -1)
        return -1;
    event_t *out = &self->copies[self->copy_count++];
    *out = *event;
    out->has_original = true;
    out->original = *position;
    self->body_size += wire_event_size(out);
    return 0;
}

/* The intake would take a repeated request for a new ban otherwise. */
static int remember(salvager_t *self, const event_t *event, const event_position_t *position)
{
    if (event->kind != EVENT_BAN)
        return 0;
    if (begin(self) == -1)
        return -1;
    self->uncommitted++;
    return attempts_learn(self->attempts, &event->ban, position, wall_now());
}

/* Copied out before anything is written: the decoder's memory is the encoder's, too. */
static size_t read_events(salvager_t *self, const wire_batch_t *batch)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->event_count; i++) {
        event_t *event = &self->events[count];
        if (wire_event(self->wire, i, event) == EVENT_OK && event->kind != EVENT_UNKNOWN)
            count++;
    }
    return count;
}

/* One batch of the wreck: under its number if all before it are there, else as copies. */
static int take_batch(salvager_t *self, const find_t *find, feed_ref_t *feed)
{
    wreck_row_t row;
    envelope_t envelope;
    wire_batch_t batch;
    /* If the disk says something else than before: as if not found. */
    if (!wreck_again(self->wreck, find->place, &row) ||
        !is_own_batch(self, &row, &envelope, &batch) ||
        wire_verify(self->wire, &envelope) != WIRE_OK)
        return 0;
    size_t count = read_events(self, &batch);
    bool is_next = find->seq == feed->have + 1;
    if (is_next && store(self, feed, envelope.bytes, envelope.size) == -1)
        return -1;
    self->result->kept += is_next;
    self->last = find;
    for (size_t i = 0; i < count; i++) {
        const event_t *event = &self->events[i];
        if (remember(self, event, &event->original) == -1 ||
            (!is_next && copy(self, event, &event->original) == -1))
            return -1;
    }
    return 0;
}

static bool is_of_same_feed(const find_t *one, const find_t *other)
{
    return one->epoch == other->epoch && one->channel == other->channel;
}

/* The row of a feed; its floor, too, if that is above what a new feed has. */
static int open_feed(salvager_t *self, const find_t *first)
{
    static const uint8_t no_head[1];
    feed_ref_t *feed = feed_add_own(self->feed, first->epoch, first->channel);
    if (feed == NULL)
        return -1;
    if (first->place != 0 || first->seq <= feed->have + 1)
        return 0;
    return feed_keep_head(self->feed, feed, first->seq - 1, first->seq, no_head, 0) == -1 ? -1 : 0;
}

/* All of them first: the epoch that copies go to must be later than any. */
static int open_feeds(salvager_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        if ((i == 0 || !is_of_same_feed(&self->finds[i - 1], &self->finds[i])) &&
            open_feed(self, &self->finds[i]) == -1)
            return -1;
    return 0;
}

/* A batch that is found twice, in the file and in its log, is taken once. */
static int take_all(salvager_t *self)
{
    if (open_feeds(self) == -1)
        return -1;
    for (size_t i = 0; i < self->count; i++) {
        const find_t *find = &self->finds[i];
        bool again =
            self->last != NULL && is_of_same_feed(self->last, find) && self->last->seq == find->seq;
        feed_ref_t *feed = feed_add_own(self->feed, find->epoch, find->channel);
        if (find->place != 0 && !again && find->seq > feed->have &&
            take_batch(self, find, feed) == -1)
            return -1;
    }
    return write_copies(self) == -1 ? -1 : commit(self);
}

int salvage_run(feed_t *feed, wire_t *wire, salvage_result_t *result, fault_t *fault)
{
    state_t *state = feed_state(feed);
    *result = (salvage_result_t){0};
    if (state_wreck(state) == NULL)
        return 0;
    wreck_t *wreck = wreck_open(state_wreck(state), fault);
    if (wreck == NULL)
        return -1;
    salvager_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->db = feed_own_db(feed);
    self->wire = wire;
    self->attempts = attempts_new(self->db);
    self->wreck = wreck;
    self->result = result;
    wreck_each(wreck, look, self);
    if (self->count > 0)
        qsort(self->finds, self->count, sizeof *self->finds, in_order);
    int rc = take_all(self);
    if (rc == -1) {
        fault_set(fault, "%s: cannot be taken over: %s", state_wreck(state), strerror(errno));
        db_rollback(self->db);
        feed_forget(feed);
    }
    wreck_close(&self->wreck);
    attempts_destroy(&self->attempts);
    free(self->finds);
    free(self);
    return rc == -1 ? -1 : state_salvaged(state, result->name, fault);
}
