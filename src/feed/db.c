#include "db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DB_APPLICATION_ID 0x626d7368 /* "bmsh": tells file (1) and us whose it is */
#define DB_CACHE_KIB      2048
#define DB_BUSY_MS        250 /* another process holds it: the loop does not wait for long */

struct db {
    sqlite3 *handle;
    char *path;
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
};

static int errno_of(int code)
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
    default:
        return EIO;
    }
}

static int fail(db_t *self, fault_t *fault)
{
    return fault_set(fault, "%s: %s", self->path, db_error(self));
}

static int run(db_t *self, const char *sql, fault_t *fault)
{
    return sqlite3_exec(self->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(self, fault);
}

static int read_number(db_t *self, const char *sql, int64_t *out, fault_t *fault)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(self->handle, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? 0 : fail(self, fault);
}

static int create(db_t *self, const char *schema, int version, fault_t *fault)
{
    char *sql = sqlite3_mprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d; "
                                "PRAGMA user_version = %d; COMMIT",
                                schema, DB_APPLICATION_ID, version);
    int rc = run(self, sql, fault);
    sqlite3_free(sql);
    return rc;
}

static int check_version(db_t *self, const char *schema, int version, fault_t *fault)
{
    int64_t tables = 0;
    int64_t application = 0;
    int64_t found = 0;
    if (read_number(self, "SELECT count(*) FROM sqlite_master", &tables, fault) == -1 ||
        read_number(self, "PRAGMA application_id", &application, fault) == -1 ||
        read_number(self, "PRAGMA user_version", &found, fault) == -1)
        return -1;
    if (tables == 0 && application == 0)
        return create(self, schema, version, fault);
    if (application != DB_APPLICATION_ID)
        return fault_set(fault, "%s: a SQLite database, but not of banmesh", self->path);
    if (found > version)
        return fault_set(fault,
                         "%s: schema version %lld is newer than this program's %d; install the "
                         "banmesh that wrote it, or a later one",
                         self->path, (long long)found, version);
    if (found < version)
        return fault_set(fault, "%s: schema version %lld, expected %d", self->path,
                         (long long)found, version);
    return 0;
}

static int configure(db_t *self, bool durable, fault_t *fault)
{
    char *sql = sqlite3_mprintf("PRAGMA journal_mode = WAL; PRAGMA synchronous = %s; "
                                "PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY",
                                durable ? "FULL" : "NORMAL", DB_CACHE_KIB);
    int rc = run(self, sql, fault);
    sqlite3_free(sql);
    return rc;
}

db_t *db_open(const char *path, const char *schema, int version, bool durable, fault_t *fault)
{
    db_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    int rc = sqlite3_open_v2(path, &self->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sqlite3_busy_timeout(self->handle, DB_BUSY_MS);
    /* Whose it is first: the pragmas write into the file. */
    if (rc != SQLITE_OK)
        fail(self, fault);
    else if (check_version(self, schema, version, fault) == -1 ||
             configure(self, durable, fault) == -1)
        rc = -1;
    if (rc != SQLITE_OK) {
        db_destroy(&self);
        return NULL;
    }
    self->begin = db_prepare(self, "BEGIN IMMEDIATE");
    self->commit = db_prepare(self, "COMMIT");
    self->rollback = db_prepare(self, "ROLLBACK");
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

sqlite3_stmt *db_prepare(db_t *self, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(self->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) !=
        SQLITE_OK)
        fatalx("%s: %s: %s", self->path, sql, db_error(self));
    return statement;
}

int db_step(db_t *self, sqlite3_stmt *statement)
{
    (void)self;
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        return 1;
    sqlite3_reset(statement);
    if (rc == SQLITE_DONE)
        return 0;
    errno = errno_of(rc);
    return -1;
}

int64_t db_changed(db_t *self)
{
    return sqlite3_changes64(self->handle);
}

int db_begin(db_t *self)
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

const char *db_error(db_t *self)
{
    return sqlite3_errmsg(self->handle);
}
