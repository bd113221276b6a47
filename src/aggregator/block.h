/* block - what one transaction puts into the store: attempts, each nid once, and how far it brings
 * the feeds. Formats the requests and takes the answers; knows neither feeds' bytes nor sockets.
 *
 * The first to write a nid decides what it says: later events of the same nid, a replay after a
 * crash, another aggregator with another country database change nothing but a ban's length, and
 * that only upwards. So a nid is never in two countries' sets, and counts once: what is in f2b:bans
 * is in all sets and rankings, since one transaction writes all of them. */
#ifndef BANMESH_AGGREGATOR_BLOCK_H
#define BANMESH_AGGREGATOR_BLOCK_H

#include "cursors.h"
#include "history.h"
#include "tops.h"

/* Soft: a batch is never cut. A larger block would hold up the store's readers for longer. */
#define BLOCK_EVENTS 512
#define BLOCK_MOVES  256

/* What became of an event. */
typedef enum {
    BLOCK_STORED,        /* a new attempt */
    BLOCK_PROLONGED,     /* a known one lasts longer now */
    BLOCK_REPEATED,      /* in the store already */
    BLOCK_CONTRADICTING, /* its nid stands for another attempt: not written */
    BLOCK_SPECIAL,       /* an address that nobody may ban: not written */
    BLOCK_MALFORMED,
    BLOCK_OTHER_KIND,       /* no ban */
    BLOCK_UNREADABLE_BATCH, /* of a shape that this version refuses; passed over */
    BLOCK_OUTCOME_COUNT,
} block_outcome_t;

/* A word for counters: "stored". */
const char *block_outcome_name(block_outcome_t outcome);

typedef struct block block_t;

block_t *block_new(void);
void block_destroy(block_t **self_p);

void block_clear(block_t *self);
bool block_is_full(const block_t *self);

/* ---- filling ---- */

/* Count an event that is not written. */
void block_refuse(block_t *self, block_outcome_t outcome);

/* Add an attempt; copied.
 *   prolongs  the event named an original: its nid is probably in the store */
void block_add(block_t *self, const attempt_record_t *record, bool prolongs);

/* A feed's batches up to there are in this block; `taken` says so from now on. The cursor is
 * borrowed until the block is cleared or finished, and knows it (cursor_t.blocks). */
void block_move(block_t *self, cursor_t *cursor, cursor_reach_t to);

/* Nothing of it was ever there: empty it, and put `taken` back. Of the newest block only. */
void block_take_back(block_t *self);

/* ---- writing ---- */

/* How many attempts are in it. */
size_t block_attempts(const block_t *self);

/* It has nids that other blocks may have, too: what is in those must be in the store before this
 * one is asked about, and the other way round. */
bool block_prolongs(const block_t *self);

/* It moves some feed. */
bool block_moves(const block_t *self);

/* Add the commands that ask what the store knows: one EXISTS of those that should be new, if any
 * (true then), and HMGET and ZSCORE for each of the others. The scores that it needs are named to
 * tops, which is to be asked behind it. */
bool block_ask(block_t *self, tops_t *tops, commands_t *out);

/* Some of those that should be new do exist: add HMGET and ZSCORE for each of them. */
void block_ask_again(block_t *self, commands_t *out);

/* The next answer to one of these, in their order. */
void block_learn(block_t *self, const redisReply *reply);

/* Add the commands that write it: all hashes, and all sets.
 *   now_s  what has ended by then does not become active */
void block_write(block_t *self, tops_t *tops, int64_t now_s, commands_t *out);

/* It is in the store: add the commands that tell those who listen of what is news. */
void block_tell(const block_t *self, int64_t now_s, commands_t *out);

/* It is in the store: move the cursors and add to the counters. */
void block_finish(block_t *self, uint64_t counters[static BLOCK_OUTCOME_COUNT]);

#endif
