#include "salvage.h"

#include "around.h"
#include "attempts.h"
#include "sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The columns of a row, by place. */
enum { ROW_KEY, ROW_ID, ROW_ENVELOPE, ROW_SUM };

typedef struct {
    feed_t *feed;
    db_t *db;
    wire_t *wire;
    attempts_t *attempts;
    sqlite3_stmt *taken; /* notes that a batch was taken: in file and log it is found twice */
    salvage_result_t *result;
    uint64_t newest; /* epoch that was found */
    int error;       /* what writing failed of; from then on nothing more is taken */
    bool is_open;    /* a transaction */
    event_t events[WIRE_EVENTS_MAX]; /* of the batch at hand */
    event_t copies[WIRE_EVENTS_MAX]; /* that the next batch will hold */
    size_t copy_count;
    size_t body_size; /* upper bound */
    uint8_t out[WIRE_ENVELOPE_MAX];
} salvager_t;

/* ---- a row ---- */

typedef struct {
    envelope_t envelope;
    wire_batch_t batch;
    bool is_whole; /* by its checksum: under this key, these bytes were stored */
} find_t;

/* Whether a row looks like a batch of ours. What it is worth is asked when it is taken: verifying
 * is what costs time. */
static bool read_row(salvager_t *self, sqlite3_stmt *row, find_t *find)
{
    const uint8_t *bytes = sqlite3_column_blob(row, ROW_ENVELOPE);
    size_t size = (size_t)sqlite3_column_bytes(row, ROW_ENVELOPE);
    if (bytes == NULL || wire_open(bytes, size, &find->envelope) != WIRE_OK ||
        find->envelope.kind != WIRE_BATCH || !feed_is_ours(self->feed, find->envelope.origin) ||
        wire_read_batch(self->wire, &find->envelope, &find->batch) != WIRE_OK)
        return false;
    find->is_whole = sqlite3_column_int64(row, ROW_SUM) ==
                     sum_batch(&find->batch.feed, sqlite3_column_int64(row, ROW_ID), bytes, size);
    return true;
}

static bool is_verified(salvager_t *self, const find_t *find)
{
    return wire_verify(self->wire, &find->envelope) == WIRE_OK;
}

/* ---- writing ---- */

/* What is learned and what is copied is committed together: an attempt that is known has an event
 * in a feed of ours. */
static int flush(salvager_t *self)
{
    if (!self->is_open)
        return 0;
    if (self->copy_count > 0) {
        const feed_ref_t *feed = feed_own_current(self->feed);
        wire_batch_t batch = {.feed = feed->id,
                              .seq = feed->have + 1,
                              .time_ms = wall_now().ms,
                              .event_count = self->copy_count};
        size_t size = wire_write_batch(self->wire, &batch, self->copies, self->out);
        if (size == 0)
            fatalx("%zu events of at most %zu bytes do not fit a batch", self->copy_count,
                   self->body_size);
        if (feed_store(self->feed, feed, batch.seq, self->out, size) == -1)
            return -1;
    }
    self->is_open = false;
    if (feed_commit_own(self->feed) == -1)
        return -1;
    self->result->copied += self->copy_count;
    self->copy_count = self->body_size = 0;
    return 0;
}

/* Have room for an event in an open transaction. */
static int make_room(salvager_t *self, const event_t *event)
{
    if ((self->copy_count == WIRE_EVENTS_MAX ||
         self->body_size + wire_event_size(event) > WIRE_BODY_MAX) &&
        flush(self) == -1)
        return -1;
    if (!self->is_open && db_begin(self->db) == -1)
        return -1;
    self->is_open = true;
    return 0;
}

/* Announce an event again, unless it is known here; the intake is to know it, too, or it would take
 * a repeated request for a new ban. */
static int copy(salvager_t *self, const event_t *event)
{
    if (make_room(self, event) == -1)
        return -1;
    int rc = attempts_learn(self->attempts, event, wall_now());
    if (rc == 1) {
        self->copies[self->copy_count++] = *event;
        self->body_size += wire_event_size(event);
    }
    return rc == -1 ? -1 : 0;
}

/* Copied out before anything is written: the decoder's memory is the encoder's, too. What only a
 * later version knows cannot be copied. */
static size_t read_events(salvager_t *self, const wire_batch_t *batch)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->event_count; i++) {
        event_t *event = &self->events[count];
        if (wire_event(self->wire, i, event) != EVENT_OK || event->kind == EVENT_UNKNOWN)
            continue;
        event->has_original = true;
        count++;
    }
    return count;
}

/* ---- two rounds ---- */

/* The epoch that copies go to must be later than any that is there. */
static bool look(void *arg, sqlite3_stmt *row)
{
    salvager_t *self = arg;
    find_t find;
    if (!read_row(self, row, &find))
        return false;
    if (find.batch.feed.epoch > self->newest && is_verified(self, &find))
        self->newest = find.batch.feed.epoch;
    return find.is_whole;
}

/* Returns 1; 0 if it was taken before; -1 and errno. */
static int note_taken(salvager_t *self, const wire_batch_t *batch)
{
    sqlite3_bind_int64(self->taken, 1, (int64_t)batch->feed.epoch);
    sqlite3_bind_int64(self->taken, 2, batch->feed.channel);
    sqlite3_bind_int64(self->taken, 3, (int64_t)batch->seq);
    if (db_step(self->db, self->taken) == -1)
        return -1;
    return db_changed(self->db) > 0;
}

static int take_batch(salvager_t *self, const wire_batch_t *batch)
{
    int rc = note_taken(self, batch);
    if (rc != 1)
        return rc;
    self->result->batches++;
    size_t count = read_events(self, batch);
    for (size_t i = 0; i < count; i++)
        if (copy(self, &self->events[i]) == -1)
            return -1;
    return 0;
}

static bool take(void *arg, sqlite3_stmt *row)
{
    salvager_t *self = arg;
    find_t find;
    if (self->error != 0 || !read_row(self, row, &find) || !is_verified(self, &find))
        return false;
    if (take_batch(self, &find.batch) == -1)
        self->error = errno;
    return find.is_whole;
}

/* Each table that may hold batches; without the log, too, if there is one or it is in the way. -1
 * with the fault if there is nothing to be read at all. */
static int each_row(salvager_t *self, const char *path, around_row_fn *row, fault_t *fault)
{
    /* What .recover finds on pages of which it cannot tell the table. */
    static const around_t tables[] = {
        {.table = "batch", .key = "id", .columns = "id, envelope, sum"},
        {.table = "lost_and_found", .key = "rowid", .columns = "id, c1, c2"},
    };
    fault_t ignored;
    int rc = -1;
    for (int pass = 0; pass == 0 || (pass == 1 && (rc == -1 || db_log_bytes(path) > 0)); pass++)
        for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
            around_t from = tables[i];
            from.path = path;
            from.without_log = pass == 1;
            if (around_read(&from, row, self, pass == 0 && i == 0 ? fault : &ignored) == 0)
                rc = 0;
        }
    return rc;
}

static const feed_ref_t *begin_epoch(salvager_t *self)
{
    wall_t now = wall_now();
    if (now.ms <= (int64_t)self->newest)
        now.ms = (int64_t)self->newest + 1;
    return feed_own(self->feed, now);
}

static int begin_taking(salvager_t *self)
{
    sqlite3_stmt *make =
        db_prepare(self->db, "CREATE TEMP TABLE IF NOT EXISTS taken (epoch, channel, seq, "
                             "PRIMARY KEY (epoch, channel, seq)) WITHOUT ROWID");
    int rc = db_step(self->db, make);
    sqlite3_finalize(make);
    if (rc == 0)
        self->taken = db_prepare(self->db, "INSERT OR IGNORE INTO taken VALUES (?, ?, ?)");
    return rc;
}

static void end_taking(salvager_t *self)
{
    sqlite3_finalize(self->taken);
    sqlite3_stmt *drop = db_prepare(self->db, "DROP TABLE taken");
    db_step(self->db, drop);
    sqlite3_finalize(drop);
}

/* Returns 0; 1 with the fault if SQLite refuses the whole; -1 and errno if writing fails. */
static int take_all(salvager_t *self, const char *path, fault_t *fault)
{
    if (each_row(self, path, look, fault) == -1)
        return 1;
    if (self->newest == 0)
        return 0;
    if (begin_epoch(self) == NULL || begin_taking(self) == -1)
        return -1;
    each_row(self, path, take, fault);
    if (self->error == 0 && flush(self) == -1)
        self->error = errno;
    end_taking(self);
    errno = self->error;
    return self->error == 0 ? 0 : -1;
}

static int salvage(feed_t *feed, wire_t *wire, const char *path, salvage_result_t *result,
                   fault_t *fault)
{
    salvager_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->db = feed_own_db(feed);
    self->wire = wire;
    self->attempts = attempts_new(self->db);
    self->result = result;
    int rc = take_all(self, path, fault);
    if (rc == -1) {
        fault_set(fault, "%s: cannot be taken over: %s", path, strerror(errno));
        db_rollback(self->db);
        feed_forget(feed);
    }
    attempts_destroy(&self->attempts);
    free(self);
    return rc;
}

int salvage_run(feed_t *feed, wire_t *wire, salvage_result_t *result, fault_t *fault)
{
    state_t *state = feed_state(feed);
    *result = (salvage_result_t){0};
    if (state_wreck(state) == NULL)
        return 0;
    if (salvage(feed, wire, state_wreck(state), result, fault) == -1)
        return -1;
    return state_salvaged(state, result->name, fault);
}

int salvage_file(feed_t *feed, wire_t *wire, const char *path, salvage_result_t *result,
                 fault_t *fault)
{
    *result = (salvage_result_t){0};
    return salvage(feed, wire, path, result, fault) == 0 ? 0 : -1;
}
