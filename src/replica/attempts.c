#include "attempts.h"

#include "bytes.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

const char attempts_table[] =
    "CREATE TABLE attempt (key BLOB PRIMARY KEY, epoch INTEGER NOT NULL, "
    " channel INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL, "
    " duration_s INTEGER NOT NULL, at_epoch INTEGER, at_seq INTEGER, at_idx INTEGER)"
    " WITHOUT ROWID";

const char attempts_rekeyed[] = "DELETE FROM attempt";

struct attempts {
    db_t *db;
    sqlite3_stmt *claim;
    sqlite3_stmt *find;
    sqlite3_stmt *move;
    sqlite3_stmt *prune;
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
    self->claim = db_prepare(db, "INSERT OR IGNORE INTO attempt (key, epoch, channel, seq, idx, "
                                 "duration_s) VALUES (?, ?, ?, ?, ?, ?)");
    self->move = db_prepare(db, "UPDATE attempt SET duration_s = ?, at_epoch = ?, at_seq = ?, "
                                "at_idx = ? WHERE key = ?");
    self->prune = db_prepare(
        db,
        "DELETE FROM attempt WHERE key IN "
        "(SELECT key FROM attempt WHERE key < ? LIMIT 5000)"); /* in pieces: see db_begin_freeing */
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

int attempts_learn(attempts_t *self, const ban_t *ban, const event_position_t *position, wall_t now)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    attempt_t attempt = {.position = *position, .duration_s = ban->duration_s};
    if (ban->time_ms < now.ms - ATTEMPTS_KEPT_MS)
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

int attempts_prune(attempts_t *self, wall_t now)
{
    uint8_t first[ATTEMPTS_KEY_BYTES] = {0};
    if (now.ms > ATTEMPTS_KEPT_MS)
        put_u64(first, (uint64_t)(now.ms - ATTEMPTS_KEPT_MS) << 16);
    sqlite3_bind_blob(self->prune, 1, first, sizeof first, SQLITE_STATIC);
    int rc;
    do {
        rc = db_step(self->db, self->prune);
    } while (rc == 0 && db_changed(self->db) > 0);
    return rc;
}
