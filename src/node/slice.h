/* slice - what one transaction of the consumer will make true, besides the lines that wait in the
 * log: holds, rows that wait, rows that waited, cursors, counts. Filled while events are decided,
 * written at once. Knows no policy. */
#ifndef BANMESH_NODE_SLICE_H
#define BANMESH_NODE_SLICE_H

#include "feed.h"
#include "guard.h"
#include "held.h"
#include "pending.h"

#define SLICE_FEEDS  64
#define SLICE_EVENTS 4096 /* soft: a batch is never cut */

typedef struct {
    const feed_ref_t *feed;
    uint64_t seq;
} slice_move_t;

typedef struct {
    pending_row_t *items;
    size_t count;
    size_t size;
} slice_rows_t;

/* All zero: an empty one. */
typedef struct {
    held_row_t *holds;
    int64_t *before_ms; /* of each: until when the address was held before */
    size_t hold_count;
    size_t hold_size;
    slice_rows_t waiting; /* to be put */
    slice_rows_t waited;  /* to be removed: put and removed again, a row stays */
    slice_move_t moves[SLICE_FEEDS];
    size_t move_count;
    size_t events;
    size_t lines;
    uint64_t outcomes[GUARD_OUTCOME_COUNT];
    uint64_t from_future;
} slice_t;

void slice_hold(slice_t *self, const held_row_t *hold, int64_t before_ms);

/* What is put or removed is copied. */
void slice_wait(slice_t *self, const pending_row_t *row);
void slice_waited(slice_t *self, const pending_row_t *row);

/* The consumer is done with a feed up to seq. At most SLICE_FEEDS of them. */
void slice_move(slice_t *self, const feed_ref_t *feed, uint64_t seq);

/* It should be written before more is put in. */
bool slice_is_full(const slice_t *self);

/* It has room, and all before seq is done, or will be with the slice. */
bool slice_takes(const slice_t *self, const feed_ref_t *feed, uint64_t seq);

/* Write all of it in one transaction of peers.db. Returns 0 once it is committed; -1 and errno of
 * db_step: nothing is written, and the slice is as it was. db: peers.db of feed. */
int slice_commit(const slice_t *self, db_t *db, feed_t *feed, held_t *held, pending_t *pending);

/* Take the open transaction of the consumer back, and with it what is known of its rows. Returns
 * -1; errno stays. Fatal if the database cannot be read again. */
int slice_roll_back(feed_t *feed, pending_t *pending);

/* Empty it; what it has allocated stays. */
void slice_clear(slice_t *self);
void slice_free(slice_t *self);

#endif
