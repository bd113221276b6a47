/* slice - what one transaction of the consumer will make true, besides the lines that wait in the
 * log: what was told, rows that go, cursors. Filled while events are decided, written at once.
 * Knows no policy. */
#ifndef BANMESH_NODE_SLICE_H
#define BANMESH_NODE_SLICE_H

#include "feed.h"
#include "held.h"
#include "memo.h"

#define SLICE_FEEDS 64
#define SLICE_HOLDS 4096 /* soft: a batch is never cut */

typedef struct {
    const feed_ref_t *feed;
    uint64_t seq;
} slice_move_t;

/* What the book said of an address before a line was added. */
typedef struct {
    uint32_t slot;
    uint32_t held_until_s;
    uint32_t held_row;
} slice_before_t;

/* All zero: an empty one. */
typedef struct {
    held_row_t *holds;
    slice_before_t *before; /* of each */
    size_t hold_count;
    size_t hold_size;
    int64_t *gone; /* rows to be removed, besides those that a new hold replaces */
    size_t gone_count;
    size_t gone_size;
    slice_move_t moves[SLICE_FEEDS];
    size_t move_count;
} slice_t;

void slice_hold(slice_t *self, const held_row_t *hold, const slice_before_t *before);

/* Remove a row of held. */
void slice_let_go(slice_t *self, int64_t row);

/* The consumer is done with a feed up to seq. At most SLICE_FEEDS of them. */
void slice_move(slice_t *self, const feed_ref_t *feed, uint64_t seq);

bool slice_is_empty(const slice_t *self);

/* It should be written before more is put in. */
bool slice_is_full(const slice_t *self);

/* It has room, and all before seq is done, or will be with the slice. */
bool slice_takes(const slice_t *self, const feed_ref_t *feed, uint64_t seq);

/* Write all of it in one transaction of peers.db, and what changed in the memo. Returns 0 once it
 * is committed; -1 and errno of db_step: nothing is written, and the slice is as it was. db:
 * peers.db of feed. */
int slice_commit(const slice_t *self, db_t *db, feed_t *feed, held_t *held, memo_t *memo);

/* Empty it; what it has allocated stays. */
void slice_clear(slice_t *self);

/* Forget its holds, none of which became true. */
void slice_drop_holds(slice_t *self);

void slice_free(slice_t *self);

#endif
