/* pending - accepted bans whose time has not come: rows of peers.db, written in the transaction of
 * the consumer's cursor, so that the cursor always advances and memory stays bounded. */
#ifndef BANMESH_NODE_PENDING_H
#define BANMESH_NODE_PENDING_H

#include "db.h"
#include "event.h"

#define PENDING_ORIGIN_BYTES 32

typedef struct pending pending_t;

/* What is needed to decide again and to write the line. */
typedef struct {
    int64_t nid;
    int64_t due_ms;
    uint8_t origin[PENDING_ORIGIN_BYTES];
    ban_t ban; /* address, jail, time and duration only */
} pending_row_t;

/* db is peers.db, borrowed and closed after us. */
pending_t *pending_new(db_t *db);
void pending_destroy(pending_t **self_p);

/* Write or overwrite, inside the caller's transaction. 0, or -1 and errno of db_step. */
int pending_put(pending_t *self, const pending_row_t *row);
int pending_remove(pending_t *self, int64_t nid);

/* Up to max rows that are due by a time, earliest first. Returns how many, -1 and errno. */
int pending_due(pending_t *self, int64_t now_ms, pending_row_t *out, int max);

/* How many there are; -1 and errno. */
int64_t pending_count(pending_t *self);

#endif
