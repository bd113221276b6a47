#include "held.h"

#include <errno.h>
#include <stdlib.h>

struct held {
    db_t *db;
    sqlite3_stmt *add;
    sqlite3_stmt *drop;
    sqlite3_stmt *all;
    sqlite3_stmt *newest;
};

held_t *held_new(db_t *db)
{
    held_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->add =
        db_prepare(db, "INSERT INTO held (nid, address, prefix, until_ms) VALUES (?, ?, ?, ?)");
    self->drop = db_prepare(db, "DELETE FROM held WHERE until_ms <= ?");
    self->all = db_prepare(db, "SELECT address, prefix, until_ms FROM held ORDER BY id");
    self->newest = db_prepare(db, "SELECT nid, until_ms FROM held ORDER BY id DESC LIMIT ?");
    return self;
}

void held_destroy(held_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

int held_put(held_t *self, const addr_t *address, int64_t until_ms, int64_t nid)
{
    sqlite3_bind_int64(self->add, 1, nid);
    sqlite3_bind_blob(self->add, 2, address->bytes, (int)addr_size(address), SQLITE_STATIC);
    sqlite3_bind_int(self->add, 3, address->prefix);
    sqlite3_bind_int64(self->add, 4, until_ms);
    return db_step(self->db, self->add);
}

int held_drop_ended(held_t *self, wall_t now)
{
    sqlite3_bind_int64(self->drop, 1, now.ms);
    return db_step(self->db, self->drop);
}

int held_each(held_t *self, held_fn *tell, void *arg)
{
    int rc;
    while ((rc = db_step(self->db, self->all)) == 1) {
        addr_t address;
        if (addr_from_bytes(sqlite3_column_blob(self->all, 0),
                            (size_t)sqlite3_column_bytes(self->all, 0),
                            (uint32_t)sqlite3_column_int(self->all, 1), &address) == ADDR_OK)
            tell(arg, &address, sqlite3_column_int64(self->all, 2));
    }
    return rc;
}

int held_newest(held_t *self, size_t max, held_ban_fn *tell, void *arg)
{
    int rc;
    sqlite3_bind_int64(self->newest, 1, (int64_t)max);
    while ((rc = db_step(self->db, self->newest)) == 1)
        tell(arg, sqlite3_column_int64(self->newest, 0), sqlite3_column_int64(self->newest, 1));
    return rc;
}
