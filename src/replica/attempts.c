#include "attempts.h"

#include "bytes.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_MS  1000
#define PRUNE_ROWS 5000 /* in a step: see db_begin_freeing */

#define LIFTED_TABLE                                                                               \
    "CREATE TABLE lifted (epoch INTEGER NOT NULL, channel INTEGER NOT NULL, seq INTEGER NOT NULL," \
    " idx INTEGER NOT NULL, time_ms INTEGER NOT NULL, PRIMARY KEY (epoch, channel, seq, idx))"     \
    " WITHOUT ROWID"

const char attempts_table[] =
    "CREATE TABLE attempt (key BLOB PRIMARY KEY, epoch INTEGER NOT NULL, "
    " channel INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL, "
    " duration_s INTEGER NOT NULL, at_epoch INTEGER, at_seq INTEGER, at_idx INTEGER)"
    " WITHOUT ROWID;" LIFTED_TABLE;

const char attempts_6[] = LIFTED_TABLE;

const char attempts_rekeyed[] = "DELETE FROM attempt";

struct attempts {
    db_t *db;
    sqlite3_stmt *claim;
    sqlite3_stmt *find;
    sqlite3_stmt *near;
    sqlite3_stmt *move;
    sqlite3_stmt *lift;
    sqlite3_stmt *is_lifted;
    sqlite3_stmt *walk;
    sqlite3_stmt *forget;
    sqlite3_stmt *forget_lifted;
    uint8_t pruned_to[ATTEMPTS_KEY_BYTES]; /* by the steps of a prune that is not done */
};

/* The time stands first, 48 bits of it: bans come in roughly by time, so new rows go to the right
 * edge of the tree. With a plain hash each would dirty a page of its own. */
void attempts_key(const ban_t *ban, uint8_t key[static ATTEMPTS_KEY_BYTES])
{
    uint8_t id[EVENT_NAME_MAX + 2 + 16 + 8] = {0};
    uint8_t hash[ATTEMPTS_KEY_BYTES];
    size_t used = strnlen(ban->jail, EVENT_NAME_MAX);
    memcpy(id, ban->jail, used);
    id[used++] = '/'; /* not in a jail's name: no two tuples have one encoding */
    id[used++] = ban->address.prefix;
    memcpy(id + used, ban->address.bytes, addr_size(&ban->address));
    used += addr_size(&ban->address);
    put_u64(id + used, (uint64_t)ban->time_ms);
    crypto_generichash(hash, sizeof hash, id, used + 8, NULL, 0);
    put_u64(key, (uint64_t)ban->time_ms << 16);
    memcpy(key + 6, hash, ATTEMPTS_KEY_BYTES - 6);
}

attempts_t *attempts_new(db_t *db)
{
    attempts_t *self = xcalloc(1, sizeof *self);
    self->db = db;
    self->find = db_prepare(db, "SELECT epoch, channel, seq, idx, duration_s, at_epoch, at_seq, "
                                "at_idx FROM attempt WHERE key = ?");
    self->near = db_prepare(db, "SELECT key FROM attempt WHERE key >= ? AND key < ?");
    self->claim = db_prepare(db, "INSERT OR IGNORE INTO attempt (key, epoch, channel, seq, idx, "
                                 "duration_s) VALUES (?, ?, ?, ?, ?, ?)");
    self->move = db_prepare(db, "UPDATE attempt SET duration_s = ?, at_epoch = ?, at_seq = ?, "
                                "at_idx = ? WHERE key = ?");
    self->lift = db_prepare(db, "INSERT OR IGNORE INTO lifted (epoch, channel, seq, idx, time_ms) "
                                "VALUES (?, ?, ?, ?, ?)");
    self->is_lifted = db_prepare(db, "SELECT 1 FROM lifted WHERE epoch = ? AND channel = ? AND "
                                     "seq = ? AND idx = ?");
    self->walk = db_prepare(db, "SELECT key, duration_s FROM attempt WHERE key > ? AND key < ? "
                                "ORDER BY key LIMIT ?");
    self->forget = db_prepare(db, "DELETE FROM attempt WHERE key = ?");
    self->forget_lifted = db_prepare(db, "DELETE FROM lifted WHERE time_ms < ?");
    return self;
}

void attempts_destroy(attempts_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

int attempts_find(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES], attempt_t *out)
{
    sqlite3_bind_blob(self->find, 1, key, ATTEMPTS_KEY_BYTES, SQLITE_STATIC);
    int rc = db_step(self->db, self->find);
    if (rc != 1)
        return rc;
    out->position.epoch = (uint64_t)sqlite3_column_int64(self->find, 0);
    out->position.channel = (uint32_t)sqlite3_column_int64(self->find, 1);
    out->position.seq = (uint64_t)sqlite3_column_int64(self->find, 2);
    out->position.index = (uint32_t)sqlite3_column_int64(self->find, 3);
    out->duration_s = sqlite3_column_int64(self->find, 4);
    out->place = out->position;
    if (sqlite3_column_type(self->find, 5) != SQLITE_NULL) {
        out->place.epoch = (uint64_t)sqlite3_column_int64(self->find, 5);
        out->place.seq = (uint64_t)sqlite3_column_int64(self->find, 6);
        out->place.index = (uint32_t)sqlite3_column_int64(self->find, 7);
    }
    sqlite3_reset(self->find);
    return 1;
}

/* Every key says its time; with that the rest of it shows whether it is of that jail and address.
 */
static bool is_of(const uint8_t *key, const ban_t *ban)
{
    uint8_t its[ATTEMPTS_KEY_BYTES];
    ban_t then = *ban;
    then.time_ms = (int64_t)(get_u64(key) >> 16);
    attempts_key(&then, its);
    return memcmp(key, its, sizeof its) == 0;
}

static int find_in_second(attempts_t *self, const ban_t *ban, uint8_t key[ATTEMPTS_KEY_BYTES])
{
    uint8_t first[ATTEMPTS_KEY_BYTES] = {0};
    uint8_t end[ATTEMPTS_KEY_BYTES] = {0};
    bool found = false;
    int rc;
    put_u64(first, (uint64_t)(ban->time_ms - SECOND_MS / 2) << 16);
    put_u64(end, (uint64_t)(ban->time_ms + SECOND_MS / 2 + 1) << 16);
    sqlite3_bind_blob(self->near, 1, first, sizeof first, SQLITE_STATIC);
    sqlite3_bind_blob(self->near, 2, end, sizeof end, SQLITE_STATIC);
    while ((rc = db_step(self->db, self->near)) == 1) {
        const uint8_t *row = sqlite3_column_blob(self->near, 0);
        if (row == NULL || sqlite3_column_bytes(self->near, 0) != ATTEMPTS_KEY_BYTES ||
            !is_of(row, ban))
            continue;
        memcpy(key, row, ATTEMPTS_KEY_BYTES);
        found = true;
    }
    return rc == -1 ? -1 : found;
}

static int find_at(attempts_t *self, const ban_t *ban, int64_t time_ms, attempt_t *out)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    ban_t then = *ban;
    then.time_ms = time_ms;
    attempts_key(&then, key);
    return attempts_find(self, key, out);
}

int attempts_find_near(attempts_t *self, const ban_t *ban, attempt_t *out)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    int64_t rest_ms = ban->time_ms % SECOND_MS;
    int rc = find_at(self, ban, ban->time_ms, out);
    if (rc != 0 || ban->time_ms < SECOND_MS)
        return rc;
    if (rest_ms != 0)
        return find_at(self, ban, ban->time_ms - rest_ms, out);
    rc = find_in_second(self, ban, key);
    if (rc == 1)
        return attempts_find(self, key, out);
    return rc == 0 ? find_at(self, ban, ban->time_ms - SECOND_MS, out) : rc;
}

int attempts_claim(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES],
                   const attempt_t *attempt)
{
    sqlite3_bind_blob(self->claim, 1, key, ATTEMPTS_KEY_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(self->claim, 2, (int64_t)attempt->position.epoch);
    sqlite3_bind_int64(self->claim, 3, attempt->position.channel);
    sqlite3_bind_int64(self->claim, 4, (int64_t)attempt->position.seq);
    sqlite3_bind_int64(self->claim, 5, attempt->position.index);
    sqlite3_bind_int64(self->claim, 6, attempt->duration_s);
    if (db_step(self->db, self->claim) == -1)
        return -1;
    return db_changed(self->db) > 0;
}

int attempts_move(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES],
                  const event_position_t *place, int64_t duration_s)
{
    sqlite3_bind_int64(self->move, 1, duration_s);
    sqlite3_bind_int64(self->move, 2, (int64_t)place->epoch);
    sqlite3_bind_int64(self->move, 3, (int64_t)place->seq);
    sqlite3_bind_int64(self->move, 4, place->index);
    sqlite3_bind_blob(self->move, 5, key, ATTEMPTS_KEY_BYTES, SQLITE_STATIC);
    return db_step(self->db, self->move);
}

static void bind_position(sqlite3_stmt *statement, const event_position_t *position)
{
    sqlite3_bind_int64(statement, 1, (int64_t)position->epoch);
    sqlite3_bind_int64(statement, 2, position->channel);
    sqlite3_bind_int64(statement, 3, (int64_t)position->seq);
    sqlite3_bind_int64(statement, 4, position->index);
}

int attempts_lift(attempts_t *self, const event_position_t *position, int64_t time_ms)
{
    bind_position(self->lift, position);
    sqlite3_bind_int64(self->lift, 5, time_ms);
    if (db_step(self->db, self->lift) == -1)
        return -1;
    return db_changed(self->db) > 0;
}

int attempts_is_lifted(attempts_t *self, const event_position_t *position)
{
    bind_position(self->is_lifted, position);
    int rc = db_step(self->db, self->is_lifted);
    if (rc == 1)
        sqlite3_reset(self->is_lifted);
    return rc;
}

/* ---- what is known from a feed ---- */

static bool is_forgotten(int64_t time_ms, int64_t duration_s, wall_t now)
{
    const ban_t ban = {.time_ms = time_ms, .duration_s = duration_s};
    return time_ms < now.ms - ATTEMPTS_KEPT_MS && ban_end_ms(&ban) <= now.ms;
}

static int learn_ban(attempts_t *self, const ban_t *ban, const event_position_t *position,
                     wall_t now)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    attempt_t attempt = {.position = *position, .duration_s = ban->duration_s};
    if (is_forgotten(ban->time_ms, ban->duration_s, now))
        return 1;
    attempts_key(ban, key);
    int claimed = attempts_claim(self, key, &attempt);
    if (claimed != 0)
        return claimed;
    if (attempts_find(self, key, &attempt) != 1)
        return -1;
    if (!ban_is_longer(ban->duration_s, attempt.duration_s))
        return !event_position_equal(&attempt.position, position);
    return attempts_move(self, key, &attempt.place, ban->duration_s) == -1 ? -1 : 1;
}

static int learn_pardon(attempts_t *self, const grace_t *pardon)
{
    bool is_new = pardon->ban_count == 0;
    for (size_t i = 0; i < pardon->ban_count; i++) {
        int rc = attempts_lift(self, &pardon->bans[i], pardon->time_ms);
        if (rc == -1)
            return -1;
        is_new = is_new || rc == 1;
    }
    return is_new;
}

int attempts_learn(attempts_t *self, const event_t *event, wall_t now)
{
    if (event->kind == EVENT_BAN)
        return learn_ban(self, &event->ban, &event->original, now);
    return event->kind == EVENT_PARDON ? learn_pardon(self, &event->grace) : 1;
}

/* ---- what is old ---- */

/* Those of a step that are to be forgotten. */
typedef struct {
    uint8_t keys[PRUNE_ROWS][ATTEMPTS_KEY_BYTES];
    size_t count;
    size_t passed;
} old_t;

static int find_old(attempts_t *self, wall_t now, old_t *old)
{
    uint8_t end[ATTEMPTS_KEY_BYTES] = {0};
    int rc;
    old->count = old->passed = 0;
    if (now.ms > ATTEMPTS_KEPT_MS)
        put_u64(end, (uint64_t)(now.ms - ATTEMPTS_KEPT_MS) << 16);
    sqlite3_bind_blob(self->walk, 1, self->pruned_to, ATTEMPTS_KEY_BYTES, SQLITE_TRANSIENT);
    sqlite3_bind_blob(self->walk, 2, end, sizeof end, SQLITE_STATIC);
    sqlite3_bind_int(self->walk, 3, PRUNE_ROWS);
    while ((rc = db_step(self->db, self->walk)) == 1) {
        const uint8_t *key = sqlite3_column_blob(self->walk, 0);
        if (key == NULL || sqlite3_column_bytes(self->walk, 0) != ATTEMPTS_KEY_BYTES)
            continue;
        memcpy(self->pruned_to, key, ATTEMPTS_KEY_BYTES);
        old->passed++;
        if (is_forgotten((int64_t)(get_u64(key) >> 16), sqlite3_column_int64(self->walk, 1), now))
            memcpy(old->keys[old->count++], key, ATTEMPTS_KEY_BYTES);
    }
    return rc;
}

static int forget(attempts_t *self, const old_t *old)
{
    if (db_begin_freeing(self->db) == -1)
        return -1;
    for (size_t i = 0; i < old->count; i++) {
        sqlite3_bind_blob(self->forget, 1, old->keys[i], ATTEMPTS_KEY_BYTES, SQLITE_STATIC);
        if (db_step(self->db, self->forget) == -1) {
            int saved = errno;
            db_rollback(self->db);
            errno = saved;
            return -1;
        }
    }
    return db_commit(self->db);
}

/* As long as their pardons are kept (compaction.h). */
static int prune_lifted(attempts_t *self, wall_t now)
{
    sqlite3_bind_int64(self->forget_lifted, 1, now.ms - EVENT_GRACE_MAX_MS);
    return db_step(self->db, self->forget_lifted);
}

int attempts_prune(attempts_t *self, wall_t now)
{
    old_t *old = xmalloc(sizeof *old);
    int rc = find_old(self, now, old);
    bool is_more = rc == 0 && old->passed == PRUNE_ROWS;
    if (rc == 0 && old->count > 0)
        rc = forget(self, old);
    free(old);
    if (!is_more)
        memset(self->pruned_to, 0, sizeof self->pruned_to);
    if (rc == 0 && !is_more)
        rc = prune_lifted(self, now);
    return rc == 0 ? is_more : -1;
}
