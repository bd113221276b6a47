/* memo - what decides about bans and cannot be derived from the replica, in peers.db: of single
 * bans, by nid, that somebody lifted them in the shared jail, or when one from the future began; of
 * origins, how they were called here, how fast they may ban, and that all they banned was undone;
 * of feeds, up to where their bans were let in. Kept in memory; rows are written in the transaction
 * of the cursor that they belong to. Knows no policy. */
#ifndef BANMESH_NODE_MEMO_H
#define BANMESH_NODE_MEMO_H

#include "feed.h"
#include "index.h"
#include "rate.h"

extern const char memo_tables[];
#define MEMO_TABLES                                                                                \
    "CREATE TABLE memo (nid INTEGER PRIMARY KEY, lifted_ms INTEGER NOT NULL, "                     \
    " begin_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL);"                                      \
    "CREATE TABLE origin (key BLOB PRIMARY KEY, name TEXT NOT NULL, removed_ms INTEGER NOT NULL, " \
    " undone_ms INTEGER NOT NULL, heard_ms INTEGER NOT NULL, level_milli INTEGER NOT NULL) "       \
    " WITHOUT ROWID;"                                                                              \
    "CREATE TABLE admission (feed INTEGER PRIMARY KEY, place INTEGER NOT NULL)"

typedef struct memo memo_t;

/* Read all back; origins get their numbers in the index. feed and index are borrowed for as long as
 * the memo lives. NULL with the fault. */
memo_t *memo_new(feed_t *feed, index_t *index, fault_t *fault);
void memo_destroy(memo_t **self_p);

/* ---- bans ---- */

typedef struct {
    int64_t nid;
    int64_t lifted_ms; /* by hand in the shared jail; 0: not */
    int64_t begin_ms;  /* when a ban from the future came; 0: it was none */
    int64_t until_ms;  /* of no use after that */
} memo_ban_t;

/* NULL: nothing is kept of it. Lives until the next call of memo_set_ban or memo_sweep. */
const memo_ban_t *memo_ban(const memo_t *self, int64_t nid);

/* Keep it in place of what is kept of this ban. */
void memo_set_ban(memo_t *self, const memo_ban_t *ban);

/* This host's clock was wrong: what seemed to be of the future was not. */
void memo_forget_begins(memo_t *self);

/* Forget what is of no use any more. Looks at each. 0, or -1 and errno of db_step. */
int memo_sweep(memo_t *self, wall_t now);

/* ---- origins ---- */

typedef struct {
    char name[EVENT_NAME_MAX + 1]; /* its file in the trust directory, now or last; "": never */
    int64_t removed_ms;            /* when it was missing there first; 0: it is trusted */
    int64_t undone_ms;             /* what began before is void; 0: nothing is */
    rate_t rate;
} memo_origin_t;

/* Of an origin of the index. Lives until an origin is added there. */
const memo_origin_t *memo_origin(memo_t *self, uint16_t origin);

/* The same to be changed, and written with the next transaction. */
memo_origin_t *memo_change_origin(memo_t *self, uint16_t origin);

/* Its rate to be changed, each second: written along with something else, or once it is asked for.
 */
rate_t *memo_rate(memo_t *self, uint16_t origin);
void memo_keep_rates(memo_t *self);

/* The origin that was called so last; INDEX_NONE: none was. */
uint32_t memo_find_origin(memo_t *self, const char *name);

/* ---- feeds ---- */

/* Whether bans of a feed wait to be let in: those behind *place. */
bool memo_mark(const memo_t *self, const feed_ref_t *feed, uint64_t *place);

void memo_set_mark(memo_t *self, const feed_ref_t *feed, uint64_t place);
void memo_clear_mark(memo_t *self, const feed_ref_t *feed);

/* Feeds with a mark. */
size_t memo_mark_count(const memo_t *self);

/* ---- on disk ---- */

/* Something that counts is not written yet. */
bool memo_is_dirty(const memo_t *self);

/* Write what changed, inside the caller's transaction of peers.db; memo_written once it is
 * committed. 0, or -1 and errno of db_step. */
int memo_write(memo_t *self);
void memo_written(memo_t *self);

#endif
