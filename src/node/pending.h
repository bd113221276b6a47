/* pending - accepted bans that wait: for the end of a hold (table `pending`), or for the pace of
 * the shared log (table `backlog`). Rows of peers.db, written in the transaction of the consumer's
 * cursor, so that the cursor always advances and memory stays bounded. What is asked at each tick
 * goes by an index, however many wait. */
#ifndef BANMESH_NODE_PENDING_H
#define BANMESH_NODE_PENDING_H

#include "db.h"
#include "event.h"

#define PENDING_PACE 0 /* due_ms of what waits for the pace alone */

extern const char pending_tables[];

typedef struct pending pending_t;

/* What is needed to decide again and to write the line. */
typedef struct {
    int64_t nid;
    int64_t due_ms; /* when the hold ends; PENDING_PACE: a row of the backlog */
    pubkey_t origin;
    ban_t ban; /* address, jail, time and duration only; time: when it began, as clamped */
} pending_row_t;

/* db is peers.db, borrowed and closed after us. Counts the rows there are. NULL, errno of db_step.
 */
pending_t *pending_new(db_t *db);
void pending_destroy(pending_t **self_p);

/* Write inside the caller's transaction, or overwrite: one ban waits once in each table, in the
 * backlog for the longer of the two. 0, or -1 and errno of db_step. */
int pending_put(pending_t *self, const pending_row_t *row);
int pending_remove(pending_t *self, const pending_row_t *row);

/* Up to max rows whose hold has ended by a time, earliest first. Returns how many, -1 and errno. */
int pending_due(pending_t *self, int64_t now_ms, pending_row_t *out, int max);

/* Up to max rows of the backlog, newest ban first. Returns how many, -1 and errno. */
int pending_newest(pending_t *self, pending_row_t *out, int max);

/* Whether one of these met a row that cannot be read, and ended there. It is to be removed in the
 * transaction that has all decided anew. 0, or -1 and errno. */
bool pending_is_damaged(const pending_t *self);
int pending_remove_damaged(pending_t *self);

/* How many wait for the end of a hold, and for the pace; known without asking the database. */
int64_t pending_count(const pending_t *self);
int64_t pending_backlog(const pending_t *self);

/* After a rolled back transaction: count anew. 0, or -1 and errno. */
int pending_recount(pending_t *self);

#endif
