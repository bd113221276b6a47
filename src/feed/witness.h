/* witness - how far our own feed was, written down beside own.db behind each commit. SQLite passes
 * over all that stands behind a broken frame of its write-ahead log, and says nothing: a flipped
 * bit there takes commits back that somebody was told of. A record that is ahead of the database
 * shows it, since it is written only when the commit is on disk. It is not synced itself: one that
 * is older than the database, torn or missing shows nothing. */
#ifndef BANMESH_FEED_WITNESS_H
#define BANMESH_FEED_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct witness witness_t;

/* For a database: the record is PATH-newest. Never fails: without a record all goes on. */
witness_t *witness_new(const char *path);
void witness_destroy(witness_t **self_p);

/* Batch seq of an epoch of ours is on disk. Costs a write of some bytes. */
void witness_note(witness_t *self, uint64_t epoch, uint64_t seq);

/* How many batches at the end of the newest epoch were there and are not any more, at least; 0:
 * none that is known of. Nobody may write to the database meanwhile; nothing in it is changed. */
uint64_t witness_missing(const char *path);

/* There is a record. Forget it: the database is not the one that it tells of any more. */
bool witness_is_there(const char *path);
void witness_forget(const char *path);

#endif
