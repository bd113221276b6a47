#include "parts.h"

#include "curve_pair.h"
#include "log.h"
#include "measure.h"

#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 120

typedef struct {
    sqlite3 *handle;
    sqlite3_stmt *add;
} rows_t;

struct parts {
    const char *empty;
    rows_t full;
    rows_t normal;
    int log_fd;
    char line[LINE_BYTES];
    curve_pair_t *pair;
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
    uint8_t signature[crypto_sign_BYTES];
    uint8_t message[PARTS_MESSAGE_BYTES];
};

static void open_rows(rows_t *rows, const char *directory, const char *synchronous)
{
    char path[PATH_MAX];
    char sql[200];
    snprintf(path, sizeof path, "%s/raw-%s.db", directory, synchronous);
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = %s;"
             "CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
             synchronous);
    if (sqlite3_open(path, &rows->handle) != SQLITE_OK ||
        sqlite3_exec(rows->handle, sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(rows->handle, "INSERT INTO row (bytes) VALUES (?)", -1, &rows->add,
                           NULL) != SQLITE_OK)
        fatalx("%s: %s", path, sqlite3_errmsg(rows->handle));
}

static void close_rows(rows_t *rows)
{
    sqlite3_finalize(rows->add);
    sqlite3_close(rows->handle);
}

parts_t *parts_new(const char *directory, const char *empty)
{
    char path[PATH_MAX];
    parts_t *self = xcalloc(1, sizeof *self);
    self->empty = empty;
    open_rows(&self->full, directory, "FULL");
    open_rows(&self->normal, directory, "NORMAL");
    snprintf(path, sizeof path, "%s/raw.log", directory);
    self->log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (self->log_fd == -1)
        fatal("%s", path);
    memset(self->line, 'x', sizeof self->line);
    self->line[LINE_BYTES - 1] = '\n';
    self->pair = curve_pair_new();
    randombytes_buf(self->message, sizeof self->message);
    crypto_sign_keypair(self->public_key, self->secret_key);
    return self;
}

void parts_destroy(parts_t **self_p)
{
    parts_t *self = *self_p;
    *self_p = NULL;
    close_rows(&self->full);
    close_rows(&self->normal);
    close(self->log_fd);
    curve_pair_destroy(&self->pair);
    free(self);
}

static void run_empty(parts_t *self)
{
    const char *const argv[] = {self->empty, NULL};
    process_wait(process_start(argv), self->empty);
}

static void commit(const parts_t *self, const rows_t *rows)
{
    sqlite3_bind_blob(rows->add, 1, self->message, sizeof self->message, SQLITE_STATIC);
    if (sqlite3_step(rows->add) != SQLITE_DONE)
        fatalx("%s", sqlite3_errmsg(rows->handle));
    sqlite3_reset(rows->add);
}

static void commit_full(parts_t *self)
{
    commit(self, &self->full);
}

static void commit_normal(parts_t *self)
{
    commit(self, &self->normal);
}

static void sign(parts_t *self)
{
    crypto_sign_detached(self->signature, NULL, self->message, sizeof self->message,
                         self->secret_key);
}

static void verify(parts_t *self)
{
    if (crypto_sign_verify_detached(self->signature, self->message, sizeof self->message,
                                    self->public_key) != 0)
        fatalx("a signature of our own does not verify");
}

static void cross(parts_t *self)
{
    curve_pair_send(self->pair, self->message, sizeof self->message);
    curve_pair_receive(self->pair);
}

static void write_line(parts_t *self)
{
    if (write(self->log_fd, self->line, LINE_BYTES) != LINE_BYTES || fdatasync(self->log_fd) == -1)
        fatal("raw.log");
}

static const struct {
    const char *name;
    void (*run)(parts_t *self);
} table[PART_COUNT] = {
    [PART_PROCESS] = {"process", run_empty},
    [PART_COMMIT_FULL] = {"commit-full", commit_full},
    [PART_SIGN] = {"sign", sign},
    [PART_CURVE] = {"curve", cross},
    [PART_VERIFY] = {"verify", verify},
    [PART_COMMIT_NORMAL] = {"commit-normal", commit_normal},
    [PART_LINE] = {"line", write_line},
};

const char *part_name(part_t part)
{
    return table[part].name;
}

int64_t parts_time(parts_t *self, part_t part)
{
    int64_t start = now_ns();
    table[part].run(self);
    return now_ns() - start;
}
