#include "check.h"

#include "feed.h"
#include "sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX (INT64_MAX >> FEED_SEQ_BITS)

/* One feed, and how far its batches are whole. */
typedef struct {
    int64_t number;
    feed_id_t id;
    int64_t floor;
    int64_t next; /* the seq that the next row should have */
    bool cut;     /* from next on, it is not whole */
    bool lost;    /* its own row is not whole */
} part_t;

typedef struct {
    db_t *db;
    part_t *parts; /* by number */
    size_t count;
    size_t cuts;
    int64_t strays; /* batches of no feed */
} checker_t;

/* Run a statement; of a row it gives the first text. */
static int step_once(db_t *db, const char *sql, fault_t *text)
{
    sqlite3_stmt *statement = db_prepare(db, sql);
    int rc = db_step(db, statement);
    if (rc == 1)
        fault_set(text, "%.200s", (const char *)sqlite3_column_text(statement, 0));
    int saved = errno;
    sqlite3_finalize(statement);
    errno = saved;
    return rc;
}

/* Say what is wrong; only here is an error of SQLite told from one of the contents. */
static int damaged(checker_t *self, fault_t *what, const char *text)
{
    fault_set(what, "%s: %s", db_path(self->db), text);
    errno = EBADMSG;
    return -1;
}

static int look_at_pages(checker_t *self, fault_t *what)
{
    fault_t found;
    int rc = step_once(self->db, "PRAGMA integrity_check (1)", &found);
    if (rc == -1)
        return fault_set(what, "%s", db_error(self->db));
    return strcmp(found.text, "ok") == 0 ? 0 : damaged(self, what, found.text);
}

/* A row of look_at_feeds. */
static part_t read_feed(sqlite3_stmt *row)
{
    part_t part = {.number = sqlite3_column_int64(row, 0), .floor = sqlite3_column_int64(row, 4)};
    bool has_key = sqlite3_column_bytes(row, 1) == PUBKEY_BYTES;
    if (has_key)
        memcpy(part.id.origin.bytes, sqlite3_column_blob(row, 1), PUBKEY_BYTES);
    part.id.epoch = (uint64_t)sqlite3_column_int64(row, 2);
    part.id.channel = (uint32_t)sqlite3_column_int64(row, 3);
    part.next = part.floor;
    const feed_mark_t mark = {.floor = (uint64_t)part.floor,
                              .seq = (uint64_t)sqlite3_column_int64(row, 5),
                              .epoch_floor = (uint64_t)sqlite3_column_int64(row, 6)};
    int64_t sum = sum_feed(&part.id, &mark, sqlite3_column_blob(row, 7),
                           (size_t)sqlite3_column_bytes(row, 7));
    part.lost = !has_key || part.floor < 1 || part.number < 1 || part.number > NUMBER_MAX ||
                sqlite3_column_int64(row, 8) != sum;
    return part;
}

static int look_at_feeds(checker_t *self, fault_t *what)
{
    sqlite3_stmt *all = db_prepare(self->db, "SELECT number, origin, epoch, channel, floor, "
                                             "head_seq, epoch_floor, head, sum FROM feed "
                                             "ORDER BY number");
    int rc;
    while ((rc = db_step(self->db, all)) == 1) {
        self->parts = xrealloc(self->parts, (self->count + 1) * sizeof *self->parts);
        self->parts[self->count] = read_feed(all);
        self->cuts += self->parts[self->count++].lost;
    }
    int saved = errno;
    sqlite3_finalize(all);
    errno = saved;
    return rc == -1 ? fault_set(what, "%s", db_error(self->db)) : 0;
}

static int by_number(const void *key, const void *part)
{
    int64_t number = *(const int64_t *)key;
    int64_t other = ((const part_t *)part)->number;
    return (number > other) - (number < other);
}

/* Below the floor nothing counts, and there may be gaps. */
static void look_at_batch(checker_t *self, sqlite3_stmt *row)
{
    int64_t id = sqlite3_column_int64(row, 0);
    int64_t number = id >> FEED_SEQ_BITS;
    int64_t seq = id & (int64_t)FEED_SEQ_MAX;
    part_t *part = self->count == 0
                       ? NULL
                       : bsearch(&number, self->parts, self->count, sizeof *self->parts, by_number);
    if (part == NULL) {
        self->strays++;
        return;
    }
    if (seq < part->floor || part->cut || part->lost)
        return;
    const uint8_t *bytes = sqlite3_column_blob(row, 1);
    size_t size = (size_t)sqlite3_column_bytes(row, 1);
    if (seq == part->next && size > 0 &&
        sqlite3_column_int64(row, 2) == sum_batch(&part->id, id, bytes, size)) {
        part->next++;
        return;
    }
    part->cut = true;
    self->cuts++;
}

static int look_at_batches(checker_t *self, fault_t *what)
{
    sqlite3_stmt *all = db_prepare(self->db, "SELECT id, envelope, sum FROM batch ORDER BY id");
    int rc;
    while ((rc = db_step(self->db, all)) == 1)
        look_at_batch(self, all);
    int saved = errno;
    sqlite3_finalize(all);
    errno = saved;
    return rc == -1 ? fault_set(what, "%s", db_error(self->db)) : 0;
}

static int run(checker_t *self, const char *sql, int64_t one, int64_t other)
{
    sqlite3_stmt *statement = db_prepare(self->db, sql);
    sqlite3_bind_int64(statement, 1, one);
    sqlite3_bind_int64(statement, 2, other);
    int rc = db_step(self->db, statement);
    int saved = errno;
    sqlite3_finalize(statement);
    errno = saved;
    return rc;
}

static int cut(checker_t *self, const part_t *part)
{
    int64_t first = part->number << FEED_SEQ_BITS;
    if (run(self, "DELETE FROM batch WHERE id BETWEEN ? AND ?", first | part->next,
            first | (int64_t)FEED_SEQ_MAX) == -1)
        return -1;
    sqlite3_stmt *move =
        db_prepare(self->db, "UPDATE cursor SET seq = ?2, sum = ?3 WHERE feed = ?1 AND seq > ?2");
    sqlite3_bind_int64(move, 1, part->number);
    sqlite3_bind_int64(move, 2, part->next - 1);
    sqlite3_bind_int64(move, 3, sum_cursor(&part->id, (uint64_t)part->next - 1));
    int rc = db_step(self->db, move);
    int saved = errno;
    sqlite3_finalize(move);
    errno = saved;
    return rc;
}

/* Its batches become strays. A parameter that the SQL has not is not bound. */
static int forget(checker_t *self, const part_t *part)
{
    if (run(self, "DELETE FROM feed WHERE number = ?1", part->number, 0) == -1)
        return -1;
    self->strays++;
    return run(self, "DELETE FROM cursor WHERE feed = ?1", part->number, 0);
}

static int mend_all(checker_t *self)
{
    if (db_begin_freeing(self->db) == -1)
        return -1;
    for (size_t i = 0; i < self->count; i++)
        if ((self->parts[i].lost && forget(self, &self->parts[i]) == -1) ||
            (self->parts[i].cut && cut(self, &self->parts[i]) == -1))
            goto failed;
    if (self->strays > 0 &&
        step_once(self->db, "DELETE FROM batch WHERE id >> 40 NOT IN (SELECT number FROM feed)",
                  NULL) == -1)
        goto failed;
    if (db_commit(self->db) == 0)
        return 0;
failed:;
    int saved = errno;
    db_rollback(self->db);
    errno = saved;
    return -1;
}

static const part_t *first_cut(const checker_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->parts[i].cut || self->parts[i].lost)
            return &self->parts[i];
    return NULL;
}

/* What the batches are worth, after all of them were seen. */
static int judge(checker_t *self, bool mend, fault_t *what)
{
    const part_t *part = first_cut(self);
    if (part == NULL && self->strays == 0)
        return 0;
    if (part != NULL && part->lost)
        fault_set(what, "%s: feed %lld is damaged%s", db_path(self->db), (long long)part->number,
                  self->cuts > 1 ? ", and some more" : "");
    else if (part != NULL)
        fault_set(what, "%s: batch %lld of epoch %lld is damaged or missing%s", db_path(self->db),
                  (long long)part->next, (long long)part->id.epoch,
                  self->cuts > 1 ? ", and some of other epochs" : "");
    else
        fault_set(what, "%s: %lld batches are of no feed", db_path(self->db),
                  (long long)self->strays);
    if (!mend) {
        errno = EBADMSG;
        return -1;
    }
    return mend_all(self) == 0 ? 1 : fault_set(what, "%s", db_error(self->db));
}

int check_whole(db_t *db, bool mend, fault_t *what)
{
    checker_t self = {.db = db};
    int rc = look_at_pages(&self, what);
    if (rc == 0)
        rc = look_at_feeds(&self, what);
    if (rc == 0)
        rc = look_at_batches(&self, what);
    if (rc == 0)
        rc = judge(&self, mend, what);
    int saved = errno;
    free(self.parts);
    errno = saved;
    return rc;
}
