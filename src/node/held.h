/* held - which addresses the shared jail holds, and until when, over restarts: the table `held` of
 * peers.db. A row is written with the cursor, for each line. What is held now is asked of bans.h.
 * And by which fail2ban: the table `holder`, of one row. */
#ifndef BANMESH_NODE_HELD_H
#define BANMESH_NODE_HELD_H

#include "addr.h"
#include "clock.h"
#include "db.h"
#include "fail2ban.h"

/* What the consumer applied, until when fail2ban holds it, and which one. */
extern const char held_tables[];

typedef struct held held_t;

/* db is peers.db, borrowed and closed after us. */
held_t *held_new(db_t *db);
void held_destroy(held_t **self_p);

typedef struct {
    addr_t address;
    int64_t until_ms;
    int64_t nid;
} held_row_t;

/* Lines of these bans were written, in this order. Inside the caller's transaction. 0, or -1 and
 * errno of db_step. */
int held_put(held_t *self, const held_row_t *rows, size_t count);

/* Forget holds that have ended. Looks at each: now and then only. 0, or -1 and errno. */
int held_drop_ended(held_t *self, wall_t now);

/* Call back for each hold, oldest first. 0, or -1 and errno. */
typedef void(held_fn)(void *arg, const addr_t *address, int64_t until_ms);
int held_each(held_t *self, held_fn *tell, void *arg);

/* The same for the newest rows, up to max of them, newest first: which row, which ban, and its
 * hold's end. */
typedef void(held_ban_fn)(void *arg, int64_t id, int64_t nid, int64_t until_ms);
int held_newest(held_t *self, size_t max, held_ban_fn *tell, void *arg);

/* Forget one of them. 0, or -1 and errno. */
int held_remove(held_t *self, int64_t id);

/* The fail2ban that has all lines before those that it may still read; all zero: none was seen yet.
 * 0, or -1 and errno. */
int held_holder(held_t *self, fail2ban_id_t *holder);
int held_set_holder(held_t *self, const fail2ban_id_t *holder);

#endif
