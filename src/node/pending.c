#include "pending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The two tables have the same columns in the same order, of which the first three differ in use:
 * `backlog` is one B-tree by time, so that new bans go to its right edge, whence they are taken. */
#define COLUMNS "nid, due_ms, time_ms, origin, address, prefix, jail, duration_s"
#define VALUES  "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

const char pending_tables[] =
    "CREATE TABLE pending (nid INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, "
    " origin BLOB NOT NULL, address BLOB NOT NULL, prefix INTEGER NOT NULL, "
    " jail TEXT NOT NULL, time_ms INTEGER NOT NULL, duration_s INTEGER NOT NULL);"
    "CREATE INDEX pending_due ON pending (due_ms);"
    "CREATE TABLE backlog (nid INTEGER NOT NULL, due_ms INTEGER NOT NULL, "
    " time_ms INTEGER NOT NULL, origin BLOB NOT NULL, address BLOB NOT NULL, "
    " prefix INTEGER NOT NULL, jail TEXT NOT NULL, duration_s INTEGER NOT NULL, "
    " PRIMARY KEY (time_ms, nid)) WITHOUT ROWID";

/* The statements on one table, and how many rows it has. */
typedef struct {
    sqlite3_stmt *add;
    sqlite3_stmt *change;
    sqlite3_stmt *remove;
    sqlite3_stmt *next;
    sqlite3_stmt *count;
    int64_t rows;
} queue_t;

struct pending {
    db_t *db;
    queue_t holds;
    queue_t backlog;
    queue_t *damaged; /* the one with a row that cannot be read; NULL: none was met */
    int64_t damaged_nid;
    int64_t damaged_time_ms;
};

pending_t *pending_new(db_t *db)
{
    pending_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->holds = (queue_t){
        .add = db_prepare(db, "INSERT OR IGNORE INTO pending (" COLUMNS ") " VALUES),
        .change = db_prepare(db, "INSERT OR REPLACE INTO pending (" COLUMNS ") " VALUES),
        .remove = db_prepare(db, "DELETE FROM pending WHERE nid = ?2"),
        .next = db_prepare(db, "SELECT " COLUMNS " FROM pending WHERE due_ms <= ?2 "
                               "ORDER BY due_ms LIMIT ?1"),
        .count = db_prepare(db, "SELECT count (*) FROM pending"),
    };
    self->backlog = (queue_t){
        .add = db_prepare(db, "INSERT OR IGNORE INTO backlog (" COLUMNS ") " VALUES),
        .change = db_prepare(db, "INSERT INTO backlog (" COLUMNS ") " VALUES
                                 " ON CONFLICT DO UPDATE SET duration_s = "
                                 "CASE WHEN -1 IN (duration_s, excluded.duration_s) THEN -1 "
                                 "ELSE max (duration_s, excluded.duration_s) END"),
        .remove = db_prepare(db, "DELETE FROM backlog WHERE time_ms = ?1 AND nid = ?2"),
        .next = db_prepare(db, "SELECT " COLUMNS " FROM backlog "
                               "ORDER BY time_ms DESC, nid DESC LIMIT ?1"),
        .count = db_prepare(db, "SELECT count (*) FROM backlog"),
    };
    if (pending_recount(self) == -1)
        pending_destroy(&self);
    return self;
}

void pending_destroy(pending_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static queue_t *queue_of(pending_t *self, const pending_row_t *row)
{
    return row->due_ms == PENDING_PACE ? &self->backlog : &self->holds;
}

static int put(pending_t *self, sqlite3_stmt *statement, const pending_row_t *row)
{
    const ban_t *ban = &row->ban;
    sqlite3_bind_int64(statement, 1, row->nid);
    sqlite3_bind_int64(statement, 2, row->due_ms);
    sqlite3_bind_int64(statement, 3, ban->time_ms);
    sqlite3_bind_blob(statement, 4, row->origin.bytes, PUBKEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 5, ban->address.bytes, (int)addr_size(&ban->address),
                      SQLITE_STATIC);
    sqlite3_bind_int(statement, 6, ban->address.prefix);
    sqlite3_bind_text(statement, 7, ban->jail, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 8, ban->duration_s);
    return db_step(self->db, statement);
}

int pending_put(pending_t *self, const pending_row_t *row)
{
    queue_t *queue = queue_of(self, row);
    if (put(self, queue->add, row) == -1)
        return -1;
    if (db_changed(self->db) == 0)
        return put(self, queue->change, row);
    queue->rows++;
    return 0;
}

static int remove_row(pending_t *self, queue_t *queue, int64_t time_ms, int64_t nid)
{
    if (queue == &self->backlog)
        sqlite3_bind_int64(queue->remove, 1, time_ms);
    sqlite3_bind_int64(queue->remove, 2, nid);
    if (db_step(self->db, queue->remove) == -1)
        return -1;
    queue->rows -= db_changed(self->db);
    return 0;
}

int pending_remove(pending_t *self, const pending_row_t *row)
{
    return remove_row(self, queue_of(self, row), row->ban.time_ms, row->nid);
}

bool pending_is_damaged(const pending_t *self)
{
    return self->damaged != NULL;
}

int pending_remove_damaged(pending_t *self)
{
    if (self->damaged != NULL &&
        remove_row(self, self->damaged, self->damaged_time_ms, self->damaged_nid) == -1)
        return -1;
    self->damaged = NULL;
    return 0;
}

static bool read_row(sqlite3_stmt *row, pending_row_t *out)
{
    memset(out, 0, sizeof *out);
    out->nid = sqlite3_column_int64(row, 0);
    out->due_ms = sqlite3_column_int64(row, 1);
    out->ban.time_ms = sqlite3_column_int64(row, 2);
    if (sqlite3_column_bytes(row, 3) != PUBKEY_BYTES ||
        addr_from_bytes(sqlite3_column_blob(row, 4), (size_t)sqlite3_column_bytes(row, 4),
                        (uint32_t)sqlite3_column_int(row, 5), &out->ban.address) != ADDR_OK)
        return false;
    memcpy(out->origin.bytes, sqlite3_column_blob(row, 3), PUBKEY_BYTES);
    snprintf(out->ban.jail, sizeof out->ban.jail, "%s", (const char *)sqlite3_column_text(row, 6));
    out->ban.duration_s = sqlite3_column_int64(row, 7);
    return true;
}

/* As far as the first one that cannot be read. */
static int read_rows(pending_t *self, queue_t *queue, pending_row_t *out, int max)
{
    int count = 0;
    int rc;
    sqlite3_bind_int(queue->next, 1, max);
    while ((rc = db_step(self->db, queue->next)) == 1 && count < max) {
        if (!read_row(queue->next, &out[count])) {
            self->damaged = queue;
            self->damaged_nid = out[count].nid;
            self->damaged_time_ms = out[count].ban.time_ms;
            break;
        }
        count++;
    }
    sqlite3_reset(queue->next);
    return rc == -1 ? -1 : count;
}

int pending_due(pending_t *self, int64_t now_ms, pending_row_t *out, int max)
{
    sqlite3_bind_int64(self->holds.next, 2, now_ms);
    return read_rows(self, &self->holds, out, max);
}

int pending_newest(pending_t *self, pending_row_t *out, int max)
{
    return read_rows(self, &self->backlog, out, max);
}

int64_t pending_count(const pending_t *self)
{
    return self->holds.rows;
}

int64_t pending_backlog(const pending_t *self)
{
    return self->backlog.rows;
}

static int count_rows(pending_t *self, queue_t *queue)
{
    if (db_step(self->db, queue->count) != 1)
        return -1;
    queue->rows = sqlite3_column_int64(queue->count, 0);
    sqlite3_reset(queue->count);
    return 0;
}

int pending_recount(pending_t *self)
{
    return count_rows(self, &self->holds) == -1 || count_rows(self, &self->backlog) == -1 ? -1 : 0;
}
