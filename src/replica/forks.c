#include "forks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char forks_table[] =
    "CREATE TABLE fork (origin BLOB NOT NULL, epoch INTEGER NOT NULL, channel INTEGER NOT NULL, "
    " seq INTEGER NOT NULL, here BLOB NOT NULL, there BLOB NOT NULL, found_ms INTEGER NOT NULL, "
    " reset INTEGER NOT NULL, PRIMARY KEY (origin, epoch, channel)) WITHOUT ROWID";

struct forks {
    db_t *db;
    sqlite3_stmt *add;
    sqlite3_stmt *reset;
    fork_t *items;
    size_t count;
};

static fork_t *remember(forks_t *self, const fork_t *fork)
{
    self->items = xrealloc(self->items, (self->count + 1) * sizeof *self->items);
    self->items[self->count] = *fork;
    return &self->items[self->count++];
}

static bool copy_blob(sqlite3_stmt *row, int column, void *out, size_t size)
{
    if ((size_t)sqlite3_column_bytes(row, column) != size)
        return false;
    memcpy(out, sqlite3_column_blob(row, column), size);
    return true;
}

static bool read_row(sqlite3_stmt *row, fork_t *out)
{
    memset(out, 0, sizeof *out);
    out->feed.epoch = (uint64_t)sqlite3_column_int64(row, 1);
    out->feed.channel = (uint32_t)sqlite3_column_int64(row, 2);
    out->seq = (uint64_t)sqlite3_column_int64(row, 3);
    out->found_ms = sqlite3_column_int64(row, 6);
    out->reset = sqlite3_column_int(row, 7) != 0;
    return copy_blob(row, 0, out->feed.origin.bytes, PUBKEY_BYTES) &&
           copy_blob(row, 4, out->hash_here, WIRE_HASH_BYTES) &&
           copy_blob(row, 5, out->hash_there, WIRE_HASH_BYTES);
}

static int load(forks_t *self)
{
    sqlite3_stmt *all = db_prepare(self->db, "SELECT origin, epoch, channel, seq, here, there, "
                                             "found_ms, reset FROM fork ORDER BY found_ms");
    fork_t fork;
    int rc;
    while ((rc = db_step(self->db, all)) == 1)
        if (read_row(all, &fork))
            remember(self, &fork);
    sqlite3_finalize(all);
    return rc;
}

forks_t *forks_new(db_t *db, fault_t *fault)
{
    forks_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->add = db_prepare(db, "INSERT OR IGNORE INTO fork (origin, epoch, channel, seq, here, "
                               "there, found_ms, reset) VALUES (?, ?, ?, ?, ?, ?, ?, 0)");
    self->reset = db_prepare(db, "UPDATE fork SET reset = 1 WHERE origin = ?");
    if (load(self) == -1) {
        fault_set(fault, "state directory: %s", db_error(db));
        forks_destroy(&self);
    }
    return self;
}

void forks_destroy(forks_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->items);
    free(*self_p);
    *self_p = NULL;
}

bool forks_holds(const forks_t *self, const pubkey_t *origin)
{
    for (size_t i = 0; i < self->count; i++)
        if (!self->items[i].reset && pubkey_equal(&self->items[i].feed.origin, origin))
            return true;
    return false;
}

bool forks_compares(const forks_t *self, const feed_id_t *feed)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].reset && feed_id_compare(&self->items[i].feed, feed) == 0)
            return false;
    return true;
}

bool forks_add(forks_t *self, const fork_t *fork)
{
    for (size_t i = 0; i < self->count; i++)
        if (feed_id_compare(&self->items[i].feed, &fork->feed) == 0)
            return false;
    remember(self, fork);
    sqlite3_bind_blob(self->add, 1, fork->feed.origin.bytes, PUBKEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(self->add, 2, (int64_t)fork->feed.epoch);
    sqlite3_bind_int64(self->add, 3, fork->feed.channel);
    sqlite3_bind_int64(self->add, 4, (int64_t)fork->seq);
    sqlite3_bind_blob(self->add, 5, fork->hash_here, WIRE_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(self->add, 6, fork->hash_there, WIRE_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(self->add, 7, fork->found_ms);
    /* If it is lost with a transaction that is rolled back, the next head shows it again. */
    db_step(self->db, self->add);
    return true;
}

int forks_reset(forks_t *self, const pubkey_t *origin)
{
    int count = 0;
    sqlite3_bind_blob(self->reset, 1, origin->bytes, PUBKEY_BYTES, SQLITE_STATIC);
    if (db_step(self->db, self->reset) == -1)
        return -1;
    for (size_t i = 0; i < self->count; i++)
        if (!self->items[i].reset && pubkey_equal(&self->items[i].feed.origin, origin)) {
            self->items[i].reset = true;
            count++;
        }
    return count;
}

const fork_t *forks_at(const forks_t *self, size_t index)
{
    return index < self->count ? &self->items[index] : NULL;
}
