#include "feed.h"

#include "cursor_rows.h"
#include "position.h"
#include "rekey.h"
#include "rows.h"
#include "witness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct feed {
    pubkey_t self;
    bool keeps_history;
    state_t *state;
    int rekeyed; /* feeds of another key that own.db held */
    db_t *own_db;
    db_t *peers_db;
    rows_t *own;
    rows_t *peers;
    witness_t *witness;
    cursor_rows_t *cursors;
    catalog_t *catalog;
    feed_ref_t *current; /* our own, of this run */
    uint64_t changes[FEED_BUCKETS];
    uint64_t promises;
};

static rows_t *rows_of(feed_t *self, const feed_ref_t *feed)
{
    return feed->own_db ? self->own : self->peers;
}

size_t feed_bucket(const feed_ref_t *feed)
{
    return feed->id.origin.bytes[0];
}

static void note_change(feed_t *self, const feed_ref_t *feed)
{
    self->changes[feed_bucket(feed)]++;
}

static feed_ref_t *remember(feed_t *self, const feed_id_t *id, int64_t number, bool own_db)
{
    feed_ref_t *feed = catalog_add(self->catalog, id);
    feed->number = number;
    feed->own_db = own_db;
    feed->floor = feed->oldest = 1;
    note_change(self, feed);
    return feed;
}

/* The same, for us who may change it. */
static feed_ref_t *writable(const feed_ref_t *feed)
{
    return (feed_ref_t *)feed;
}

/* Where a feed stands, from disk: its head row, and the newest and oldest stored number. */
static int load_position(feed_t *self, feed_ref_t *feed)
{
    feed_mark_t mark;
    rows_t *rows = rows_of(self, feed);
    if (rows_read_feed(rows, feed, &mark) == -1)
        return -1;
    int64_t newest = rows_newest_batch(rows, feed);
    int64_t oldest = rows_next_batch(rows, feed, 1);
    if (newest == -1 || oldest == -1)
        return -1;
    position_load(feed, &mark, (uint64_t)newest, (uint64_t)oldest);
    return 0;
}

static void end_feed(feed_t *self, feed_ref_t *feed)
{
    position_end(feed, feed_is_ours(self, &feed->id.origin), self->keeps_history);
    note_change(self, feed);
}

void feed_raise_epoch_floor(feed_t *self, const pubkey_t *origin, uint64_t epoch)
{
    catalog_origin_t *all = catalog_origin_of(self->catalog, origin);
    if (epoch <= all->epoch_floor)
        return;
    all->epoch_floor = epoch;
    for (size_t i = 0; i < all->count && all->refs[i]->id.epoch < epoch; i++)
        if (!all->refs[i]->ended)
            end_feed(self, all->refs[i]);
    if (self->current != NULL && self->current->ended)
        self->current = NULL;
}

/* Where all feeds stand is known: now what they say of each other. */
static void settle_all(feed_t *self)
{
    feed_ref_t *feed;
    self->promises++;
    for (size_t i = 0; (feed = catalog_at(self->catalog, i)) != NULL; i++) {
        note_change(self, feed);
        catalog_origin_of(self->catalog, &feed->id.origin)->epoch_floor = 0;
        feed->ended = false;
        position_settle(feed, self->keeps_history);
    }
    for (size_t i = 0; (feed = catalog_at(self->catalog, i)) != NULL; i++)
        feed_raise_epoch_floor(self, &feed->id.origin, feed->epoch_floor);
}

/* An epoch of ours may be in both: own.db was lost, peers brought the epoch back, and then own.db
 * came back, too, from a backup that ends earlier. The longer one counts. */
static int choose_longer(feed_t *self, feed_ref_t *known, int64_t number)
{
    feed_ref_t copy = {.id = known->id, .number = number};
    if (load_position(self, &copy) == -1)
        return -1;
    if (copy.have <= known->have)
        return 0;
    known->number = number;
    known->own_db = false;
    return load_position(self, known);
}

static int load_feeds(feed_t *self, rows_t *rows)
{
    db_t *db = rows_db(rows);
    sqlite3_stmt *all = db_prepare(db, "SELECT number, origin, epoch, channel FROM feed");
    int rc;
    while ((rc = db_step(db, all)) == 1) {
        feed_id_t id = {0};
        if (sqlite3_column_bytes(all, 1) != PUBKEY_BYTES) {
            db_fail(db, "a feed has a key of %d bytes", sqlite3_column_bytes(all, 1));
            rc = -1;
            break;
        }
        memcpy(id.origin.bytes, sqlite3_column_blob(all, 1), PUBKEY_BYTES);
        id.epoch = (uint64_t)sqlite3_column_int64(all, 2);
        id.channel = (uint32_t)sqlite3_column_int64(all, 3);
        int64_t number = sqlite3_column_int64(all, 0);
        feed_ref_t *feed = catalog_find(self->catalog, &id);
        rc = feed != NULL ? choose_longer(self, feed, number)
                          : load_position(self, remember(self, &id, number, rows == self->own));
        if (rc == -1)
            break;
    }
    int saved = errno;
    sqlite3_finalize(all);
    errno = saved;
    return rc;
}

static int load_cursors(feed_t *self)
{
    feed_ref_t *feed;
    for (size_t i = 0; (feed = catalog_at(self->catalog, i)) != NULL; i++)
        if (!feed->own_db && cursor_rows_read(self->cursors, feed, &feed->cursor) == -1)
            return -1;
    return 0;
}

static int load(feed_t *self)
{
    if (load_feeds(self, self->own) == -1 || load_feeds(self, self->peers) == -1 ||
        load_cursors(self) == -1)
        return -1;
    settle_all(self);
    return 0;
}

static feed_t *open_once(const char *directory, const pubkey_t *self_key,
                         const state_tables_t *more, fault_t *fault)
{
    feed_t *self = xcalloc(1, sizeof *self);
    self->self = *self_key;
    self->state = state_open(directory, more, fault);
    if (self->state == NULL) {
        free(self);
        return NULL;
    }
    self->catalog = catalog_new();
    self->own_db = state_own_db(self->state);
    self->peers_db = state_peers_db(self->state);
    self->own = rows_new(self->own_db);
    self->peers = rows_new(self->peers_db);
    self->cursors = cursor_rows_new(self->peers_db);
    self->rekeyed =
        rekey_move(self->own, self->peers, self_key, more != NULL ? more->rekeyed : NULL);
    self->witness = witness_new(db_path(self->own_db)); /* moving makes it forget */
    if (self->rekeyed == -1 || load(self) == -1) {
        int saved = errno;
        fault_set(fault, "%s: %s", state_failure(self->state), strerror(saved));
        feed_close(&self);
        errno = saved;
    }
    return self;
}

/* Damage that shows only when the rows are read is marked by then: the second time all of the file
 * is looked at, and it is mended or set aside. */
feed_t *feed_open(const char *directory, const pubkey_t *self_key, const state_tables_t *more,
                  fault_t *fault)
{
    feed_t *self = open_once(directory, self_key, more, fault);
    if (self == NULL && errno == EBADMSG)
        self = open_once(directory, self_key, more, fault);
    return self;
}

void feed_close(feed_t **self_p)
{
    feed_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    catalog_destroy(&self->catalog);
    cursor_rows_destroy(&self->cursors);
    rows_destroy(&self->own);
    rows_destroy(&self->peers);
    witness_destroy(&self->witness);
    state_close(&self->state);
    free(self);
}

void feed_keep_history(feed_t *self)
{
    self->keeps_history = true;
    feed_forget(self);
}

bool feed_keeps_history(const feed_t *self)
{
    return self->keeps_history;
}

size_t feed_rekeyed(const feed_t *self)
{
    return (size_t)self->rekeyed;
}

state_t *feed_state(feed_t *self)
{
    return self->state;
}

db_t *feed_own_db(feed_t *self)
{
    return self->own_db;
}

db_t *feed_peers_db(feed_t *self)
{
    return self->peers_db;
}

/* ---- which there are ---- */

const feed_ref_t *feed_at(feed_t *self, size_t index)
{
    return catalog_at(self->catalog, index);
}

size_t feed_count(const feed_t *self)
{
    return catalog_count(self->catalog);
}

uint64_t feed_changes(const feed_t *self, size_t bucket)
{
    return self->changes[bucket];
}

uint64_t feed_promises(const feed_t *self)
{
    return self->promises;
}

const feed_ref_t *feed_find(feed_t *self, const feed_id_t *id)
{
    return catalog_find(self->catalog, id);
}

const feed_ref_t *feed_of(feed_t *self, const pubkey_t *origin, size_t index)
{
    const catalog_origin_t *all = catalog_find_origin(self->catalog, origin);
    return all != NULL && index < all->count ? all->refs[index] : NULL;
}

uint64_t feed_epoch_floor(const feed_t *self, const pubkey_t *origin)
{
    const catalog_origin_t *all = catalog_find_origin(self->catalog, origin);
    return all != NULL ? all->epoch_floor : 0;
}

size_t feed_reserve(feed_t *self, size_t size, feed_leave_fn *leave, void *arg)
{
    return catalog_reserve(self->catalog, size, leave, arg);
}

void feed_release(feed_t *self, size_t note)
{
    catalog_release(self->catalog, note);
}

/* A trusted node gone bad may name epochs without end, at little cost to itself if it never sends
 * a batch of them. */
static bool has_too_many(feed_t *self, const pubkey_t *origin)
{
    const feed_ref_t *feed;
    size_t ended = 0;
    size_t running = 0;
    size_t empty = 0;
    for (size_t i = 0; (feed = feed_of(self, origin, i)) != NULL; i++) {
        ended += feed->ended;
        running += !feed->ended;
        empty += !feed->ended && position_is_promise(feed);
    }
    return running >= FEED_PER_ORIGIN_MAX || empty >= FEED_EMPTY_PER_ORIGIN_MAX ||
           ended >= FEED_ENDED_PER_ORIGIN_MAX;
}

static feed_ref_t *add_to(feed_t *self, rows_t *rows, const feed_id_t *id)
{
    bool has_ended = id->epoch < feed_epoch_floor(self, &id->origin);
    if (has_ended && !self->keeps_history) {
        errno = ESTALE;
        return NULL;
    }
    if (rows == self->peers && has_too_many(self, &id->origin)) {
        errno = EDQUOT;
        return NULL;
    }
    if (db_is_frozen(rows_db(rows))) {
        errno = ENOSPC;
        return NULL;
    }
    int64_t number = rows_add_feed(rows, id);
    if (number == -1)
        return NULL;
    feed_ref_t *feed = remember(self, id, number, rows == self->own);
    if (has_ended)
        end_feed(self, feed);
    return feed;
}

bool feed_is_ours(const feed_t *self, const pubkey_t *origin)
{
    return pubkey_equal(origin, &self->self);
}

/* The newest epoch of ours is the one that we append to. If a later one comes back from peers, the
 * state directory was lost and the clock was behind: the running one ends. */
const feed_ref_t *feed_add(feed_t *self, const feed_id_t *id)
{
    const feed_ref_t *feed = feed_find(self, id);
    if (feed == NULL)
        feed = add_to(self, self->peers, id);
    if (feed != NULL && self->current != NULL && feed_is_ours(self, &id->origin) &&
        id->epoch > self->current->id.epoch)
        self->current = NULL;
    return feed;
}

const feed_ref_t *feed_own_at(feed_t *self, size_t index)
{
    return feed_of(self, &self->self, index);
}

const feed_ref_t *feed_own_newest(feed_t *self)
{
    const catalog_origin_t *own = catalog_find_origin(self->catalog, &self->self);
    return own != NULL && own->count > 0 ? own->refs[own->count - 1] : NULL;
}

const feed_ref_t *feed_own(feed_t *self, wall_t now)
{
    if (self->current != NULL)
        return self->current;
    const feed_ref_t *newest = feed_own_newest(self);
    feed_id_t id = {.origin = self->self, .epoch = (uint64_t)now.ms};
    if (newest != NULL && newest->id.epoch >= id.epoch)
        id.epoch = newest->id.epoch + 1;
    if (feed_epoch_floor(self, &self->self) >= id.epoch)
        id.epoch = feed_epoch_floor(self, &self->self) + 1;
    self->current = add_to(self, self->own, &id);
    if (self->current != NULL)
        self->current->of_this_run = true;
    return self->current;
}

const feed_ref_t *feed_own_current(feed_t *self)
{
    return self->current;
}

int feed_end_own_epochs(feed_t *self, uint64_t epoch)
{
    feed_ref_t *running = self->current;
    if (running == NULL || epoch > running->id.epoch)
        fatalx("epochs before %llu are to end, but that one is not open",
               (unsigned long long)epoch);
    if (rows_set_floors(self->own, running, running->floor, epoch) == -1)
        return -1;
    running->epoch_floor = epoch;
    note_change(self, running);
    feed_raise_epoch_floor(self, &self->self, epoch);
    return 0;
}

static int drop_rows(feed_t *self, const feed_ref_t *feed)
{
    if (rows_drop_feed(rows_of(self, feed), feed) == -1)
        return -1;
    return feed->own_db ? 0 : cursor_rows_drop(self->cursors, feed);
}

int feed_remove(feed_t *self, const feed_ref_t *feed)
{
    db_t *db = rows_db(rows_of(self, feed));
    if (!feed->ended || feed->oldest <= feed->have)
        fatalx("epoch %llu is to be removed, and yet counts", (unsigned long long)feed->id.epoch);
    if (!catalog_may_remove(self->catalog, writable(feed)))
        return 0;
    if (db_begin_freeing(db) == -1)
        return -1;
    if (drop_rows(self, feed) == -1) {
        int saved = errno;
        db_rollback(db);
        errno = saved;
        return -1;
    }
    if (db_commit(db) == -1)
        return -1;
    note_change(self, feed);
    catalog_remove(self->catalog, writable(feed));
    return 1;
}

/* ---- batches and heads ---- */

int feed_store(feed_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t *bytes,
               size_t size)
{
    if (seq != feed->have + 1 || seq > FEED_SEQ_MAX)
        fatalx("batch %llu stored behind %llu", (unsigned long long)seq,
               (unsigned long long)feed->have);
    if (rows_add_batch(rows_of(self, feed), feed, seq, bytes, size) == -1)
        return -1;
    position_advance(writable(feed), seq);
    note_change(self, feed);
    return 0;
}

int feed_commit_own(feed_t *self)
{
    if (db_commit(self->own_db) == -1)
        return -1;
    if (self->current != NULL && self->current->have > 0)
        witness_note(self->witness, self->current->id.epoch, self->current->have);
    return 0;
}

void feed_promise(feed_t *self, const feed_ref_t *feed, uint64_t seq)
{
    if (feed->head_seq >= seq)
        return;
    writable(feed)->head_seq = seq;
    self->promises++;
}

void feed_quarantine(feed_t *self, const pubkey_t *origin, bool quarantined)
{
    const catalog_origin_t *all = catalog_origin_of(self->catalog, origin);
    for (size_t i = 0; i < all->count; i++) {
        all->refs[i]->quarantined = quarantined;
        position_settle(all->refs[i], self->keeps_history);
    }
    self->promises++;
}

void feed_forget(feed_t *self)
{
    feed_ref_t *feed;
    for (size_t i = 0; (feed = catalog_at(self->catalog, i)) != NULL; i++)
        if (load_position(self, feed) == -1)
            fatal("%s", state_failure(self->state));
    if (load_cursors(self) == -1)
        fatal("%s", state_failure(self->state));
    settle_all(self);
}

int feed_keep_head(feed_t *self, const feed_ref_t *feed, const feed_mark_t *mark,
                   const uint8_t *bytes, size_t size)
{
    feed_ref_t *changed = writable(feed);
    if (!position_is_newer(feed, mark))
        return 0;
    if (rows_keep_head(rows_of(self, feed), feed, mark, bytes, size) == -1)
        return -1;
    changed->kept_seq = mark->seq;
    changed->floor = mark->floor;
    changed->epoch_floor = mark->epoch_floor;
    feed_raise_epoch_floor(self, &feed->id.origin, mark->epoch_floor);
    if (!self->keeps_history)
        position_give_up(changed, mark->floor - 1);
    feed_promise(self, feed, mark->seq);
    if (feed->ended)
        end_feed(self, changed);
    note_change(self, feed);
    return 1;
}

int feed_raise_floor(feed_t *self, const feed_ref_t *feed, uint64_t floor)
{
    if (floor < feed->floor || floor > feed->have + 1)
        fatalx("floor %llu outside of %llu to %llu", (unsigned long long)floor,
               (unsigned long long)feed->floor, (unsigned long long)feed->have + 1);
    if (rows_set_floors(rows_of(self, feed), feed, floor, feed->epoch_floor) == -1)
        return -1;
    writable(feed)->floor = floor;
    note_change(self, feed);
    return 0;
}

void feed_give_up(feed_t *self, const feed_ref_t *feed, uint64_t seq)
{
    position_give_up(writable(feed), seq);
    note_change(self, feed);
}

int feed_trim(feed_t *self, const feed_ref_t *feed, uint64_t seq)
{
    if (seq >= feed->floor)
        fatalx("batches up to %llu trimmed with floor %llu", (unsigned long long)seq,
               (unsigned long long)feed->floor);
    if (seq >= feed->have)
        seq = feed->ended ? feed->have : feed->have - 1;
    if (seq < feed->oldest)
        return 0;
    if (rows_drop_batches(rows_of(self, feed), feed, feed->oldest, seq) == -1)
        return -1;
    int64_t next = feed_next(self, feed, seq);
    if (next == -1)
        return -1;
    writable(feed)->oldest = next > 0 ? (uint64_t)next : feed->have + 1;
    return 0;
}

int64_t feed_next(feed_t *self, const feed_ref_t *feed, uint64_t seq)
{
    return rows_next_batch(rows_of(self, feed), feed, seq + 1);
}

size_t feed_read_head(feed_t *self, const feed_ref_t *feed, uint8_t *out, size_t max)
{
    return rows_read_head(rows_of(self, feed), feed, out, max);
}

size_t feed_read(feed_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t **bytes)
{
    rows_t *rows = rows_of(self, feed);
    size_t size = rows_read_batch(rows, feed, seq, bytes);
    /* From floor to have there are no gaps. */
    if (size == 0 && seq >= feed->floor && seq <= feed->have) {
        db_fail(rows_db(rows), "batch %llu of epoch %llu is damaged", (unsigned long long)seq,
                (unsigned long long)feed->id.epoch);
        fatalx("%s; the next start mends what can be mended", db_failure(rows_db(rows)));
    }
    return size;
}

int feed_set_cursor(feed_t *self, const feed_ref_t *feed, uint64_t seq)
{
    if (cursor_rows_set(self->cursors, feed, seq) == -1)
        return -1;
    writable(feed)->cursor = seq;
    return 0;
}
