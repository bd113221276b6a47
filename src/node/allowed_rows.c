#include "allowed_rows.h"

#include <stdlib.h>

const char allowed_rows_table[] =
    "CREATE TABLE allowed_name (name TEXT NOT NULL PRIMARY KEY, until INTEGER NOT NULL, "
    "text TEXT NOT NULL) WITHOUT ROWID";

struct allowed_rows {
    db_t *db;
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
    sqlite3_stmt *all;
};

allowed_rows_t *allowed_rows_new(db_t *db)
{
    allowed_rows_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->put = db_prepare(db, "INSERT OR REPLACE INTO allowed_name VALUES (?, ?, ?)");
    self->remove = db_prepare(db, "DELETE FROM allowed_name WHERE name = ?");
    self->all = db_prepare(db, "SELECT name, until, text FROM allowed_name");
    return self;
}

void allowed_rows_destroy(allowed_rows_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

int allowed_rows_put(allowed_rows_t *self, const char *name, int64_t until_ms, const char *text)
{
    sqlite3_bind_text(self->put, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(self->put, 2, until_ms);
    sqlite3_bind_text(self->put, 3, text, -1, SQLITE_STATIC);
    return db_step(self->db, self->put);
}

int allowed_rows_remove(allowed_rows_t *self, const char *name)
{
    sqlite3_bind_text(self->remove, 1, name, -1, SQLITE_STATIC);
    return db_step(self->db, self->remove);
}

int allowed_rows_each(allowed_rows_t *self, allowed_rows_fn *tell, void *arg)
{
    int rc;
    while ((rc = db_step(self->db, self->all)) == 1) {
        const char *name = (const char *)sqlite3_column_text(self->all, 0);
        const char *text = (const char *)sqlite3_column_text(self->all, 2);
        if (name != NULL && text != NULL)
            tell(arg, name, sqlite3_column_int64(self->all, 1), text);
    }
    return rc;
}
