/* wreck - what a damaged SQLite file still holds, read page by page without SQLite: every row of a
 * rowid table whose own bytes are whole, whatever became of the header, of the tree above it or of
 * its neighbours. Nothing here is proof of anything: rows that were deleted long ago may be found,
 * too, and the reader has to check what it is given. Format: sqlite.org/fileformat2.html. */
#ifndef BANMESH_FEED_WRECK_H
#define BANMESH_FEED_WRECK_H

#include "log.h"

#include <stddef.h>
#include <stdint.h>

#define WRECK_COLUMNS_MAX 16
#define WRECK_ROW_BYTES   (96 * 1024) /* longer rows are passed over */

/* A number, or bytes (a text, too), or NULL: both empty. */
typedef struct {
    int64_t number;
    const uint8_t *bytes; /* NULL: not bytes */
    size_t size;
} wreck_value_t;

typedef struct {
    uint64_t place; /* for wreck_again */
    size_t count;
    wreck_value_t columns[WRECK_COLUMNS_MAX]; /* the bytes live until the next row */
} wreck_row_t;

typedef struct wreck wreck_t;

/* The file may be missing if its write-ahead log is there. NULL with the fault. */
wreck_t *wreck_open(const char *path, fault_t *fault);
void wreck_close(wreck_t **self_p);

/* Call back for each row that can be found; one may come several times. */
void wreck_each(wreck_t *self, void (*found)(void *arg, const wreck_row_t *row), void *arg);

/* A row that was found, once more. False if it cannot be read now. */
bool wreck_again(wreck_t *self, uint64_t place, wreck_row_t *row);

#endif
