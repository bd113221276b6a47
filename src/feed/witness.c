#include "witness.h"

#include "bytes.h"
#include "feed_ref.h"
#include "log.h"

#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX      "-newest"
#define SUMMED      16 /* epoch, seq */
#define RECORD_SIZE (SUMMED + crypto_shorthash_BYTES)

struct witness {
    int fd;
};

static const char *name_of(const char *path, char name[static PATH_MAX])
{
    snprintf(name, PATH_MAX, "%s" SUFFIX, path);
    return name;
}

static void sum(const uint8_t record[static SUMMED], uint8_t out[static crypto_shorthash_BYTES])
{
    static const uint8_t key[crypto_shorthash_KEYBYTES] = "own.db-newest";
    crypto_shorthash(out, record, SUMMED, key);
}

witness_t *witness_new(const char *path)
{
    char name[PATH_MAX];
    witness_t *self = xcalloc(1, sizeof *self);
    self->fd = open(name_of(path, name), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return self;
}

void witness_destroy(witness_t **self_p)
{
    if (*self_p == NULL)
        return;
    if ((*self_p)->fd != -1)
        close((*self_p)->fd);
    free(*self_p);
    *self_p = NULL;
}

void witness_note(witness_t *self, uint64_t epoch, uint64_t seq)
{
    uint8_t record[RECORD_SIZE];
    put_u64(record, epoch);
    put_u64(record + 8, seq);
    sum(record, record + SUMMED);
    /* On a full disk the older one stays. */
    if (self->fd != -1 && pwrite(self->fd, record, sizeof record, 0) == -1)
        return;
}

static bool read_record(const char *path, uint64_t *epoch, uint64_t *seq)
{
    char name[PATH_MAX];
    uint8_t record[RECORD_SIZE];
    uint8_t expected[crypto_shorthash_BYTES];
    int fd = open(name_of(path, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool is_whole = fd != -1 && pread(fd, record, sizeof record, 0) == sizeof record;
    if (fd != -1)
        close(fd);
    if (!is_whole)
        return false;
    sum(record, expected);
    *epoch = get_u64(record);
    *seq = get_u64(record + 8);
    return memcmp(expected, record + SUMMED, sizeof expected) == 0;
}

/* How far an epoch is in the database, or farther if there is a later one: the record was written
 * before that began, and all is in order. Also if it cannot be read: then opening it says so. */
static uint64_t ask(sqlite3 *handle, uint64_t epoch)
{
    sqlite3_stmt *row = NULL;
    uint64_t have = FEED_SEQ_MAX;
    int rc = sqlite3_prepare_v2(handle,
                                "SELECT epoch, (SELECT max (id) FROM batch WHERE "
                                "id BETWEEN number << 40 AND number << 40 | 1099511627775) "
                                "FROM feed NOT INDEXED WHERE epoch >= ? ORDER BY epoch LIMIT 1",
                                -1, &row, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(row, 1, (int64_t)epoch);
        rc = sqlite3_step(row);
    }
    if (rc == SQLITE_DONE)
        have = 0;
    else if (rc == SQLITE_ROW && (uint64_t)sqlite3_column_int64(row, 0) == epoch)
        have = (uint64_t)sqlite3_column_int64(row, 1) & FEED_SEQ_MAX;
    sqlite3_finalize(row);
    return have;
}

/* A connection that changes nothing: what was damaged is to be set aside as it is, and any other
 * would bring the log into the file, as far as it can, and cut it off. */
uint64_t witness_missing(const char *path)
{
    sqlite3 *handle = NULL;
    uint64_t epoch;
    uint64_t seq;
    uint64_t have = FEED_SEQ_MAX;
    if (!read_record(path, &epoch, &seq))
        return 0;
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK) {
        sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        have = ask(handle, epoch);
    }
    sqlite3_close(handle);
    return have < seq ? seq - have : 0;
}

bool witness_is_there(const char *path)
{
    uint64_t epoch;
    uint64_t seq;
    return read_record(path, &epoch, &seq);
}

void witness_forget(const char *path)
{
    char name[PATH_MAX];
    unlink(name_of(path, name));
}
