#include "feed.h"

#include "rows.h"
#include "sum.h"
#include "witness.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define CONSUMER "sink"

struct feed {
    uint8_t self[FEED_ORIGIN_BYTES];
    bool keeps_history;
    state_t *state;
    rows_t *own;
    rows_t *peers;
    witness_t *witness;
    sqlite3_stmt *set_cursor;
    feed_ref_t **refs;
    size_t ref_count;
    void *by_id;         /* tsearch tree of the same refs */
    feed_ref_t *current; /* our own, of this run */
};

static int compare_ids(const void *one_p, const void *other_p)
{
    const feed_id_t *one = &((const feed_ref_t *)one_p)->id;
    const feed_id_t *other = &((const feed_ref_t *)other_p)->id;
    int order = memcmp(one->origin, other->origin, FEED_ORIGIN_BYTES);
    if (order == 0)
        order = (one->epoch > other->epoch) - (one->epoch < other->epoch);
    if (order == 0)
        order = (one->channel > other->channel) - (one->channel < other->channel);
    return order;
}

static rows_t *rows_of(feed_t *self, const feed_ref_t *feed)
{
    return feed->own_db ? self->own : self->peers;
}

static feed_ref_t *remember(feed_t *self, const feed_id_t *id, int64_t number, bool own_db)
{
    feed_ref_t *feed = xcalloc(1, sizeof *feed);
    feed->id = *id;
    feed->number = number;
    feed->own_db = own_db;
    feed->floor = feed->oldest = 1;
    self->refs = xrealloc(self->refs, (self->ref_count + 1) * sizeof(feed_ref_t *));
    self->refs[self->ref_count++] = feed;
    if (tsearch(feed, &self->by_id, compare_ids) == NULL)
        fatalx("out of memory");
    return feed;
}

static void count_missing(feed_ref_t *feed)
{
    feed->head_seq =
        !feed->quarantined && feed->kept_seq > feed->have ? feed->kept_seq : feed->have;
}

/* Where a feed stands, from disk: its head row, and the newest and oldest stored number; what lies
 * under the floor counts as stored, unless this host keeps the history. */
static int load_position(feed_t *self, feed_ref_t *feed)
{
    rows_t *rows = rows_of(self, feed);
    if (rows_read_feed(rows, feed, &feed->floor, &feed->kept_seq) == -1)
        return -1;
    int64_t newest = rows_newest_batch(rows, feed);
    int64_t oldest = rows_next_batch(rows, feed, 1);
    if (newest == -1 || oldest == -1)
        return -1;
    feed->have = (uint64_t)newest;
    if (feed->have + 1 < feed->floor && !self->keeps_history)
        feed->have = feed->floor - 1;
    feed->oldest = oldest > 0 ? (uint64_t)oldest : feed->have + 1;
    count_missing(feed);
    return 0;
}

/* An epoch of ours may be in both: own.db was lost, peers brought the epoch back, and then own.db
 * came back, too, from a backup that ends earlier. The longer one counts. */
static int choose_longer(feed_t *self, feed_ref_t *known, int64_t number)
{
    feed_ref_t copy = {.id = known->id, .number = number};
    if (load_position(self, &copy) == -1)
        return -1;
    if (copy.have > known->have)
        *known = copy;
    return 0;
}

static int load_feeds(feed_t *self, rows_t *rows)
{
    db_t *db = rows_db(rows);
    sqlite3_stmt *all = db_prepare(db, "SELECT number, origin, epoch, channel FROM feed");
    int rc;
    while ((rc = db_step(db, all)) == 1) {
        feed_id_t id = {0};
        if (sqlite3_column_bytes(all, 1) != FEED_ORIGIN_BYTES) {
            db_fail(db, "a feed has a key of %d bytes", sqlite3_column_bytes(all, 1));
            rc = -1;
            break;
        }
        memcpy(id.origin, sqlite3_column_blob(all, 1), FEED_ORIGIN_BYTES);
        id.epoch = (uint64_t)sqlite3_column_int64(all, 2);
        id.channel = (uint32_t)sqlite3_column_int64(all, 3);
        int64_t number = sqlite3_column_int64(all, 0);
        feed_ref_t *feed = feed_find(self, &id);
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

/* A cursor that nobody wrote is as good as none: what was decided is decided again. */
static uint64_t read_cursor(const feed_ref_t *feed, sqlite3_stmt *row)
{
    uint64_t seq = (uint64_t)sqlite3_column_int64(row, 0);
    return sqlite3_column_int64(row, 1) == sum_cursor(&feed->id, seq) ? seq : 0;
}

static int load_cursors(feed_t *self)
{
    sqlite3_stmt *one =
        db_prepare(rows_db(self->peers),
                   "SELECT seq, sum FROM cursor WHERE consumer = '" CONSUMER "' AND feed = ?");
    int rc = 0;
    for (size_t i = 0; i < self->ref_count && rc != -1; i++) {
        if (self->refs[i]->own_db)
            continue;
        sqlite3_bind_int64(one, 1, self->refs[i]->number);
        rc = db_step(rows_db(self->peers), one);
        self->refs[i]->cursor = rc == 1 ? read_cursor(self->refs[i], one) : 0;
        if (rc == 1)
            sqlite3_reset(one);
    }
    int saved = errno;
    sqlite3_finalize(one);
    errno = saved;
    return rc == -1 ? -1 : 0;
}

static feed_t *open_once(const char *directory, const uint8_t self_key[static FEED_ORIGIN_BYTES],
                         fault_t *fault)
{
    feed_t *self = xcalloc(1, sizeof *self);
    memcpy(self->self, self_key, FEED_ORIGIN_BYTES);
    self->state = state_open(directory, fault);
    if (self->state == NULL) {
        free(self);
        return NULL;
    }
    self->own = rows_new(state_own_db(self->state));
    self->peers = rows_new(state_peers_db(self->state));
    self->witness = witness_new(db_path(state_own_db(self->state)));
    self->set_cursor =
        db_prepare(rows_db(self->peers), "INSERT OR REPLACE INTO cursor (consumer, feed, seq, sum) "
                                         "VALUES ('" CONSUMER "', ?, ?, ?)");
    if (load_feeds(self, self->own) == -1 || load_feeds(self, self->peers) == -1 ||
        load_cursors(self) == -1) {
        int saved = errno;
        fault_set(fault, "%s: %s", state_failure(self->state), strerror(saved));
        feed_close(&self);
        errno = saved;
    }
    return self;
}

/* Damage that shows only when the rows are read is marked by then: the second time all of the file
 * is looked at, and it is mended or set aside. */
feed_t *feed_open(const char *directory, const uint8_t self_key[static FEED_ORIGIN_BYTES],
                  fault_t *fault)
{
    feed_t *self = open_once(directory, self_key, fault);
    if (self == NULL && errno == EBADMSG)
        self = open_once(directory, self_key, fault);
    return self;
}

static void keep_in_refs(void *ref)
{
    (void)ref; /* freed through refs */
}

void feed_close(feed_t **self_p)
{
    feed_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    tdestroy(self->by_id, keep_in_refs);
    for (size_t i = 0; i < self->ref_count; i++)
        free(self->refs[i]);
    free(self->refs);
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

state_t *feed_state(feed_t *self)
{
    return self->state;
}

db_t *feed_own_db(feed_t *self)
{
    return rows_db(self->own);
}

db_t *feed_peers_db(feed_t *self)
{
    return rows_db(self->peers);
}

feed_ref_t *feed_at(feed_t *self, size_t index)
{
    return index < self->ref_count ? self->refs[index] : NULL;
}

size_t feed_count(const feed_t *self)
{
    return self->ref_count;
}

feed_ref_t *feed_find(feed_t *self, const feed_id_t *id)
{
    feed_ref_t key = {.id = *id};
    void *found = tfind(&key, &self->by_id, compare_ids);
    return found != NULL ? *(feed_ref_t **)found : NULL;
}

/* Nothing is here of what its origin signed for. An epoch that was compacted wholly promises no
 * more. */
static bool is_promise(const feed_ref_t *feed)
{
    return feed->have == 0 || (feed->oldest > feed->have && feed->have < feed->head_seq);
}

/* A trusted node gone bad may name epochs without end, at little cost to itself if it never sends
 * a batch of them. */
static bool has_too_many(const feed_t *self, const uint8_t *origin)
{
    size_t count = 0;
    size_t empty = 0;
    for (size_t i = 0; i < self->ref_count; i++)
        if (memcmp(self->refs[i]->id.origin, origin, FEED_ORIGIN_BYTES) == 0) {
            count++;
            empty += is_promise(self->refs[i]);
        }
    return count >= FEED_PER_ORIGIN_MAX || empty >= FEED_EMPTY_PER_ORIGIN_MAX;
}

static feed_ref_t *add_to(feed_t *self, rows_t *rows, const feed_id_t *id)
{
    if (rows == self->peers && has_too_many(self, id->origin)) {
        errno = EDQUOT;
        return NULL;
    }
    if (db_is_frozen(rows_db(rows))) {
        errno = ENOSPC;
        return NULL;
    }
    int64_t number = rows_add_feed(rows, id);
    return number != -1 ? remember(self, id, number, rows == self->own) : NULL;
}

static bool is_ours(const feed_t *self, const feed_id_t *id)
{
    return memcmp(id->origin, self->self, FEED_ORIGIN_BYTES) == 0;
}

/* The newest epoch of ours is the one that we append to. If a later one comes back from peers, the
 * state directory was lost and the clock was behind: the running one ends. */
feed_ref_t *feed_add(feed_t *self, const feed_id_t *id)
{
    feed_ref_t *feed = feed_find(self, id);
    if (feed == NULL)
        feed = add_to(self, self->peers, id);
    if (feed != NULL && self->current != NULL && is_ours(self, id) &&
        id->epoch > self->current->id.epoch)
        self->current = NULL;
    return feed;
}

feed_ref_t *feed_own_newest(feed_t *self)
{
    feed_ref_t *newest = NULL;
    for (size_t i = 0; i < self->ref_count; i++)
        if (is_ours(self, &self->refs[i]->id) &&
            (newest == NULL || self->refs[i]->id.epoch > newest->id.epoch))
            newest = self->refs[i];
    return newest;
}

feed_ref_t *feed_own(feed_t *self, wall_t now)
{
    if (self->current == NULL) {
        feed_ref_t *newest = feed_own_newest(self);
        feed_id_t id = {.epoch = (uint64_t)now.ms};
        memcpy(id.origin, self->self, FEED_ORIGIN_BYTES);
        if (newest != NULL && newest->id.epoch >= id.epoch)
            id.epoch = newest->id.epoch + 1;
        self->current = add_to(self, self->own, &id);
    }
    return self->current;
}

feed_ref_t *feed_own_current(feed_t *self)
{
    return self->current;
}

int feed_store(feed_t *self, feed_ref_t *feed, uint64_t seq, const uint8_t *bytes, size_t size)
{
    if (seq != feed->have + 1 || seq > FEED_SEQ_MAX)
        fatalx("batch %llu stored behind %llu", (unsigned long long)seq,
               (unsigned long long)feed->have);
    if (rows_add_batch(rows_of(self, feed), feed, seq, bytes, size) == -1)
        return -1;
    feed->have = seq;
    if (feed->head_seq < seq)
        feed->head_seq = seq;
    return 0;
}

int feed_commit_own(feed_t *self)
{
    if (db_commit(rows_db(self->own)) == -1)
        return -1;
    if (self->current != NULL && self->current->have > 0)
        witness_note(self->witness, self->current->id.epoch, self->current->have);
    return 0;
}

void feed_quarantine(feed_t *self, const uint8_t origin[static FEED_ORIGIN_BYTES], bool quarantined)
{
    for (size_t i = 0; i < self->ref_count; i++)
        if (memcmp(self->refs[i]->id.origin, origin, FEED_ORIGIN_BYTES) == 0) {
            self->refs[i]->quarantined = quarantined;
            count_missing(self->refs[i]);
        }
}

void feed_forget(feed_t *self)
{
    for (size_t i = 0; i < self->ref_count; i++)
        if (load_position(self, self->refs[i]) == -1)
            fatal("%s", state_failure(self->state));
    if (load_cursors(self) == -1)
        fatal("%s", state_failure(self->state));
}

int feed_keep_head(feed_t *self, feed_ref_t *feed, uint64_t seq, uint64_t floor,
                   const uint8_t *bytes, size_t size)
{
    if (seq < feed->kept_seq || floor < feed->floor ||
        (seq == feed->kept_seq && floor == feed->floor))
        return 0;
    if (rows_keep_head(rows_of(self, feed), feed, seq, floor, bytes, size) == -1)
        return -1;
    feed->kept_seq = seq;
    feed->floor = floor;
    if (!self->keeps_history)
        feed_give_up(self, feed, floor - 1);
    if (feed->head_seq < seq)
        feed->head_seq = seq;
    return 1;
}

int feed_raise_floor(feed_t *self, feed_ref_t *feed, uint64_t floor)
{
    if (floor < feed->floor || floor > feed->have + 1)
        fatalx("floor %llu outside of %llu to %llu", (unsigned long long)floor,
               (unsigned long long)feed->floor, (unsigned long long)feed->have + 1);
    if (rows_set_floor(rows_of(self, feed), feed, floor) == -1)
        return -1;
    feed->floor = floor;
    return 0;
}

void feed_give_up(feed_t *self, feed_ref_t *feed, uint64_t seq)
{
    (void)self;
    if (seq > feed->floor - 1)
        seq = feed->floor - 1;
    if (feed->have >= seq)
        return;
    if (feed->oldest > feed->have)
        feed->oldest = seq + 1;
    feed->have = seq;
}

int feed_trim(feed_t *self, feed_ref_t *feed, uint64_t seq)
{
    if (seq >= feed->floor)
        fatalx("batches up to %llu trimmed with floor %llu", (unsigned long long)seq,
               (unsigned long long)feed->floor);
    if (seq >= feed->have)
        seq = feed->have - 1;
    if (seq < feed->oldest)
        return 0;
    if (rows_drop_batches(rows_of(self, feed), feed, feed->oldest, seq) == -1)
        return -1;
    int64_t next = feed_next(self, feed, seq);
    if (next == -1)
        return -1;
    feed->oldest = next > 0 ? (uint64_t)next : feed->have + 1;
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

int feed_set_cursor(feed_t *self, feed_ref_t *feed, uint64_t seq)
{
    sqlite3_bind_int64(self->set_cursor, 1, feed->number);
    sqlite3_bind_int64(self->set_cursor, 2, (int64_t)seq);
    sqlite3_bind_int64(self->set_cursor, 3, sum_cursor(&feed->id, seq));
    if (db_step(rows_db(self->peers), self->set_cursor) == -1)
        return -1;
    feed->cursor = seq;
    return 0;
}
