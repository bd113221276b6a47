#include "pending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pending {
    db_t *db;
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
    sqlite3_stmt *due;
    sqlite3_stmt *count;
};

pending_t *pending_new(db_t *db)
{
    pending_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->put =
        db_prepare(db, "INSERT OR REPLACE INTO pending (nid, due_ms, origin, address, "
                       "prefix, jail, time_ms, duration_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    self->remove = db_prepare(db, "DELETE FROM pending WHERE nid = ?");
    self->due = db_prepare(db, "SELECT nid, due_ms, origin, address, prefix, jail, time_ms, "
                               "duration_s FROM pending WHERE due_ms <= ? ORDER BY due_ms LIMIT ?");
    self->count = db_prepare(db, "SELECT count (*) FROM pending");
    return self;
}

void pending_destroy(pending_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

int pending_put(pending_t *self, const pending_row_t *row)
{
    const ban_t *ban = &row->ban;
    sqlite3_bind_int64(self->put, 1, row->nid);
    sqlite3_bind_int64(self->put, 2, row->due_ms);
    sqlite3_bind_blob(self->put, 3, row->origin, PENDING_ORIGIN_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(self->put, 4, ban->address.bytes, (int)addr_size(&ban->address),
                      SQLITE_STATIC);
    sqlite3_bind_int(self->put, 5, ban->address.prefix);
    sqlite3_bind_text(self->put, 6, ban->jail, -1, SQLITE_STATIC);
    sqlite3_bind_int64(self->put, 7, ban->time_ms);
    sqlite3_bind_int64(self->put, 8, ban->duration_s);
    return db_step(self->db, self->put);
}

int pending_remove(pending_t *self, int64_t nid)
{
    sqlite3_bind_int64(self->remove, 1, nid);
    return db_step(self->db, self->remove);
}

static int read_row(sqlite3_stmt *row, pending_row_t *out)
{
    memset(out, 0, sizeof *out);
    out->nid = sqlite3_column_int64(row, 0);
    out->due_ms = sqlite3_column_int64(row, 1);
    if (sqlite3_column_bytes(row, 2) != PENDING_ORIGIN_BYTES ||
        addr_from_bytes(sqlite3_column_blob(row, 3), (size_t)sqlite3_column_bytes(row, 3),
                        (uint32_t)sqlite3_column_int(row, 4), &out->ban.address) != ADDR_OK) {
        errno = EBADMSG;
        return -1;
    }
    memcpy(out->origin, sqlite3_column_blob(row, 2), PENDING_ORIGIN_BYTES);
    snprintf(out->ban.jail, sizeof out->ban.jail, "%s", (const char *)sqlite3_column_text(row, 5));
    out->ban.time_ms = sqlite3_column_int64(row, 6);
    out->ban.duration_s = sqlite3_column_int64(row, 7);
    return 0;
}

int pending_due(pending_t *self, int64_t now_ms, pending_row_t *out, int max)
{
    int count = 0;
    int rc;
    sqlite3_bind_int64(self->due, 1, now_ms);
    sqlite3_bind_int(self->due, 2, max);
    while ((rc = db_step(self->db, self->due)) == 1 && count < max)
        if (read_row(self->due, &out[count++]) == -1) {
            rc = -1;
            break;
        }
    sqlite3_reset(self->due);
    return rc == -1 ? -1 : count;
}

int64_t pending_count(pending_t *self)
{
    if (db_step(self->db, self->count) != 1)
        return -1;
    int64_t count = sqlite3_column_int64(self->count, 0);
    sqlite3_reset(self->count);
    return count;
}
