/* db - a SQLite database as we use it: WAL, versioned, errors as errno.
 * Owns the connection and the pragmas; knows no table. Loop thread only. */
#ifndef BANMESH_DISK_DB_H
#define BANMESH_DISK_DB_H

#include "log.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct db db_t;

/* The tables of a database. */
typedef struct {
    int version;
    const char *create; /* SQL that makes all of them in an empty database */
    /* upgrades[v]: SQL that makes version v + 1 of version v; NULL: there is no way */
    const char *const *upgrades;
} db_schema_t;

/* Open or create.
 *   durable  true: a commit is on disk when db_commit returns (synchronous=FULL), and what an
 *            earlier process left in the write-ahead log is brought into the file first: that
 *            process may have died of a failed sync, and what the kernel then holds is no proof
 *            of what the disk holds;
 *            false: a power loss may take the last commits, but never tears one (NORMAL)
 * NULL with the fault and errno:
 * EBADMSG the file is damaged, also if its tables are not those of the schema
 * EINVAL  not ours, or of a newer version
 * ENOSPC, EIO, EBUSY as db_step, or what the system said */
db_t *db_open(const char *path, const db_schema_t *schema, bool durable, fault_t *fault);

/* Statements prepared here are finalised, too. */
void db_destroy(db_t **self_p);

/* A statement that lives as long as the database. Wrong SQL is a broken invariant: fatal. */
sqlite3_stmt *db_prepare(db_t *self, const char *sql);

/* Step a statement. Returns 1 on a row; 0 when done, and the statement is reset; -1, reset, errno:
 * ENOSPC  disk full, nothing kept, try again later
 * EIO     the state of the last transaction is unknown: stop and start anew
 * EBADMSG the file is damaged: the same
 * EBUSY   another process holds it (an operator's sqlite3): try again later */
int db_step(db_t *self, sqlite3_stmt *statement);

/* Rows that the last INSERT, UPDATE or DELETE changed. */
int64_t db_changed(db_t *self);

/* A transaction. begin and commit return 0, or -1 and errno as above; a failed commit is rolled
 * back. rollback is silent and harmless outside a transaction. */
int db_begin(db_t *self);
int db_commit(db_t *self);
void db_rollback(db_t *self);

/* ---- room ---- */

/* A transaction that leaves more room than it takes: begins though the database is frozen. Deleting
 * small rows writes every page that they stood on into the write-ahead log: with the disk full a
 * transaction must not delete more than about 1 MiB of them. */
int db_begin_freeing(db_t *self);

/* While it is frozen, db_begin fails with ENOSPC and tries nothing: what room there is must stay
 * for what makes more. Single statements go on. */
void db_freeze(db_t *self, bool frozen);
bool db_is_frozen(const db_t *self);

/* Whether a write, or the emptying of the write-ahead log behind a commit, failed for want of room
 * since the last call. */
bool db_take_full(db_t *self);

/* While room is scarce the write-ahead log is kept short. */
void db_be_sparing(db_t *self, bool sparing);

/* Give back room that deleted rows left inside the file: at most that many pages, in one commit
 * that writes about twice as many. 0, or -1 and errno as db_step. db_free_pages: how many there
 * are, and of how many in all. */
int db_shrink(db_t *self, int pages);
int64_t db_free_pages(db_t *self, int64_t *all);

/* Bring the write-ahead log into the file and give back its room. 0, or -1 and errno as db_step. */
int db_checkpoint(db_t *self);

/* ---- faults ---- */

/* Words for the last error: path and what failed; until the next call. */
const char *db_error(db_t *self);

/* Path and words of the last EIO or EBADMSG; NULL if there was none. */
const char *db_failure(const db_t *self);

/* Note damage that only the caller can see. Like every EIO and EBADMSG this leaves the mark
 * PATH-check behind, so that the next start looks at the whole file. */
void db_fail(db_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *db_path(const db_t *self);

/* Bytes of the write-ahead log of a database; 0: missing or empty, as one leaves it that is closed.
 */
int64_t db_log_bytes(const char *path);

/* The mark that an error was seen. */
bool db_is_marked(const char *path);
void db_unmark(const char *path);

#endif
