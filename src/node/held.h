/* held - which addresses the shared jail holds by what it was told, and until when, over restarts:
 * the table `held` of peers.db. One row for each address, that of the last line, in the order of
 * the lines: so a start can compare the newest rows with the end of the log. In memory a slot of
 * the index stands for it. What the jail has let go of moves to the table `gone`, for HELD_GONE_MS:
 * its line still stands in the log, and a fail2ban that lost its place there takes it for new. And
 * by which fail2ban all that is held: the table `holder`, of one row. */
#ifndef BANMESH_NODE_HELD_H
#define BANMESH_NODE_HELD_H

#include "addr.h"
#include "clock.h"
#include "db.h"
#include "fail2ban.h"

/* What the consumer applied, until when fail2ban holds it, and which one. */
extern const char held_tables[];

/* Of them, what came with version 7 of the state. */
#define HELD_GONE_TABLES                                                                           \
    "CREATE TABLE gone (nid INTEGER NOT NULL, address BLOB NOT NULL, prefix INTEGER NOT NULL, "    \
    " until_ms INTEGER NOT NULL, gone_ms INTEGER NOT NULL);"                                       \
    "CREATE INDEX gone_address ON gone (address)"

typedef struct held held_t;

/* Longer than the jail's findtime: lines older than that are new to no fail2ban. */
#define HELD_GONE_MS (2 * 3600 * MS_PER_S)

/* db is peers.db, borrowed and closed after us. NULL, errno of db_step. */
held_t *held_new(db_t *db);
void held_destroy(held_t **self_p);

typedef struct {
    int64_t id;
    addr_t address;
    int64_t until_ms;
    int64_t nid;
} held_row_t;

/* The id of another row, larger than any before. The index has room for 32 bits of it: a start
 * numbers the rows anew if they have come halfway. */
int64_t held_next_id(held_t *self);

/* Lines of these bans were written, in the order of their ids. Inside the caller's transaction. 0,
 * or -1 and errno of db_step. */
int held_put(held_t *self, const held_row_t *rows, size_t count);

/* Forget holds that have ended, and what was let go of long ago. Looks at each: now and then only.
 * 0, or -1 and errno. */
int held_drop_ended(held_t *self, wall_t now);

/* Call back for each hold, oldest first. 0, or -1 and errno. */
typedef void(held_fn)(void *arg, const held_row_t *row);
int held_each(held_t *self, held_fn *tell, void *arg);

/* The same for the newest rows, up to max of them, newest first: which row, which ban, and its
 * hold's end. */
typedef void(held_ban_fn)(void *arg, int64_t id, int64_t nid, int64_t until_ms);
int held_newest(held_t *self, size_t max, held_ban_fn *tell, void *arg);

/* Forget one row. 0, or -1 and errno. */
int held_remove(held_t *self, int64_t id);

/* The jail has let go of it. 0, or -1 and errno. */
int held_let_go(held_t *self, int64_t id, wall_t now);

/* Whether it was let go of lately. False also if that cannot be read. */
bool held_was_let_go(held_t *self, const addr_t *address);

/* Call back for each that was let go of lately, in no order, with row 0. 0, or -1 and errno. */
int held_gone_each(held_t *self, held_ban_fn *tell, void *arg);

/* The fail2ban that has all lines before those that it may still read; all zero: none was seen yet.
 * 0, or -1 and errno. */
int held_holder(held_t *self, fail2ban_id_t *holder);
int held_set_holder(held_t *self, const fail2ban_id_t *holder);

#endif
