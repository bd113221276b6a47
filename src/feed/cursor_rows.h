/* cursor_rows - the table `cursor` of peers.db: how far the consumer of this host is in each feed,
 * each with its checksum. Loop thread only. */
#ifndef BANMESH_FEED_CURSOR_ROWS_H
#define BANMESH_FEED_CURSOR_ROWS_H

#include "db.h"
#include "feed_ref.h"

extern const char cursor_rows_table[];

typedef struct cursor_rows cursor_rows_t;

/* db is borrowed; its statements end with it. */
cursor_rows_t *cursor_rows_new(db_t *db);
void cursor_rows_destroy(cursor_rows_t **self_p);

/* Where the cursor of a feed stands. One that is not what was written is as good as none: what was
 * decided is decided again. 0, or -1 and errno of db_step. */
int cursor_rows_read(cursor_rows_t *self, const feed_ref_t *feed, uint64_t *seq);

/* Inside the caller's transaction. 0, or -1 and errno of db_step. */
int cursor_rows_set(cursor_rows_t *self, const feed_ref_t *feed, uint64_t seq);
int cursor_rows_drop(cursor_rows_t *self, const feed_ref_t *feed);

#endif
