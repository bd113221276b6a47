/* rows - the tables `feed` and `batch` of one database, row by row, each with its checksum. Knows
 * nothing of what the numbers mean; changes no feed_ref_t. Loop thread only. */
#ifndef BANMESH_FEED_ROWS_H
#define BANMESH_FEED_ROWS_H

#include "db.h"
#include "feed_ref.h"

/* batch.id is feed.number << 40 | seq: one B-tree, ascending within a feed, the feed's rows
 * together. sum: see sum.h; whoever writes a row writes its sum, or the row counts as damaged.
 * `batches` shows batch in columns. */
extern const char rows_tables[];

typedef struct rows rows_t;

/* db is borrowed for as long as the rows live; its statements end with it. */
rows_t *rows_new(db_t *db);
void rows_destroy(rows_t **self_p);
db_t *rows_db(rows_t *self);

/* Everything that writes returns 0, or -1 and errno of db_step, inside the caller's transaction. */

/* ---- feeds ---- */

/* Returns the number of the new row, committed if no transaction is open; -1 and errno. */
int64_t rows_add_feed(rows_t *self, const feed_id_t *id);

/* What its head says. 0, or -1 and errno: EBADMSG if the row is not what was written. */
int rows_read_feed(rows_t *self, const feed_ref_t *feed, feed_mark_t *mark);

int rows_keep_head(rows_t *self, const feed_ref_t *feed, const feed_mark_t *mark,
                   const uint8_t *bytes, size_t size);

/* Of a feed of ours, whose head is made when it is needed. */
int rows_set_floors(rows_t *self, const feed_ref_t *feed, uint64_t floor, uint64_t epoch_floor);

/* A feed whose batches are gone. */
int rows_drop_feed(rows_t *self, const feed_ref_t *feed);

/* Returns its size, 0 if there is none of at most max bytes. */
size_t rows_read_head(rows_t *self, const feed_ref_t *feed, uint8_t *out, size_t max);

/* ---- batches ---- */

int rows_add_batch(rows_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t *bytes,
                   size_t size);

/* Returns its size; 0 if it is not there, or not what was written. *bytes lives until the next
 * call. A read that fails is fatal. */
size_t rows_read_batch(rows_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t **bytes);

/* Delete those from first to last. Cost: one row each. */
int rows_drop_batches(rows_t *self, const feed_ref_t *feed, uint64_t first, uint64_t last);

/* The newest seq, and the oldest one from first on; 0 if there is none, -1 and errno. */
int64_t rows_newest_batch(rows_t *self, const feed_ref_t *feed);
int64_t rows_next_batch(rows_t *self, const feed_ref_t *feed, uint64_t first);

#endif
