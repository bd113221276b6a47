/* around - the rows of a damaged database, read by SQLite itself around what it refuses: up from
 * the lowest key, over each gap in leaps, and then into the gaps from both of their ends. Knows
 * keys, not what the rows mean; writes nothing. */
#ifndef BANMESH_DISK_AROUND_H
#define BANMESH_DISK_AROUND_H

#include "log.h"

#include <sqlite3.h>
#include <stdbool.h>

typedef struct {
    const char *path;
    bool without_log;    /* the file alone: a damaged log may hide what stands in it */
    const char *table;   /* its name in SQL, */
    const char *key;     /* its integer key, */
    const char *columns; /* and what is wanted of a row, behind the key */
} around_t;

/* A row: column 0 is the key. It may come more than once. Returns whether it is what was stored: a
 * key that nobody wrote must not decide where reading goes on. */
typedef bool(around_row_fn)(void *arg, sqlite3_stmt *row);

/* Call back for each row that can be read. Nobody may have the database open. Returns 0, also if
 * rows were refused; -1 with the fault: SQLite refuses the whole, or there is no such table. */
int around_read(const around_t *from, around_row_fn *row, void *arg, fault_t *fault);

#endif
