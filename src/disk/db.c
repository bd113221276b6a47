#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DB_APPLICATION_ID 0x626d7368 /* "bmsh": tells file (1) and us whose it is */
#define DB_CACHE_KIB      2048
#define DB_BUSY_MS        250  /* another process holds it: the loop does not wait for long */
#define DB_WAL_PAGES      1000 /* of the write-ahead log before it is brought into the file */
#define DB_WAL_PAGES_MIN  100
#define DB_WAL_KEPT_BYTES (8 * 1024 * 1024) /* of it, once it is empty; the rest is given back */
#define DB_MARK           "-check"

struct db {
    sqlite3 *handle;
    char *path;
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
    sqlite3_stmt *free_pages;
    int log_pages;
    bool frozen;
    bool full;       /* since db_take_full */
    fault_t words;   /* what db_error returns */
    fault_t failure; /* the last EIO or EBADMSG */
};

/* ---- errors ---- */

/* SQLite says FULL for ENOSPC where it writes pages, and an I/O error for all else that is want of
 * room: a quota, or its shared-memory file. A failed sync is none, whatever the reason. */
static bool is_want_of_room(sqlite3 *handle, int code)
{
    int error = sqlite3_system_errno(handle);
    switch (code) {
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_READ:
    case SQLITE_IOERR_SHORT_READ:
        return false;
    case SQLITE_IOERR_SHMSIZE: /* its errno may be another's by now, and nothing is lost with it */
        return true;
    default:
        return error == ENOSPC || error == EDQUOT;
    }
}

static int errno_of(sqlite3 *handle, int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return EBADMSG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return EBUSY;
    case SQLITE_READONLY:
        return EROFS;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return is_want_of_room(handle, sqlite3_extended_errcode(handle)) ? ENOSPC : EIO;
    default:
        return EIO;
    }
}

/* What SQLite calls a disk I/O error, more closely: its code says which operation failed, and the
 * system why. */
static void describe(const db_t *self, fault_t *fault)
{
    static const char *const operations[] = {
        [SQLITE_IOERR_READ >> 8] = "read",         [SQLITE_IOERR_SHORT_READ >> 8] = "read",
        [SQLITE_IOERR_WRITE >> 8] = "write",       [SQLITE_IOERR_FSYNC >> 8] = "sync",
        [SQLITE_IOERR_DIR_FSYNC >> 8] = "sync",    [SQLITE_IOERR_TRUNCATE >> 8] = "truncate",
        [SQLITE_IOERR_SHMOPEN >> 8] = "open -shm", [SQLITE_IOERR_SHMSIZE >> 8] = "grow -shm",
        [SQLITE_IOERR_SHMMAP >> 8] = "map -shm",
    };
    int code = sqlite3_extended_errcode(self->handle);
    size_t detail = (size_t)code >> 8;
    const char *words = sqlite3_errmsg(self->handle);
    if (errno_of(self->handle, code) == ENOSPC)
        fault_set(fault, "%s: %s", self->path, sqlite3_errstr(SQLITE_FULL));
    else if ((code & 0xff) != SQLITE_IOERR)
        fault_set(fault, "%s: %s", self->path, words);
    else if (detail < sizeof operations / sizeof operations[0] && operations[detail] != NULL)
        fault_set(fault, "%s: %s (%s)", self->path, words, operations[detail]);
    else
        fault_set(fault, "%s: %s (%d)", self->path, words, code);
}

static void mark(const db_t *self)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s" DB_MARK, self->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd != -1)
        close(fd);
}

bool db_is_marked(const char *path)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s" DB_MARK, path);
    return access(name, F_OK) == 0;
}

void db_unmark(const char *path)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s" DB_MARK, path);
    unlink(name);
}

void db_fail(db_t *self, const char *format, ...)
{
    char text[FAULT_TEXT_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fault_set(&self->failure, "%s: %s", self->path, text);
    mark(self);
    errno = EBADMSG;
}

/* Every error passes here. Returns -1 with errno. */
static int note_error(db_t *self, int code)
{
    int error = errno_of(self->handle, code);
    if (error == ENOSPC)
        self->full = true;
    if (error == EIO || error == EBADMSG) {
        describe(self, &self->failure);
        mark(self);
    }
    errno = error;
    return -1;
}

const char *db_error(db_t *self)
{
    describe(self, &self->words);
    return self->words.text;
}

const char *db_failure(const db_t *self)
{
    return self->failure.text[0] != '\0' ? self->failure.text : NULL;
}

const char *db_path(const db_t *self)
{
    return self->path;
}

int64_t db_log_bytes(const char *path)
{
    char name[PATH_MAX];
    struct stat status;
    snprintf(name, sizeof name, "%s-wal", path);
    return stat(name, &status) == 0 ? status.st_size : 0;
}

/* ---- opening ---- */

static int fail(db_t *self, int code, fault_t *fault)
{
    fault_set(fault, "%s", db_error(self));
    errno = errno_of(self->handle, code);
    return -1;
}

static int run(db_t *self, const char *sql, fault_t *fault)
{
    int rc = sqlite3_exec(self->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(self, rc, fault);
}

static int read_number(db_t *self, const char *sql, int64_t *out, fault_t *fault)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(self->handle, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    int result = rc == SQLITE_ROW ? 0 : fail(self, rc, fault);
    /* "unsupported file format": nothing else can be wrong with a number that is only read. */
    int saved = (rc & 0xff) == SQLITE_ERROR ? EBADMSG : errno;
    sqlite3_finalize(statement);
    errno = saved;
    return result;
}

/* Make or upgrade, in one transaction. */
static int become(db_t *self, const char *sql, int version, fault_t *fault)
{
    char *whole = sqlite3_mprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d; "
                                  "PRAGMA user_version = %d; COMMIT",
                                  sql, DB_APPLICATION_ID, version);
    int rc = run(self, whole, fault);
    sqlite3_free(whole);
    return rc;
}

static int upgrade(db_t *self, const db_schema_t *schema, int found, fault_t *fault)
{
    for (int version = found; version < schema->version; version++) {
        const char *sql = schema->upgrades != NULL ? schema->upgrades[version] : NULL;
        if (sql == NULL) {
            errno = EINVAL;
            return fault_set(fault, "%s: schema version %d, expected %d", self->path, found,
                             schema->version);
        }
        if (become(self, sql, version + 1, fault) == -1)
            return -1;
    }
    return 0;
}

/* Whether the file has what a fresh database has: more is harmless, an operator may have added it.
 *   query   of the fresh one: one or two texts a row
 *   lookup  of the file: a row if it has that */
static int has_all(db_t *self, const db_schema_t *schema, const char *query, const char *lookup)
{
    sqlite3 *fresh = NULL;
    sqlite3_stmt *wanted = NULL;
    sqlite3_stmt *found = NULL;
    if (sqlite3_open(":memory:", &fresh) != SQLITE_OK ||
        sqlite3_exec(fresh, schema->create, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(fresh, query, -1, &wanted, NULL) != SQLITE_OK)
        fatalx("%s: %s", schema->create, sqlite3_errmsg(fresh));
    bool all = sqlite3_prepare_v2(self->handle, lookup, -1, &found, NULL) == SQLITE_OK;
    while (all && sqlite3_step(wanted) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(wanted); i++)
            sqlite3_bind_value(found, i + 1, sqlite3_column_value(wanted, i));
        all = sqlite3_step(found) == SQLITE_ROW;
        sqlite3_reset(found);
    }
    sqlite3_finalize(wanted);
    sqlite3_finalize(found);
    sqlite3_close(fresh);
    return all;
}

static bool has_tables(db_t *self, const db_schema_t *schema)
{
    return has_all(self, schema, "SELECT name FROM sqlite_master WHERE type = 'table'",
                   "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1");
}

#define COLUMN "c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk"

/* A bit that flips in the text of the schema passes every check of SQLite's. It knows its own table
 * of numbers by that text, letter for letter, and without it refuses to add a row. */
static bool has_columns(db_t *self, const db_schema_t *schema)
{
    return has_all(self, schema,
                   "SELECT m.name, " COLUMN " FROM sqlite_master m, pragma_table_info (m.name) c",
                   "SELECT 1 FROM pragma_table_info (?1) c WHERE " COLUMN " = ?2") &&
           has_all(self, schema,
                   "SELECT name, sql FROM sqlite_master WHERE name = 'sqlite_sequence'",
                   "SELECT 1 FROM sqlite_master WHERE name = ?1 AND sql = ?2");
}

static int damaged(db_t *self, const char *what, fault_t *fault)
{
    errno = EBADMSG;
    return fault_set(fault, "%s: %s", self->path, what);
}

static int check_version(db_t *self, const db_schema_t *schema, fault_t *fault)
{
    int64_t tables = 0;
    int64_t application = 0;
    int64_t found = 0;
    if (read_number(self, "SELECT count(*) FROM sqlite_master", &tables, fault) == -1 ||
        read_number(self, "PRAGMA application_id", &application, fault) == -1 ||
        read_number(self, "PRAGMA user_version", &found, fault) == -1)
        return -1;
    /* db_shrink counts on both. */
    if (tables == 0 && application == 0)
        return run(self, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL", fault) == -1
                   ? -1
                   : become(self, schema->create, schema->version, fault);
    if (application != DB_APPLICATION_ID && has_tables(self, schema))
        return damaged(self, "its header is not what was written", fault);
    if (application != DB_APPLICATION_ID) {
        errno = EINVAL;
        return fault_set(fault, "%s: a SQLite database, but not of banmesh", self->path);
    }
    if (found > schema->version) {
        errno = EINVAL;
        return fault_set(fault,
                         "%s: schema version %lld is newer than this program's %d; install the "
                         "banmesh that wrote it, or a later one",
                         self->path, (long long)found, schema->version);
    }
    if (found < schema->version && upgrade(self, schema, (int)found, fault) == -1)
        return -1;
    if (!has_columns(self, schema))
        return damaged(self, "its tables are not those that were made", fault);
    return 0;
}

/* Called behind each commit. What it returns becomes the result of the commit, which stands all the
 * same: an error that nobody hears of would let the log grow without end. */
static int empty_log(void *arg, sqlite3 *handle, const char *name, int pages)
{
    db_t *self = arg;
    if (pages < self->log_pages)
        return SQLITE_OK;
    int rc = sqlite3_wal_checkpoint_v2(handle, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_OK)
        return SQLITE_OK;
    int error = errno_of(handle, rc);
    if (error == ENOSPC)
        self->full = true;
    return error == EIO || error == EBADMSG ? rc : SQLITE_OK;
}

static int use_log(db_t *self, fault_t *fault)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(self->handle, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    bool is_used =
        rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(statement, 0), "wal") == 0;
    int result = 0;
    if (rc != SQLITE_ROW)
        result = fail(self, rc, fault);
    else if (!is_used)
        result = damaged(self, "its header does not let it be written", fault);
    int saved = errno;
    sqlite3_finalize(statement);
    errno = saved;
    return result;
}

/* secure_delete is on in Debian's SQLite: it writes zeros over what is deleted, all of it through
 * the write-ahead log, and so takes as much room as it frees. */
static int configure(db_t *self, bool durable, fault_t *fault)
{
    char *sql = sqlite3_mprintf("PRAGMA synchronous = %s; PRAGMA cache_size = -%d; "
                                "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = OFF; "
                                "PRAGMA journal_size_limit = %d",
                                durable ? "FULL" : "NORMAL", DB_CACHE_KIB, DB_WAL_KEPT_BYTES);
    int rc = run(self, sql, fault);
    sqlite3_free(sql);
    sqlite3_wal_hook(self->handle, empty_log, self);
    return rc == 0 ? use_log(self, fault) : -1;
}

static int take_over(db_t *self, fault_t *fault)
{
    if (db_checkpoint(self) == 0 || errno == EBUSY)
        return 0;
    int saved = errno;
    fault_set(fault, "%s", db_error(self));
    errno = saved;
    return -1;
}

db_t *db_open(const char *path, const db_schema_t *schema, bool durable, fault_t *fault)
{
    db_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    self->log_pages = DB_WAL_PAGES;
    int rc = sqlite3_open_v2(path, &self->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sqlite3_extended_result_codes(self->handle, 1);
    sqlite3_busy_timeout(self->handle, DB_BUSY_MS);
    /* Whose it is first: the pragmas write into the file. */
    if (rc != SQLITE_OK)
        fail(self, rc, fault);
    else if (check_version(self, schema, fault) == -1 || configure(self, durable, fault) == -1 ||
             (durable && take_over(self, fault) == -1))
        rc = -1;
    if (rc != SQLITE_OK) {
        int saved = errno;
        db_destroy(&self);
        errno = saved;
        return NULL;
    }
    self->begin = db_prepare(self, "BEGIN IMMEDIATE");
    self->commit = db_prepare(self, "COMMIT");
    self->rollback = db_prepare(self, "ROLLBACK");
    self->free_pages = db_prepare(self, "SELECT freelist_count, page_count FROM "
                                        "pragma_freelist_count, pragma_page_count");
    return self;
}

void db_destroy(db_t **self_p)
{
    db_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (sqlite3_stmt *s = sqlite3_next_stmt(self->handle, NULL); s != NULL;
         s = sqlite3_next_stmt(self->handle, NULL))
        sqlite3_finalize(s);
    sqlite3_close(self->handle);
    free(self->path);
    free(self);
}

/* ---- use ---- */

sqlite3_stmt *db_prepare(db_t *self, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(self->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK)
        fatalx("%s: %s", sql, db_error(self));
    return statement;
}

int db_step(db_t *self, sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        return 1;
    int result = rc == SQLITE_DONE ? 0 : note_error(self, rc);
    int saved = errno;
    sqlite3_reset(statement);
    errno = saved;
    return result;
}

int64_t db_changed(db_t *self)
{
    return sqlite3_changes64(self->handle);
}

int db_begin(db_t *self)
{
    if (self->frozen) {
        errno = ENOSPC;
        return -1;
    }
    return db_step(self, self->begin);
}

int db_begin_freeing(db_t *self)
{
    return db_step(self, self->begin);
}

int db_commit(db_t *self)
{
    int rc = db_step(self, self->commit);
    if (rc == -1) {
        int saved = errno;
        db_rollback(self);
        errno = saved;
    }
    return rc;
}

void db_rollback(db_t *self)
{
    if (sqlite3_get_autocommit(self->handle) == 0)
        db_step(self, self->rollback);
}

void db_freeze(db_t *self, bool frozen)
{
    self->frozen = frozen;
}

bool db_is_frozen(const db_t *self)
{
    return self->frozen;
}

bool db_take_full(db_t *self)
{
    bool full = self->full;
    self->full = false;
    return full;
}

void db_be_sparing(db_t *self, bool sparing)
{
    self->log_pages = sparing ? DB_WAL_PAGES_MIN : DB_WAL_PAGES;
}

int64_t db_free_pages(db_t *self, int64_t *all)
{
    int64_t free_pages = 0;
    *all = 0;
    if (db_step(self, self->free_pages) == 1) {
        free_pages = sqlite3_column_int64(self->free_pages, 0);
        *all = sqlite3_column_int64(self->free_pages, 1);
        sqlite3_reset(self->free_pages);
    }
    return free_pages;
}

int db_shrink(db_t *self, int pages)
{
    char *sql = sqlite3_mprintf("PRAGMA incremental_vacuum (%d)", pages);
    sqlite3_stmt *statement = db_prepare(self, sql);
    int rc;
    while ((rc = db_step(self, statement)) == 1)
        continue;
    int saved = errno;
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    errno = saved;
    return rc;
}

int db_checkpoint(db_t *self)
{
    int rc = sqlite3_wal_checkpoint_v2(self->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return rc == SQLITE_OK ? 0 : note_error(self, rc);
}
