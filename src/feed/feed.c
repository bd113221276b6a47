#include "feed.h"

#include "sum.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define SEQ_BITS 40
#define CONSUMER "sink"

#define READ_TRIES 20 /* each waits as long as db does */

/* The statements on one database. */
typedef struct {
    db_t *db;
    sqlite3_stmt *add_feed;
    sqlite3_stmt *add_batch;
    sqlite3_stmt *read_batch;
    sqlite3_stmt *newest_batch;
    sqlite3_stmt *next_batch;
    sqlite3_stmt *drop_batches;
    sqlite3_stmt *keep_head;
    sqlite3_stmt *set_floor;
    sqlite3_stmt *read_head;
    sqlite3_stmt *read_feed;
} store_t;

struct feed {
    uint8_t self[FEED_ORIGIN_BYTES];
    bool keeps_history;
    state_t *state;
    store_t own;
    store_t peers;
    sqlite3_stmt *set_cursor;
    feed_ref_t **refs;
    size_t ref_count;
    void *by_id;         /* tsearch tree of the same refs */
    feed_ref_t *current; /* our own, of this run */
    uint8_t *buffer;     /* what feed_read returns */
    size_t buffer_size;
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

static store_t *store_of(feed_t *self, const feed_ref_t *feed)
{
    return feed->own_db ? &self->own : &self->peers;
}

static int64_t row_id(const feed_ref_t *feed, uint64_t seq)
{
    return feed->number << SEQ_BITS | (int64_t)seq;
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

static void prepare(store_t *store)
{
    store->add_feed = db_prepare(store->db, "INSERT INTO feed (origin, epoch, channel, sum) "
                                            "VALUES (?, ?, ?, ?) RETURNING number");
    store->add_batch =
        db_prepare(store->db, "INSERT INTO batch (id, envelope, sum) VALUES (?, ?, ?)");
    store->read_batch = db_prepare(store->db, "SELECT envelope, sum FROM batch WHERE id = ?");
    store->newest_batch =
        db_prepare(store->db, "SELECT max (id) FROM batch WHERE id BETWEEN ? AND ?");
    store->next_batch =
        db_prepare(store->db, "SELECT min (id) FROM batch WHERE id BETWEEN ? AND ?");
    store->drop_batches = db_prepare(store->db, "DELETE FROM batch WHERE id BETWEEN ? AND ?");
    store->keep_head = db_prepare(store->db, "UPDATE feed SET head_seq = ?, floor = ?, head = ?, "
                                             "sum = ? WHERE number = ?");
    store->set_floor = db_prepare(store->db, "UPDATE feed SET floor = ?, sum = ? WHERE number = ?");
    store->read_head = db_prepare(store->db, "SELECT head FROM feed WHERE number = ?");
    store->read_feed = db_prepare(store->db, "SELECT floor, head_seq, head, sum FROM feed "
                                             "WHERE number = ?");
}

/* Whether a row of read_feed is what was written. */
static bool is_whole(const feed_ref_t *feed, sqlite3_stmt *row)
{
    return sqlite3_column_type(row, 3) == SQLITE_NULL ||
           sqlite3_column_int64(row, 3) ==
               sum_feed(&feed->id, (uint64_t)sqlite3_column_int64(row, 0),
                        (uint64_t)sqlite3_column_int64(row, 1), sqlite3_column_blob(row, 2),
                        (size_t)sqlite3_column_bytes(row, 2));
}

/* Read a row. Nobody may take a read that failed for a row that is not there: its events would be
 * passed over. Returns 1 or 0. */
static int read_row(const store_t *store, sqlite3_stmt *statement)
{
    int rc = db_step(store->db, statement);
    for (int i = 0; rc == -1 && errno == EBUSY && i < READ_TRIES; i++)
        rc = db_step(store->db, statement);
    if (rc == -1)
        fatal("%s", errno == EBUSY ? db_path(store->db) : db_error(store->db));
    return rc;
}

/* The seq of the one row of a min or max; 0 if there is none, -1 and errno. */
static int64_t read_seq(const store_t *store, sqlite3_stmt *statement, const feed_ref_t *feed,
                        uint64_t from)
{
    sqlite3_bind_int64(statement, 1, row_id(feed, from));
    sqlite3_bind_int64(statement, 2, row_id(feed, FEED_SEQ_MAX));
    if (db_step(store->db, statement) != 1)
        return -1;
    int64_t seq = sqlite3_column_int64(statement, 0) & (int64_t)FEED_SEQ_MAX;
    sqlite3_reset(statement);
    return seq;
}

/* Where a feed stands, from disk: its head row, and the newest and oldest stored number; what lies
 * under the floor counts as stored, unless this host keeps the history. */
static int load_position(feed_t *self, feed_ref_t *feed)
{
    store_t *store = store_of(self, feed);
    sqlite3_bind_int64(store->read_feed, 1, feed->number);
    int rc = db_step(store->db, store->read_feed);
    if (rc == 0)
        db_fail(store->db, "feed %lld is not there", (long long)feed->number);
    if (rc != 1)
        return -1;
    if (!is_whole(feed, store->read_feed)) {
        sqlite3_reset(store->read_feed);
        db_fail(store->db, "feed %lld is damaged", (long long)feed->number);
        return -1;
    }
    feed->floor = (uint64_t)sqlite3_column_int64(store->read_feed, 0);
    feed->kept_seq = (uint64_t)sqlite3_column_int64(store->read_feed, 1);
    sqlite3_reset(store->read_feed);
    int64_t newest = read_seq(store, store->newest_batch, feed, 1);
    int64_t oldest = read_seq(store, store->next_batch, feed, 1);
    if (newest == -1 || oldest == -1)
        return -1;
    feed->have = (uint64_t)newest;
    if (feed->have + 1 < feed->floor && !self->keeps_history)
        feed->have = feed->floor - 1;
    feed->oldest = oldest > 0 ? (uint64_t)oldest : feed->have + 1;
    feed->head_seq = feed->kept_seq > feed->have ? feed->kept_seq : feed->have;
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

static int load_feeds(feed_t *self, store_t *store)
{
    sqlite3_stmt *all = db_prepare(store->db, "SELECT number, origin, epoch, channel FROM feed");
    int rc;
    while ((rc = db_step(store->db, all)) == 1) {
        feed_id_t id = {0};
        if (sqlite3_column_bytes(all, 1) != FEED_ORIGIN_BYTES) {
            db_fail(store->db, "a feed has a key of %d bytes", sqlite3_column_bytes(all, 1));
            rc = -1;
            break;
        }
        memcpy(id.origin, sqlite3_column_blob(all, 1), FEED_ORIGIN_BYTES);
        id.epoch = (uint64_t)sqlite3_column_int64(all, 2);
        id.channel = (uint32_t)sqlite3_column_int64(all, 3);
        int64_t number = sqlite3_column_int64(all, 0);
        feed_ref_t *feed = feed_find(self, &id);
        rc = feed != NULL ? choose_longer(self, feed, number)
                          : load_position(self, remember(self, &id, number, store == &self->own));
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
    bool has_sum = sqlite3_column_type(row, 1) != SQLITE_NULL;
    return !has_sum || sqlite3_column_int64(row, 1) == sum_cursor(&feed->id, seq) ? seq : 0;
}

static int load_cursors(feed_t *self)
{
    sqlite3_stmt *one =
        db_prepare(self->peers.db,
                   "SELECT seq, sum FROM cursor WHERE consumer = '" CONSUMER "' AND feed = ?");
    int rc = 0;
    for (size_t i = 0; i < self->ref_count && rc != -1; i++) {
        if (self->refs[i]->own_db)
            continue;
        sqlite3_bind_int64(one, 1, self->refs[i]->number);
        rc = db_step(self->peers.db, one);
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
    self->own.db = state_own_db(self->state);
    self->peers.db = state_peers_db(self->state);
    prepare(&self->own);
    prepare(&self->peers);
    self->set_cursor =
        db_prepare(self->peers.db, "INSERT OR REPLACE INTO cursor (consumer, feed, seq, sum) "
                                   "VALUES ('" CONSUMER "', ?, ?, ?)");
    if (load_feeds(self, &self->own) == -1 || load_feeds(self, &self->peers) == -1 ||
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
    free(self->buffer);
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
    return self->own.db;
}

db_t *feed_peers_db(feed_t *self)
{
    return self->peers.db;
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

/* A trusted node gone bad may name epochs without end, at little cost to itself if it never sends
 * a batch of them. */
static bool has_too_many(const feed_t *self, const uint8_t *origin)
{
    size_t count = 0;
    size_t empty = 0;
    for (size_t i = 0; i < self->ref_count; i++)
        if (memcmp(self->refs[i]->id.origin, origin, FEED_ORIGIN_BYTES) == 0) {
            count++;
            empty += self->refs[i]->have == 0;
        }
    return count >= FEED_PER_ORIGIN_MAX || empty >= FEED_EMPTY_PER_ORIGIN_MAX;
}

static feed_ref_t *add_to(feed_t *self, store_t *store, const feed_id_t *id)
{
    if (store == &self->peers && has_too_many(self, id->origin)) {
        errno = EDQUOT;
        return NULL;
    }
    if (db_is_shut(store->db)) {
        errno = ENOSPC;
        return NULL;
    }
    sqlite3_bind_blob(store->add_feed, 1, id->origin, FEED_ORIGIN_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(store->add_feed, 2, (int64_t)id->epoch);
    sqlite3_bind_int64(store->add_feed, 3, id->channel);
    sqlite3_bind_int64(store->add_feed, 4, sum_feed(id, 1, 0, NULL, 0));
    if (db_step(store->db, store->add_feed) != 1)
        return NULL;
    int64_t number = sqlite3_column_int64(store->add_feed, 0);
    /* The first step gives the row, the second one commits it. */
    if (db_step(store->db, store->add_feed) == -1)
        return NULL;
    return remember(self, id, number, store == &self->own);
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
        feed = add_to(self, &self->peers, id);
    if (feed != NULL && self->current != NULL && is_ours(self, id) &&
        id->epoch > self->current->id.epoch)
        self->current = NULL;
    return feed;
}

feed_ref_t *feed_add_own(feed_t *self, uint64_t epoch, uint32_t channel)
{
    feed_id_t id = {.epoch = epoch, .channel = channel};
    memcpy(id.origin, self->self, FEED_ORIGIN_BYTES);
    feed_ref_t *feed = feed_find(self, &id);
    return feed != NULL ? feed : add_to(self, &self->own, &id);
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
        self->current = add_to(self, &self->own, &id);
    }
    return self->current;
}

feed_ref_t *feed_own_current(feed_t *self)
{
    return self->current;
}

int feed_store(feed_t *self, feed_ref_t *feed, uint64_t seq, const uint8_t *bytes, size_t size)
{
    store_t *store = store_of(self, feed);
    if (seq != feed->have + 1 || seq > FEED_SEQ_MAX)
        fatalx("batch %llu stored behind %llu", (unsigned long long)seq,
               (unsigned long long)feed->have);
    sqlite3_bind_int64(store->add_batch, 1, row_id(feed, seq));
    sqlite3_bind_blob(store->add_batch, 2, bytes, (int)size, SQLITE_STATIC);
    sqlite3_bind_int64(store->add_batch, 3, sum_batch(&feed->id, row_id(feed, seq), bytes, size));
    if (db_step(store->db, store->add_batch) == -1)
        return -1;
    feed->have = seq;
    if (feed->head_seq < seq)
        feed->head_seq = seq;
    return 0;
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
    store_t *store = store_of(self, feed);
    if (seq < feed->kept_seq || floor < feed->floor ||
        (seq == feed->kept_seq && floor == feed->floor))
        return 0;
    sqlite3_bind_int64(store->keep_head, 1, (int64_t)seq);
    sqlite3_bind_int64(store->keep_head, 2, (int64_t)floor);
    sqlite3_bind_blob(store->keep_head, 3, bytes, (int)size, SQLITE_STATIC);
    sqlite3_bind_int64(store->keep_head, 4, sum_feed(&feed->id, floor, seq, bytes, size));
    sqlite3_bind_int64(store->keep_head, 5, feed->number);
    if (db_step(store->db, store->keep_head) == -1)
        return -1;
    if (db_changed(store->db) != 1) {
        db_fail(store->db, "feed %lld is not there", (long long)feed->number);
        return -1;
    }
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
    store_t *store = store_of(self, feed);
    if (floor < feed->floor || floor > feed->have + 1)
        fatalx("floor %llu outside of %llu to %llu", (unsigned long long)floor,
               (unsigned long long)feed->floor, (unsigned long long)feed->have + 1);
    sqlite3_bind_int64(store->read_feed, 1, feed->number);
    if (read_row(store, store->read_feed) != 1)
        return -1;
    int64_t sum = sum_feed(&feed->id, floor, (uint64_t)sqlite3_column_int64(store->read_feed, 1),
                           sqlite3_column_blob(store->read_feed, 2),
                           (size_t)sqlite3_column_bytes(store->read_feed, 2));
    sqlite3_reset(store->read_feed);
    sqlite3_bind_int64(store->set_floor, 1, (int64_t)floor);
    sqlite3_bind_int64(store->set_floor, 2, sum);
    sqlite3_bind_int64(store->set_floor, 3, feed->number);
    if (db_step(store->db, store->set_floor) == -1)
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
    store_t *store = store_of(self, feed);
    if (seq >= feed->floor)
        fatalx("batches up to %llu trimmed with floor %llu", (unsigned long long)seq,
               (unsigned long long)feed->floor);
    if (seq >= feed->have)
        seq = feed->have - 1;
    if (seq < feed->oldest)
        return 0;
    sqlite3_bind_int64(store->drop_batches, 1, row_id(feed, feed->oldest));
    sqlite3_bind_int64(store->drop_batches, 2, row_id(feed, seq));
    if (db_step(store->db, store->drop_batches) == -1)
        return -1;
    int64_t next = feed_next(self, feed, seq);
    if (next == -1)
        return -1;
    feed->oldest = next > 0 ? (uint64_t)next : feed->have + 1;
    return 0;
}

int64_t feed_next(feed_t *self, const feed_ref_t *feed, uint64_t seq)
{
    store_t *store = store_of(self, feed);
    return read_seq(store, store->next_batch, feed, seq + 1);
}

size_t feed_read_head(feed_t *self, const feed_ref_t *feed, uint8_t *out, size_t max)
{
    store_t *store = store_of(self, feed);
    size_t size = 0;
    sqlite3_bind_int64(store->read_head, 1, feed->number);
    if (read_row(store, store->read_head) == 1) {
        size = (size_t)sqlite3_column_bytes(store->read_head, 0);
        if (size <= max && size > 0)
            memcpy(out, sqlite3_column_blob(store->read_head, 0), size);
        else
            size = 0;
        sqlite3_reset(store->read_head);
    }
    return size;
}

/* Copied, not lent: a statement left open would keep the write-ahead log from ever shrinking.
 * Returns 0 if it is not what was stored. */
static size_t copy_batch(feed_t *self, sqlite3_stmt *row, const feed_id_t *feed, int64_t key)
{
    size_t size = (size_t)sqlite3_column_bytes(row, 0);
    if (size > self->buffer_size) {
        self->buffer = xrealloc(self->buffer, size);
        self->buffer_size = size;
    }
    if (size > 0)
        memcpy(self->buffer, sqlite3_column_blob(row, 0), size);
    bool has_sum = sqlite3_column_type(row, 1) != SQLITE_NULL;
    if (has_sum && sqlite3_column_int64(row, 1) != sum_batch(feed, key, self->buffer, size))
        return 0;
    return size;
}

size_t feed_read(feed_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t **bytes)
{
    store_t *store = store_of(self, feed);
    size_t size = 0;
    sqlite3_bind_int64(store->read_batch, 1, row_id(feed, seq));
    if (read_row(store, store->read_batch) == 1) {
        size = copy_batch(self, store->read_batch, &feed->id, row_id(feed, seq));
        sqlite3_reset(store->read_batch);
    }
    /* From floor to have there are no gaps. */
    if (size == 0 && seq >= feed->floor && seq <= feed->have) {
        db_fail(store->db, "batch %llu of epoch %llu is damaged", (unsigned long long)seq,
                (unsigned long long)feed->id.epoch);
        fatalx("%s; the next start mends what can be mended", db_failure(store->db));
    }
    *bytes = self->buffer;
    return size;
}

int feed_set_cursor(feed_t *self, feed_ref_t *feed, uint64_t seq)
{
    sqlite3_bind_int64(self->set_cursor, 1, feed->number);
    sqlite3_bind_int64(self->set_cursor, 2, (int64_t)seq);
    sqlite3_bind_int64(self->set_cursor, 3, sum_cursor(&feed->id, seq));
    if (db_step(self->peers.db, self->set_cursor) == -1)
        return -1;
    feed->cursor = seq;
    return 0;
}
