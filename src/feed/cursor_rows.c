#include "cursor_rows.h"

#include "sum.h"

#include <stdlib.h>

#define CONSUMER "sink"

const char cursor_rows_table[] =
    "CREATE TABLE cursor (consumer TEXT NOT NULL, feed INTEGER NOT NULL, seq INTEGER NOT NULL, "
    " sum INTEGER, PRIMARY KEY (consumer, feed)) WITHOUT ROWID";

struct cursor_rows {
    db_t *db;
    sqlite3_stmt *read;
    sqlite3_stmt *set;
    sqlite3_stmt *drop;
};

cursor_rows_t *cursor_rows_new(db_t *db)
{
    cursor_rows_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->read =
        db_prepare(db, "SELECT seq, sum FROM cursor WHERE consumer = '" CONSUMER "' AND feed = ?");
    self->set = db_prepare(db, "INSERT OR REPLACE INTO cursor (consumer, feed, seq, sum) "
                               "VALUES ('" CONSUMER "', ?, ?, ?)");
    self->drop = db_prepare(db, "DELETE FROM cursor WHERE feed = ?");
    return self;
}

void cursor_rows_destroy(cursor_rows_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

int cursor_rows_read(cursor_rows_t *self, const feed_ref_t *feed, uint64_t *seq)
{
    *seq = 0;
    sqlite3_bind_int64(self->read, 1, feed->number);
    int rc = db_step(self->db, self->read);
    if (rc != 1)
        return rc;
    uint64_t stored = (uint64_t)sqlite3_column_int64(self->read, 0);
    if (sqlite3_column_int64(self->read, 1) == sum_cursor(&feed->id, stored))
        *seq = stored;
    sqlite3_reset(self->read);
    return 0;
}

int cursor_rows_set(cursor_rows_t *self, const feed_ref_t *feed, uint64_t seq)
{
    sqlite3_bind_int64(self->set, 1, feed->number);
    sqlite3_bind_int64(self->set, 2, (int64_t)seq);
    sqlite3_bind_int64(self->set, 3, sum_cursor(&feed->id, seq));
    return db_step(self->db, self->set);
}

int cursor_rows_drop(cursor_rows_t *self, const feed_ref_t *feed)
{
    sqlite3_bind_int64(self->drop, 1, feed->number);
    return db_step(self->db, self->drop);
}
