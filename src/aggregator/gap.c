#include "gap.h"

#include <stdlib.h>

#define SEQ_BITS 40 /* of a row's key: feed number << 40 | seq */

struct gap {
    db_t *db;
    sqlite3_stmt *first;
};

gap_t *gap_new(feed_t *feeds)
{
    gap_t *self = xcalloc(1, sizeof *self);
    self->db = feed_peers_db(feeds);
    self->first = db_prepare(self->db, "SELECT min (id) FROM batch WHERE id BETWEEN ? AND ?");
    return self;
}

void gap_destroy(gap_t **self_p)
{
    free(*self_p); /* the statement ends with its database */
    *self_p = NULL;
}

int gap_end(gap_t *self, const feed_ref_t *feed, uint64_t seq, uint64_t *end)
{
    int64_t row = feed->number << SEQ_BITS;
    *end = feed->floor;
    sqlite3_bind_int64(self->first, 1, row | (int64_t)seq);
    sqlite3_bind_int64(self->first, 2, row | (int64_t)(feed->floor - 1));
    if (db_step(self->db, self->first) != 1)
        return -1;
    if (sqlite3_column_type(self->first, 0) == SQLITE_INTEGER)
        *end = (uint64_t)sqlite3_column_int64(self->first, 0) & FEED_SEQ_MAX;
    sqlite3_reset(self->first);
    return 0;
}
