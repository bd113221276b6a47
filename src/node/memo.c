#include "memo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_MIN  1024
#define BEGINS_MAX 100000 /* of bans from the future; more begin anew at each start */

const char memo_tables[] = MEMO_TABLES;

typedef struct {
    memo_ban_t ban; /* nid 0: free */
    bool dirty;
} place_t;

typedef struct {
    memo_origin_t origin;
    bool moved; /* its rate */
    bool dirty;
} row_t;

/* Beside each feed. */
typedef struct {
    uint64_t place;
    bool waits;
    bool dirty;
} mark_t;

struct memo {
    feed_t *feed;
    index_t *index;
    db_t *db;
    size_t note; /* mark_t */
    sqlite3_stmt *put_ban;
    sqlite3_stmt *drop_bans;
    sqlite3_stmt *put_origin;
    sqlite3_stmt *put_mark;
    sqlite3_stmt *drop_mark;
    place_t *bans; /* open addressing, at most half full; nids are as good as random */
    size_t bans_size;
    size_t ban_count;
    size_t begin_count;
    row_t *origins; /* by their numbers in the index */
    size_t origin_count;
    size_t mark_count;
    size_t dirty;
};

/* ---- bans ---- */

static place_t *find_place(const memo_t *self, int64_t nid)
{
    size_t at = (size_t)nid & (self->bans_size - 1);
    while (self->bans[at].ban.nid != 0 && self->bans[at].ban.nid != nid)
        at = (at + 1) & (self->bans_size - 1);
    return &self->bans[at];
}

static void count_ban(memo_t *self, const memo_ban_t *ban, int step)
{
    self->ban_count += (size_t)step;
    self->begin_count += ban->begin_ms != 0 ? (size_t)step : 0;
}

/* Put those that are kept into a table of another size. */
static void rebuild(memo_t *self, size_t size, int64_t ended_ms)
{
    place_t *old = self->bans;
    size_t old_size = self->bans_size;
    self->bans = xcalloc(size, sizeof *self->bans);
    self->bans_size = size;
    self->ban_count = self->begin_count = 0;
    for (size_t i = 0; i < old_size; i++) {
        const memo_ban_t *ban = &old[i].ban;
        if (ban->nid == 0 || ban->until_ms <= ended_ms) {
            self->dirty -= old[i].dirty;
            continue;
        }
        *find_place(self, ban->nid) = old[i];
        count_ban(self, ban, 1);
    }
    free(old);
}

const memo_ban_t *memo_ban(const memo_t *self, int64_t nid)
{
    const place_t *place = find_place(self, nid);
    return place->ban.nid != 0 ? &place->ban : NULL;
}

static place_t *put_ban(memo_t *self, const memo_ban_t *ban)
{
    if ((self->ban_count + 1) * 2 > self->bans_size)
        rebuild(self, self->bans_size * 2, 0);
    place_t *place = find_place(self, ban->nid);
    if (place->ban.nid != 0)
        count_ban(self, &place->ban, -1);
    place->ban = *ban;
    count_ban(self, ban, 1);
    return place;
}

void memo_set_ban(memo_t *self, const memo_ban_t *ban)
{
    if (ban->nid == 0 || (ban->lifted_ms == 0 && self->begin_count >= BEGINS_MAX))
        return;
    place_t *place = put_ban(self, ban);
    self->dirty += !place->dirty;
    place->dirty = true;
}

void memo_forget_begins(memo_t *self)
{
    for (size_t i = 0; i < self->bans_size; i++) {
        place_t *place = &self->bans[i];
        if (place->ban.nid == 0 || place->ban.begin_ms == 0)
            continue;
        place->ban.begin_ms = 0;
        self->begin_count--;
        self->dirty += !place->dirty;
        place->dirty = true;
    }
}

int memo_sweep(memo_t *self, wall_t now)
{
    rebuild(self, self->bans_size, now.ms);
    sqlite3_bind_int64(self->drop_bans, 1, now.ms);
    return db_step(self->db, self->drop_bans);
}

/* ---- origins ---- */

static row_t *row_of(memo_t *self, uint16_t origin)
{
    if (origin >= self->origin_count) {
        size_t count = (size_t)origin + 1;
        self->origins = xrealloc(self->origins, count * sizeof *self->origins);
        memset(self->origins + self->origin_count, 0,
               (count - self->origin_count) * sizeof *self->origins);
        self->origin_count = count;
    }
    return &self->origins[origin];
}

const memo_origin_t *memo_origin(memo_t *self, uint16_t origin)
{
    return &row_of(self, origin)->origin;
}

static void touch(memo_t *self, row_t *row)
{
    self->dirty += !row->dirty;
    row->dirty = true;
}

memo_origin_t *memo_change_origin(memo_t *self, uint16_t origin)
{
    row_t *row = row_of(self, origin);
    touch(self, row);
    return &row->origin;
}

rate_t *memo_rate(memo_t *self, uint16_t origin)
{
    row_t *row = row_of(self, origin);
    row->moved = true;
    return &row->origin.rate;
}

void memo_keep_rates(memo_t *self)
{
    for (size_t i = 0; i < self->origin_count; i++)
        if (self->origins[i].moved)
            touch(self, &self->origins[i]);
}

uint32_t memo_find_origin(memo_t *self, const char *name)
{
    uint32_t found = INDEX_NONE;
    for (size_t i = 0; i < self->origin_count; i++)
        if (strcmp(self->origins[i].origin.name, name) == 0 &&
            (found == INDEX_NONE || self->origins[i].origin.removed_ms == 0))
            found = (uint32_t)i;
    return found;
}

/* ---- feeds ---- */

bool memo_mark(const memo_t *self, const feed_ref_t *feed, uint64_t *place)
{
    const mark_t *mark = feed_note(feed, self->note);
    *place = mark->place;
    return mark->waits;
}

static void set_mark(memo_t *self, const feed_ref_t *feed, const mark_t *is)
{
    mark_t *mark = feed_note(feed, self->note);
    self->mark_count -= mark->waits;
    self->mark_count += is->waits;
    self->dirty -= mark->dirty;
    self->dirty += is->dirty;
    *mark = *is;
}

void memo_set_mark(memo_t *self, const feed_ref_t *feed, uint64_t place)
{
    set_mark(self, feed, &(mark_t){place, true, true});
}

void memo_clear_mark(memo_t *self, const feed_ref_t *feed)
{
    set_mark(self, feed, &(mark_t){0, false, true});
}

size_t memo_mark_count(const memo_t *self)
{
    return self->mark_count;
}

static int drop_mark(memo_t *self, const feed_ref_t *feed)
{
    sqlite3_bind_int64(self->drop_mark, 1, feed->number);
    return db_step(self->db, self->drop_mark);
}

/* Its number may be given to another feed. */
static bool leave(void *arg, const feed_ref_t *feed, void *note)
{
    memo_t *self = arg;
    const mark_t *mark = note;
    if ((mark->waits || mark->dirty) && drop_mark(self, feed) == -1)
        return false;
    set_mark(self, feed, &(mark_t){0});
    return true;
}

/* ---- on disk ---- */

bool memo_is_dirty(const memo_t *self)
{
    return self->dirty > 0;
}

static int write_ban(memo_t *self, const memo_ban_t *ban)
{
    sqlite3_bind_int64(self->put_ban, 1, ban->nid);
    sqlite3_bind_int64(self->put_ban, 2, ban->lifted_ms);
    sqlite3_bind_int64(self->put_ban, 3, ban->begin_ms);
    sqlite3_bind_int64(self->put_ban, 4, ban->until_ms);
    return db_step(self->db, self->put_ban);
}

static int write_origin(memo_t *self, size_t number)
{
    const memo_origin_t *origin = &self->origins[number].origin;
    const pubkey_t *key = &index_origin_at(self->index, (uint16_t)number)->key;
    sqlite3_bind_blob(self->put_origin, 1, key->bytes, PUBKEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_text(self->put_origin, 2, origin->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(self->put_origin, 3, origin->removed_ms);
    sqlite3_bind_int64(self->put_origin, 4, origin->undone_ms);
    sqlite3_bind_int64(self->put_origin, 5, origin->rate.heard_ms);
    sqlite3_bind_int64(self->put_origin, 6, origin->rate.level_milli);
    return db_step(self->db, self->put_origin);
}

static int write_mark(memo_t *self, const feed_ref_t *feed, const mark_t *mark)
{
    if (!mark->waits)
        return drop_mark(self, feed);
    sqlite3_bind_int64(self->put_mark, 1, feed->number);
    sqlite3_bind_int64(self->put_mark, 2, (int64_t)mark->place);
    return db_step(self->db, self->put_mark);
}

int memo_write(memo_t *self)
{
    if (self->dirty == 0)
        return 0;
    for (size_t i = 0; i < self->bans_size; i++)
        if (self->bans[i].dirty && write_ban(self, &self->bans[i].ban) == -1)
            return -1;
    for (size_t i = 0; i < self->origin_count; i++)
        if ((self->origins[i].dirty || self->origins[i].moved) && write_origin(self, i) == -1)
            return -1;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        const mark_t *mark = feed_note(feed, self->note);
        if (mark->dirty && write_mark(self, feed, mark) == -1)
            return -1;
    }
    return 0;
}

void memo_written(memo_t *self)
{
    if (self->dirty == 0)
        return;
    for (size_t i = 0; i < self->bans_size; i++)
        self->bans[i].dirty = false;
    for (size_t i = 0; i < self->origin_count; i++)
        self->origins[i].dirty = self->origins[i].moved = false;
    for (size_t i = 0; i < feed_count(self->feed); i++)
        ((mark_t *)feed_note(feed_at(self->feed, i), self->note))->dirty = false;
    self->dirty = 0;
}

/* ---- start and end ---- */

static int read_bans(memo_t *self)
{
    int rc;
    sqlite3_stmt *all = db_prepare(self->db, "SELECT nid, lifted_ms, begin_ms, until_ms FROM memo");
    while ((rc = db_step(self->db, all)) == 1) {
        const memo_ban_t ban = {sqlite3_column_int64(all, 0), sqlite3_column_int64(all, 1),
                                sqlite3_column_int64(all, 2), sqlite3_column_int64(all, 3)};
        if (ban.nid != 0)
            put_ban(self, &ban);
    }
    sqlite3_finalize(all);
    return rc;
}

static void read_origin(memo_t *self, sqlite3_stmt *row)
{
    pubkey_t key;
    if (sqlite3_column_bytes(row, 0) != PUBKEY_BYTES)
        return;
    memcpy(key.bytes, sqlite3_column_blob(row, 0), PUBKEY_BYTES);
    memo_origin_t *origin = &row_of(self, index_origin(self->index, &key))->origin;
    const unsigned char *name = sqlite3_column_text(row, 1);
    snprintf(origin->name, sizeof origin->name, "%s", name != NULL ? (const char *)name : "");
    origin->removed_ms = sqlite3_column_int64(row, 2);
    origin->undone_ms = sqlite3_column_int64(row, 3);
    origin->rate.heard_ms = sqlite3_column_int64(row, 4);
    origin->rate.level_milli = sqlite3_column_int64(row, 5);
}

static int read_origins(memo_t *self)
{
    int rc;
    sqlite3_stmt *all = db_prepare(self->db, "SELECT key, name, removed_ms, undone_ms, heard_ms, "
                                             "level_milli FROM origin");
    while ((rc = db_step(self->db, all)) == 1)
        read_origin(self, all);
    sqlite3_finalize(all);
    return rc;
}

static int read_marks(memo_t *self)
{
    int rc;
    sqlite3_stmt *all = db_prepare(self->db, "SELECT feed, place FROM admission");
    while ((rc = db_step(self->db, all)) == 1)
        for (size_t i = 0; i < feed_count(self->feed); i++) {
            const feed_ref_t *feed = feed_at(self->feed, i);
            if (!feed->own_db && feed->number == sqlite3_column_int64(all, 0))
                set_mark(self, feed,
                         &(mark_t){(uint64_t)sqlite3_column_int64(all, 1), true, false});
        }
    sqlite3_finalize(all);
    return rc;
}

memo_t *memo_new(feed_t *feed, index_t *index, fault_t *fault)
{
    memo_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->index = index;
    self->db = feed_peers_db(feed);
    self->note = feed_reserve(feed, sizeof(mark_t), leave, self);
    rebuild(self, TABLE_MIN, 0);
    self->put_ban = db_prepare(self->db, "INSERT OR REPLACE INTO memo VALUES (?, ?, ?, ?)");
    self->drop_bans = db_prepare(self->db, "DELETE FROM memo WHERE until_ms <= ?");
    self->put_origin =
        db_prepare(self->db, "INSERT OR REPLACE INTO origin VALUES (?, ?, ?, ?, ?, ?)");
    self->put_mark = db_prepare(self->db, "INSERT OR REPLACE INTO admission VALUES (?, ?)");
    self->drop_mark = db_prepare(self->db, "DELETE FROM admission WHERE feed = ?");
    if (read_bans(self) == -1 || read_origins(self) == -1 || read_marks(self) == -1) {
        fault_set(fault, "state directory: %s", db_error(self->db));
        memo_destroy(&self);
    }
    return self;
}

void memo_destroy(memo_t **self_p)
{
    memo_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    feed_release(self->feed, self->note);
    free(self->bans);
    free(self->origins);
    free(self);
}
