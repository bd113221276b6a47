#include "held.h"

#include <errno.h>
#include <stdlib.h>

#define COLUMNS       5
#define RENUMBER_FROM (1LL << 31)
#define GROUP         32 /* rows in one statement: beginning and ending one costs more than a row */

#define ROW_SQL    "(?, ?, ?, ?, ?)"
#define ROWS_4_SQL ROW_SQL ", " ROW_SQL ", " ROW_SQL ", " ROW_SQL
#define ADD_SQL    "INSERT INTO held (id, nid, address, prefix, until_ms) VALUES "
#define ADD_GROUP_SQL                                                                              \
    ADD_SQL ROWS_4_SQL ", " ROWS_4_SQL ", " ROWS_4_SQL ", " ROWS_4_SQL ", " ROWS_4_SQL             \
                       ", " ROWS_4_SQL ", " ROWS_4_SQL ", " ROWS_4_SQL

const char held_tables[] =
    "CREATE TABLE held (id INTEGER PRIMARY KEY, nid INTEGER NOT NULL, address BLOB NOT NULL, "
    " prefix INTEGER NOT NULL, until_ms INTEGER NOT NULL);" HELD_GONE_TABLES ";"
    "CREATE TABLE holder (id INTEGER PRIMARY KEY CHECK (id = 1), device INTEGER NOT NULL, "
    " inode INTEGER NOT NULL, started_ns INTEGER NOT NULL)";

struct held {
    db_t *db;
    sqlite3_stmt *add;
    sqlite3_stmt *add_group;
    sqlite3_stmt *remove;
    sqlite3_stmt *drop;
    sqlite3_stmt *let_go;
    sqlite3_stmt *was_let_go;
    sqlite3_stmt *gone;
    sqlite3_stmt *drop_gone;
    sqlite3_stmt *all;
    sqlite3_stmt *newest;
    sqlite3_stmt *holder;
    sqlite3_stmt *set_holder;
    int64_t last_id;
};

/* The oldest row is of one ban time ago at most: so what lies before it is most of all ids. 0, or
 * -1 and errno. */
static int renumber(db_t *db)
{
    return db_step(db, db_prepare(db, "UPDATE held SET id = id - (SELECT min(id) - 1 FROM held)"));
}

/* Returns 1, -1 and errno. */
static int read_last_id(held_t *self)
{
    sqlite3_stmt *last = db_prepare(self->db, "SELECT ifnull(max(id), 0) FROM held");
    if (db_step(self->db, last) != 1)
        return -1;
    self->last_id = sqlite3_column_int64(last, 0);
    sqlite3_reset(last);
    if (self->last_id < RENUMBER_FROM)
        return 1;
    return renumber(self->db) == 0 ? read_last_id(self) : -1;
}

held_t *held_new(db_t *db)
{
    held_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->add = db_prepare(db, ADD_SQL ROW_SQL);
    self->add_group = db_prepare(db, ADD_GROUP_SQL);
    self->remove = db_prepare(db, "DELETE FROM held WHERE id = ?");
    self->drop = db_prepare(db, "DELETE FROM held WHERE until_ms <= ?");
    self->let_go = db_prepare(db, "INSERT INTO gone "
                                  "SELECT nid, address, prefix, until_ms, ? FROM held "
                                  "WHERE id = ?");
    self->was_let_go = db_prepare(db, "SELECT 1 FROM gone WHERE address = ? AND prefix = ?");
    self->gone = db_prepare(db, "SELECT nid, until_ms FROM gone");
    self->drop_gone = db_prepare(db, "DELETE FROM gone WHERE gone_ms <= ?");
    self->all = db_prepare(db, "SELECT id, nid, address, prefix, until_ms FROM held ORDER BY id");
    self->newest = db_prepare(db, "SELECT id, nid, until_ms FROM held ORDER BY id DESC LIMIT ?");
    self->holder = db_prepare(db, "SELECT device, inode, started_ns FROM holder");
    self->set_holder = db_prepare(db, "INSERT OR REPLACE INTO holder VALUES (1, ?, ?, ?)");
    if (read_last_id(self) == -1)
        held_destroy(&self);
    return self;
}

void held_destroy(held_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

int64_t held_next_id(held_t *self)
{
    return ++self->last_id;
}

static int add(held_t *self, sqlite3_stmt *statement, const held_row_t *rows, int count)
{
    for (int i = 0; i < count; i++) {
        const addr_t *address = &rows[i].address;
        int at = i * COLUMNS;
        sqlite3_bind_int64(statement, at + 1, rows[i].id);
        sqlite3_bind_int64(statement, at + 2, rows[i].nid);
        sqlite3_bind_blob(statement, at + 3, address->bytes, (int)addr_size(address),
                          SQLITE_STATIC);
        sqlite3_bind_int(statement, at + 4, address->prefix);
        sqlite3_bind_int64(statement, at + 5, rows[i].until_ms);
    }
    return db_step(self->db, statement);
}

int held_put(held_t *self, const held_row_t *rows, size_t count)
{
    size_t done = 0;
    for (; done + GROUP <= count; done += GROUP)
        if (add(self, self->add_group, rows + done, GROUP) == -1)
            return -1;
    for (; done < count; done++)
        if (add(self, self->add, rows + done, 1) == -1)
            return -1;
    return 0;
}

int held_drop_ended(held_t *self, wall_t now)
{
    sqlite3_bind_int64(self->drop, 1, now.ms);
    sqlite3_bind_int64(self->drop_gone, 1, now.ms - HELD_GONE_MS);
    return db_step(self->db, self->drop) == 0 ? db_step(self->db, self->drop_gone) : -1;
}

int held_each(held_t *self, held_fn *tell, void *arg)
{
    int rc;
    while ((rc = db_step(self->db, self->all)) == 1) {
        held_row_t row = {.id = sqlite3_column_int64(self->all, 0),
                          .nid = sqlite3_column_int64(self->all, 1),
                          .until_ms = sqlite3_column_int64(self->all, 4)};
        if (addr_from_bytes(sqlite3_column_blob(self->all, 2),
                            (size_t)sqlite3_column_bytes(self->all, 2),
                            (uint32_t)sqlite3_column_int(self->all, 3), &row.address) == ADDR_OK)
            tell(arg, &row);
    }
    return rc;
}

int held_newest(held_t *self, size_t max, held_ban_fn *tell, void *arg)
{
    int rc;
    sqlite3_bind_int64(self->newest, 1, (int64_t)max);
    while ((rc = db_step(self->db, self->newest)) == 1)
        tell(arg, sqlite3_column_int64(self->newest, 0), sqlite3_column_int64(self->newest, 1),
             sqlite3_column_int64(self->newest, 2));
    return rc;
}

int held_remove(held_t *self, int64_t id)
{
    sqlite3_bind_int64(self->remove, 1, id);
    return db_step(self->db, self->remove);
}

int held_let_go(held_t *self, int64_t id, wall_t now)
{
    sqlite3_bind_int64(self->let_go, 1, now.ms);
    sqlite3_bind_int64(self->let_go, 2, id);
    return db_step(self->db, self->let_go) == 0 ? held_remove(self, id) : -1;
}

bool held_was_let_go(held_t *self, const addr_t *address)
{
    sqlite3_bind_blob(self->was_let_go, 1, address->bytes, (int)addr_size(address), SQLITE_STATIC);
    sqlite3_bind_int(self->was_let_go, 2, address->prefix);
    bool found = db_step(self->db, self->was_let_go) == 1;
    sqlite3_reset(self->was_let_go);
    return found;
}

int held_gone_each(held_t *self, held_ban_fn *tell, void *arg)
{
    int rc;
    while ((rc = db_step(self->db, self->gone)) == 1)
        tell(arg, 0, sqlite3_column_int64(self->gone, 0), sqlite3_column_int64(self->gone, 1));
    return rc;
}

int held_holder(held_t *self, fail2ban_id_t *holder)
{
    int rc;
    *holder = (fail2ban_id_t){0};
    while ((rc = db_step(self->db, self->holder)) == 1)
        *holder = (fail2ban_id_t){sqlite3_column_int64(self->holder, 0),
                                  sqlite3_column_int64(self->holder, 1),
                                  sqlite3_column_int64(self->holder, 2)};
    return rc;
}

int held_set_holder(held_t *self, const fail2ban_id_t *holder)
{
    sqlite3_bind_int64(self->set_holder, 1, holder->device);
    sqlite3_bind_int64(self->set_holder, 2, holder->inode);
    sqlite3_bind_int64(self->set_holder, 3, holder->started_ns);
    return db_step(self->db, self->set_holder);
}
