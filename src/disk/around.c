#include "around.h"

#include <stdint.h>
#include <stdlib.h>

#define REFUSALS_MAX 20000 /* queries, some microseconds each */
#define NEAR         4096  /* rows stand close together: so far into a gap from each end */

/* Keys of which nothing is known yet, both ends included. Empty if high < low. */
typedef struct {
    int64_t low;
    int64_t high;
} range_t;

typedef struct {
    sqlite3 *handle;
    sqlite3_stmt *up;
    sqlite3_stmt *down;
    around_row_fn *row;
    void *arg;
    int refusals;
    range_t *gaps; /* where SQLite refuses from either end, in the order found */
    size_t count;
    size_t size;
} reader_t;

/* Read a range from one end and cut off what was read. Returns whether that is all of it. */
static bool read_range(reader_t *self, bool up, range_t *range)
{
    sqlite3_stmt *rows = up ? self->up : self->down;
    int rc;
    sqlite3_bind_int64(rows, 1, range->low);
    sqlite3_bind_int64(rows, 2, range->high);
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        int64_t key = sqlite3_column_int64(rows, 0);
        if (!self->row(self->arg, rows) || key < range->low || key > range->high)
            continue;
        if (up)
            range->low = key + 1;
        else
            range->high = key - 1;
    }
    sqlite3_reset(rows);
    self->refusals += rc != SQLITE_DONE;
    return rc == SQLITE_DONE;
}

static void add_gap(reader_t *self, range_t gap)
{
    if (gap.high <= gap.low)
        return;
    if (self->count == self->size) {
        self->size = self->size * 2 + 64;
        self->gaps = xrealloc(self->gaps, self->size * sizeof *self->gaps);
    }
    self->gaps[self->count++] = gap;
}

/* From a key that is refused, twice as far each time, until something is read; then back to where
 * it is refused again: a damaged page hides few keys, one of the tree above many. What is left lies
 * behind that. Returns false if there is no more. */
static bool leap(reader_t *self, range_t *left)
{
    uint64_t width = (uint64_t)(left->high - left->low);
    for (uint64_t step = 1; step <= width && self->refusals < REFUSALS_MAX; step *= 2) {
        range_t between = {left->low, left->low + (int64_t)step - 1};
        range_t behind = {between.high + 1, left->high};
        bool all = read_range(self, true, &behind);
        if (!all && behind.low == between.high + 1)
            continue;
        if (!read_range(self, false, &between))
            add_gap(self, between);
        *left = behind;
        return !all;
    }
    add_gap(self, *left);
    return false;
}

/* In a wide gap most keys were never given away. */
static void add_ends(reader_t *self, range_t gap)
{
    if (gap.high - gap.low <= 2 * NEAR) {
        add_gap(self, gap);
        return;
    }
    add_gap(self, (range_t){gap.low, gap.low + NEAR});
    add_gap(self, (range_t){gap.high - NEAR, gap.high});
}

/* All gaps are halved once before any is halved twice. */
static void bisect_gaps(reader_t *self)
{
    size_t wide = self->count;
    for (size_t i = 0; i < wide; i++)
        add_ends(self, self->gaps[i]);
    for (size_t i = wide; i < self->count && self->refusals < REFUSALS_MAX; i++) {
        range_t lower = self->gaps[i];
        range_t upper = lower;
        lower.high = lower.low + (lower.high - lower.low) / 2;
        upper.low = lower.high + 1;
        if (!read_range(self, false, &lower))
            add_gap(self, lower);
        if (!read_range(self, true, &upper))
            add_gap(self, upper);
    }
}

/* Without its log a database is opened as one that nobody changes: that is said in a URI. */
static int open_database(reader_t *self, const around_t *from)
{
    sqlite3_str *name = sqlite3_str_new(NULL);
    sqlite3_str_appendall(name, "file:");
    for (const char *at = from->path; *at != '\0'; at++)
        sqlite3_str_appendf(name, *at == '?' || *at == '#' || *at == '%' ? "%%%02X" : "%c", *at);
    sqlite3_str_appendall(name, from->without_log ? "?immutable=1" : "?mode=ro");
    char *uri = sqlite3_str_finish(name);
    int rc = sqlite3_open_v2(uri, &self->handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
    sqlite3_free(uri);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_db_config(self->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    /* Or a file that is shorter than its header says would be refused as a whole. */
    return sqlite3_exec(self->handle, "PRAGMA writable_schema = ON", NULL, NULL, NULL);
}

static int prepare(reader_t *self, const around_t *from, const char *order, sqlite3_stmt **out)
{
    char *sql = sqlite3_mprintf("SELECT %s, %s FROM %s WHERE %s BETWEEN ?1 AND ?2 ORDER BY %s %s",
                                from->key, from->columns, from->table, from->key, from->key, order);
    int rc = sqlite3_prepare_v2(self->handle, sql, -1, out, NULL);
    sqlite3_free(sql);
    return rc;
}

int around_read(const around_t *from, around_row_fn *row, void *arg, fault_t *fault)
{
    reader_t self = {.row = row, .arg = arg};
    range_t left = {0, INT64_MAX - 1};
    int rc = open_database(&self, from);
    if (rc == SQLITE_OK)
        rc = prepare(&self, from, "", &self.up);
    if (rc == SQLITE_OK)
        rc = prepare(&self, from, "DESC", &self.down);
    if (rc != SQLITE_OK)
        fault_set(fault, "%s: %s", from->path, sqlite3_errmsg(self.handle));
    else if (!read_range(&self, true, &left)) {
        while (leap(&self, &left))
            continue;
        bisect_gaps(&self);
    }
    sqlite3_finalize(self.up);
    sqlite3_finalize(self.down);
    sqlite3_close(self.handle);
    free(self.gaps);
    return rc == SQLITE_OK ? 0 : -1;
}
