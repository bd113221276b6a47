#include "rows.h"

#include "sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char rows_tables[] =
    "CREATE TABLE feed (number INTEGER PRIMARY KEY AUTOINCREMENT, origin BLOB NOT NULL, "
    " epoch INTEGER NOT NULL, channel INTEGER NOT NULL, floor INTEGER NOT NULL DEFAULT 1, "
    " head_seq INTEGER NOT NULL DEFAULT 0, epoch_floor INTEGER NOT NULL DEFAULT 0, head BLOB, "
    " sum INTEGER, UNIQUE (origin, epoch, channel));"
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, envelope BLOB NOT NULL, sum INTEGER);"
    "CREATE VIEW batches AS SELECT hex (origin) AS origin, epoch, channel, "
    " batch.id & 1099511627775 AS seq, length (envelope) AS bytes, envelope "
    " FROM batch JOIN feed ON feed.number = batch.id >> 40";

#define READ_TRIES 20 /* each waits as long as db does */

struct rows {
    db_t *db;
    sqlite3_stmt *add_feed;
    sqlite3_stmt *add_batch;
    sqlite3_stmt *read_batch;
    sqlite3_stmt *newest_batch;
    sqlite3_stmt *next_batch;
    sqlite3_stmt *drop_batches;
    sqlite3_stmt *keep_head;
    sqlite3_stmt *set_floors;
    sqlite3_stmt *drop_feed;
    sqlite3_stmt *read_head;
    sqlite3_stmt *read_feed;
    uint8_t *buffer; /* what rows_read_batch returns */
    size_t buffer_size;
};

rows_t *rows_new(db_t *db)
{
    rows_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->add_feed = db_prepare(db, "INSERT INTO feed (origin, epoch, channel, sum) "
                                    "VALUES (?, ?, ?, ?) RETURNING number");
    self->add_batch = db_prepare(db, "INSERT INTO batch (id, envelope, sum) VALUES (?, ?, ?)");
    self->read_batch = db_prepare(db, "SELECT envelope, sum FROM batch WHERE id = ?");
    self->newest_batch = db_prepare(db, "SELECT max (id) FROM batch WHERE id BETWEEN ? AND ?");
    self->next_batch = db_prepare(db, "SELECT min (id) FROM batch WHERE id BETWEEN ? AND ?");
    self->drop_batches = db_prepare(db, "DELETE FROM batch WHERE id BETWEEN ? AND ?");
    self->keep_head = db_prepare(db, "UPDATE feed SET head_seq = ?, floor = ?, epoch_floor = ?, "
                                     "head = ?, sum = ? WHERE number = ?");
    self->set_floors = db_prepare(db, "UPDATE feed SET floor = ?, epoch_floor = ?, sum = ? "
                                      "WHERE number = ?");
    self->drop_feed = db_prepare(db, "DELETE FROM feed WHERE number = ?");
    self->read_head = db_prepare(db, "SELECT head FROM feed WHERE number = ?");
    self->read_feed = db_prepare(db, "SELECT floor, head_seq, epoch_floor, head, sum "
                                     "FROM feed WHERE number = ?");
    return self;
}

void rows_destroy(rows_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->buffer);
    free(*self_p);
    *self_p = NULL;
}

db_t *rows_db(rows_t *self)
{
    return self->db;
}

static int64_t key_of(const feed_ref_t *feed, uint64_t seq)
{
    return feed->number << FEED_SEQ_BITS | (int64_t)seq;
}

/* Read a row. Nobody may take a read that failed for a row that is not there: its events would be
 * passed over. Returns 1 or 0. */
static int read_row(const rows_t *self, sqlite3_stmt *statement)
{
    int rc = db_step(self->db, statement);
    for (int i = 0; rc == -1 && errno == EBUSY && i < READ_TRIES; i++)
        rc = db_step(self->db, statement);
    if (rc == -1)
        fatal("%s", errno == EBUSY ? db_path(self->db) : db_error(self->db));
    return rc;
}

/* ---- feeds ---- */

int64_t rows_add_feed(rows_t *self, const feed_id_t *id)
{
    sqlite3_bind_blob(self->add_feed, 1, id->origin.bytes, PUBKEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(self->add_feed, 2, (int64_t)id->epoch);
    sqlite3_bind_int64(self->add_feed, 3, id->channel);
    const feed_mark_t none = {.floor = 1};
    sqlite3_bind_int64(self->add_feed, 4, sum_feed(id, &none, NULL, 0));
    if (db_step(self->db, self->add_feed) != 1)
        return -1;
    int64_t number = sqlite3_column_int64(self->add_feed, 0);
    /* The first step gives the row, the second one commits it. */
    return db_step(self->db, self->add_feed) == -1 ? -1 : number;
}

static feed_mark_t mark_of(sqlite3_stmt *row)
{
    return (feed_mark_t){.floor = (uint64_t)sqlite3_column_int64(row, 0),
                         .seq = (uint64_t)sqlite3_column_int64(row, 1),
                         .epoch_floor = (uint64_t)sqlite3_column_int64(row, 2)};
}

/* The sum of a row of read_feed, with that mark. */
static int64_t sum_row(const feed_ref_t *feed, sqlite3_stmt *row, const feed_mark_t *mark)
{
    return sum_feed(&feed->id, mark, sqlite3_column_blob(row, 3),
                    (size_t)sqlite3_column_bytes(row, 3));
}

/* Step read_feed to its row, which is what was written; the caller resets it. 0, or -1 and errno.
 */
static int open_feed(rows_t *self, const feed_ref_t *feed, feed_mark_t *mark)
{
    sqlite3_stmt *row = self->read_feed;
    sqlite3_bind_int64(row, 1, feed->number);
    int rc = db_step(self->db, row);
    if (rc == 0)
        db_fail(self->db, "feed %lld is not there", (long long)feed->number);
    if (rc != 1)
        return -1;
    *mark = mark_of(row);
    if (sqlite3_column_int64(row, 4) == sum_row(feed, row, mark))
        return 0;
    sqlite3_reset(row);
    db_fail(self->db, "feed %lld is damaged", (long long)feed->number);
    return -1;
}

int rows_read_feed(rows_t *self, const feed_ref_t *feed, feed_mark_t *mark)
{
    if (open_feed(self, feed, mark) == -1)
        return -1;
    sqlite3_reset(self->read_feed);
    return 0;
}

int rows_keep_head(rows_t *self, const feed_ref_t *feed, const feed_mark_t *mark,
                   const uint8_t *bytes, size_t size)
{
    sqlite3_bind_int64(self->keep_head, 1, (int64_t)mark->seq);
    sqlite3_bind_int64(self->keep_head, 2, (int64_t)mark->floor);
    sqlite3_bind_int64(self->keep_head, 3, (int64_t)mark->epoch_floor);
    sqlite3_bind_blob(self->keep_head, 4, bytes, (int)size, SQLITE_STATIC);
    sqlite3_bind_int64(self->keep_head, 5, sum_feed(&feed->id, mark, bytes, size));
    sqlite3_bind_int64(self->keep_head, 6, feed->number);
    if (db_step(self->db, self->keep_head) == -1)
        return -1;
    if (db_changed(self->db) == 1)
        return 0;
    db_fail(self->db, "feed %lld is not there", (long long)feed->number);
    return -1;
}

int rows_set_floors(rows_t *self, const feed_ref_t *feed, uint64_t floor, uint64_t epoch_floor)
{
    feed_mark_t mark;
    if (open_feed(self, feed, &mark) == -1)
        return -1;
    mark.floor = floor;
    mark.epoch_floor = epoch_floor;
    int64_t sum = sum_row(feed, self->read_feed, &mark);
    sqlite3_reset(self->read_feed);
    sqlite3_bind_int64(self->set_floors, 1, (int64_t)floor);
    sqlite3_bind_int64(self->set_floors, 2, (int64_t)epoch_floor);
    sqlite3_bind_int64(self->set_floors, 3, sum);
    sqlite3_bind_int64(self->set_floors, 4, feed->number);
    return db_step(self->db, self->set_floors);
}

int rows_drop_feed(rows_t *self, const feed_ref_t *feed)
{
    sqlite3_bind_int64(self->drop_feed, 1, feed->number);
    return db_step(self->db, self->drop_feed);
}

size_t rows_read_head(rows_t *self, const feed_ref_t *feed, uint8_t *out, size_t max)
{
    sqlite3_bind_int64(self->read_head, 1, feed->number);
    if (read_row(self, self->read_head) != 1)
        return 0;
    size_t size = (size_t)sqlite3_column_bytes(self->read_head, 0);
    if (size > max)
        size = 0;
    if (size > 0)
        memcpy(out, sqlite3_column_blob(self->read_head, 0), size);
    sqlite3_reset(self->read_head);
    return size;
}

/* ---- batches ---- */

int rows_add_batch(rows_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t *bytes,
                   size_t size)
{
    int64_t key = key_of(feed, seq);
    sqlite3_bind_int64(self->add_batch, 1, key);
    sqlite3_bind_blob(self->add_batch, 2, bytes, (int)size, SQLITE_STATIC);
    sqlite3_bind_int64(self->add_batch, 3, sum_batch(&feed->id, key, bytes, size));
    return db_step(self->db, self->add_batch);
}

/* Copied, not lent: a statement left open would keep the write-ahead log from ever shrinking. */
static size_t copy(rows_t *self, sqlite3_stmt *row)
{
    size_t size = (size_t)sqlite3_column_bytes(row, 0);
    if (size > self->buffer_size) {
        self->buffer = xrealloc(self->buffer, size);
        self->buffer_size = size;
    }
    if (size > 0)
        memcpy(self->buffer, sqlite3_column_blob(row, 0), size);
    return size;
}

size_t rows_read_batch(rows_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t **bytes)
{
    sqlite3_stmt *row = self->read_batch;
    int64_t key = key_of(feed, seq);
    *bytes = NULL;
    sqlite3_bind_int64(row, 1, key);
    if (read_row(self, row) != 1)
        return 0;
    size_t size = copy(self, row);
    bool is_whole = sqlite3_column_int64(row, 1) == sum_batch(&feed->id, key, self->buffer, size);
    sqlite3_reset(row);
    *bytes = self->buffer;
    return is_whole ? size : 0;
}

int rows_drop_batches(rows_t *self, const feed_ref_t *feed, uint64_t first, uint64_t last)
{
    sqlite3_bind_int64(self->drop_batches, 1, key_of(feed, first));
    sqlite3_bind_int64(self->drop_batches, 2, key_of(feed, last));
    return db_step(self->db, self->drop_batches);
}

/* The seq of the one row of a min or max. */
static int64_t read_seq(const rows_t *self, sqlite3_stmt *row, const feed_ref_t *feed,
                        uint64_t first)
{
    sqlite3_bind_int64(row, 1, key_of(feed, first));
    sqlite3_bind_int64(row, 2, key_of(feed, FEED_SEQ_MAX));
    if (db_step(self->db, row) != 1)
        return -1;
    int64_t seq = sqlite3_column_int64(row, 0) & (int64_t)FEED_SEQ_MAX;
    sqlite3_reset(row);
    return seq;
}

int64_t rows_newest_batch(rows_t *self, const feed_ref_t *feed)
{
    return read_seq(self, self->newest_batch, feed, 1);
}

int64_t rows_next_batch(rows_t *self, const feed_ref_t *feed, uint64_t first)
{
    return read_seq(self, self->next_batch, feed, first);
}
