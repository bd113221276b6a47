/* wal - SQLite's write-ahead log, read without SQLite.
 * SQLite passes over everything behind the first frame whose checksum is wrong, and says nothing:
 * a flipped bit there takes commits back that somebody was told of. This room sees it, and can read
 * the pages of the frames that are whole. Format: sqlite.org/fileformat2.html#walformat. */
#ifndef BANMESH_FEED_WAL_H
#define BANMESH_FEED_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAL_PAGE_BYTES 4096

typedef struct wal wal_t;

/* Read the log of a database, "PATH-wal"; it may be missing: then it is empty. Nobody may have the
 * database open. */
wal_t *wal_open(const char *path);
void wal_close(wal_t **self_p);

/* A commit stands behind a frame that is broken. What a power loss cuts off at the end is no
 * damage: nobody was told of that commit. One that took the first pages of the last commit and left
 * its last ones cannot be told from damage, and counts as such: all is read back, nothing is lost.
 */
bool wal_is_damaged(const wal_t *self);

/* The newest committed image of a page, from 1. False if there is none. */
bool wal_read(const wal_t *self, uint32_t page, uint8_t out[static WAL_PAGE_BYTES]);

/* The highest page that it has an image of; 0: it is empty. */
uint32_t wal_last_page(const wal_t *self);

/* Bytes of the log; 0: missing or empty. */
int64_t wal_size(const char *path);

#endif
