/* db - a SQLite database as we use it: WAL, versioned, errors as errno.
 * Owns the connection and the pragmas; knows no table. Loop thread only. */
#ifndef BANMESH_FEED_DB_H
#define BANMESH_FEED_DB_H

#include "log.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct db db_t;

/* Open or create.
 *   schema   SQL that makes every table of `version` in an empty database
 *   durable  true: a commit is on disk when db_commit returns (synchronous=FULL);
 *            false: a power loss may take the last commits, but never tears one (NORMAL)
 * NULL with the fault: not ours, of a newer version, damaged, or not to be opened. */
db_t *db_open(const char *path, const char *schema, int version, bool durable, fault_t *fault);

/* Statements prepared here are finalised, too. */
void db_destroy(db_t **self_p);

/* A statement that lives as long as the database. Wrong SQL is a broken invariant: fatal. */
sqlite3_stmt *db_prepare(db_t *self, const char *sql);

/* Step a statement. Returns 1 on a row; 0 when done, and the statement is reset; -1, reset, errno:
 * ENOSPC  disk full, nothing kept, try again later
 * EIO     the state of the last transaction is unknown: stop and start anew
 * EBADMSG the file is damaged
 * EBUSY   another process holds it (an operator's sqlite3): try again later */
int db_step(db_t *self, sqlite3_stmt *statement);

/* Rows that the last INSERT, UPDATE or DELETE changed. */
int64_t db_changed(db_t *self);

/* A transaction. begin and commit return 0, or -1 and errno as above; a failed commit is rolled
 * back. rollback is silent and harmless outside a transaction. */
int db_begin(db_t *self);
int db_commit(db_t *self);
void db_rollback(db_t *self);

/* SQLite's words for the last error; until the next call. */
const char *db_error(db_t *self);

#endif
