#include "rekey.h"

#include "witness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    feed_ref_t *items;
    size_t count;
} list_t;

static void add(list_t *list, sqlite3_stmt *row)
{
    feed_ref_t feed = {.number = sqlite3_column_int64(row, 0)};
    memcpy(feed.id.origin.bytes, sqlite3_column_blob(row, 1), PUBKEY_BYTES);
    feed.id.epoch = (uint64_t)sqlite3_column_int64(row, 2);
    feed.id.channel = (uint32_t)sqlite3_column_int64(row, 3);
    list->items = xrealloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = feed;
}

/* A row of another shape is damage, which whoever loads the feeds finds. */
static int find_foreign(db_t *db, const pubkey_t *self, list_t *list)
{
    sqlite3_stmt *all = db_prepare(db, "SELECT number, origin, epoch, channel FROM feed "
                                       "WHERE origin != ? AND length (origin) = 32");
    int rc;
    sqlite3_bind_blob(all, 1, self->bytes, PUBKEY_BYTES, SQLITE_STATIC);
    while ((rc = db_step(db, all)) == 1)
        add(list, all);
    int saved = errno;
    sqlite3_finalize(all);
    errno = saved;
    return rc;
}

/* The number of a feed in a database; 0 if it is not there, -1 and errno. */
static int64_t find_feed(db_t *db, const feed_id_t *id)
{
    sqlite3_stmt *find =
        db_prepare(db, "SELECT number FROM feed WHERE origin = ? AND epoch = ? AND channel = ?");
    sqlite3_bind_blob(find, 1, id->origin.bytes, PUBKEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(find, 2, (int64_t)id->epoch);
    sqlite3_bind_int64(find, 3, id->channel);
    int rc = db_step(db, find);
    int64_t number = rc == 1 ? sqlite3_column_int64(find, 0) : rc;
    int saved = errno;
    sqlite3_finalize(find);
    errno = saved;
    return number;
}

/* Those from seq on. One that is damaged makes own.db a damaged database, which is set aside. */
static int copy_batches(rows_t *own, rows_t *peers, const feed_ref_t *from, const feed_ref_t *to,
                        int64_t seq)
{
    while ((seq = rows_next_batch(own, from, (uint64_t)seq)) > 0) {
        const uint8_t *bytes;
        size_t size = rows_read_batch(own, from, (uint64_t)seq, &bytes);
        if (size == 0) {
            db_fail(rows_db(own), "batch %lld of another key is damaged", (long long)seq);
            errno = EBADMSG;
            return -1;
        }
        if (rows_add_batch(peers, to, (uint64_t)seq, bytes, size) == -1)
            return -1;
        seq++;
    }
    return seq == -1 ? -1 : 0;
}

static int add_feed(rows_t *own, rows_t *peers, const feed_ref_t *from, feed_ref_t *to)
{
    feed_mark_t mark;
    if (rows_read_feed(own, from, &mark) == -1)
        return -1;
    to->number = rows_add_feed(peers, &to->id);
    return to->number != -1 ? rows_set_floors(peers, to, mark.floor, mark.epoch_floor) : -1;
}

/* One that is in both, since a peer brought it back, goes on from there; behind a gap what is
 * missing comes from peers. */
static int copy_feed(rows_t *own, rows_t *peers, const feed_ref_t *from)
{
    feed_ref_t to = {.id = from->id, .number = find_feed(rows_db(peers), &from->id)};
    if (to.number == -1)
        return -1;
    if (to.number == 0)
        return add_feed(own, peers, from, &to) == 0 ? copy_batches(own, peers, from, &to, 1) : -1;
    int64_t newest = rows_newest_batch(peers, &to);
    int64_t next = newest != -1 ? rows_next_batch(own, from, (uint64_t)newest + 1) : -1;
    if (next == -1)
        return -1;
    return next == newest + 1 ? copy_batches(own, peers, from, &to, next) : 0;
}

static int copy_all(rows_t *own, rows_t *peers, const list_t *list)
{
    db_t *db = rows_db(peers);
    if (db_begin(db) == -1)
        return -1;
    for (size_t i = 0; i < list->count; i++) {
        if (copy_feed(own, peers, &list->items[i]) == -1) {
            int saved = errno;
            db_rollback(db);
            errno = saved;
            return -1;
        }
    }
    /* On disk before the others go: peers.db alone would not wait for that. */
    return db_commit(db) == 0 ? db_checkpoint(db) : -1;
}

static int drop_all(rows_t *own, const list_t *list, const char *also)
{
    db_t *db = rows_db(own);
    int rc = db_begin_freeing(db);
    for (size_t i = 0; rc == 0 && i < list->count; i++) {
        const feed_ref_t *feed = &list->items[i];
        int64_t newest = rows_newest_batch(own, feed);
        rc = newest == -1 ? -1 : rows_drop_batches(own, feed, 1, (uint64_t)newest);
        if (rc == 0)
            rc = rows_drop_feed(own, feed);
    }
    if (rc == 0 && also != NULL) {
        sqlite3_stmt *more = db_prepare(db, also);
        rc = db_step(db, more);
        sqlite3_finalize(more);
    }
    if (rc == 0)
        return db_commit(db);
    int saved = errno;
    db_rollback(db);
    errno = saved;
    return -1;
}

int rekey_move(rows_t *own, rows_t *peers, const pubkey_t *self, const char *also)
{
    list_t list = {0};
    int rc = find_foreign(rows_db(own), self, &list);
    if (rc == 0 && list.count > 0)
        rc = copy_all(own, peers, &list);
    if (rc == 0 && list.count > 0) {
        witness_forget(db_path(rows_db(own))); /* what it remembers is about to go */
        rc = drop_all(own, &list, also);
    }
    free(list.items);
    return rc == 0 ? (int)list.count : -1;
}
