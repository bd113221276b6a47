#include "slice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void slice_hold(slice_t *self, const held_row_t *hold, const slice_before_t *before)
{
    if (self->hold_count == self->hold_size) {
        self->hold_size = self->hold_size * 2 + 64;
        self->holds = xrealloc(self->holds, self->hold_size * sizeof *self->holds);
        self->before = xrealloc(self->before, self->hold_size * sizeof *self->before);
    }
    self->before[self->hold_count] = *before;
    self->holds[self->hold_count++] = *hold;
}

void slice_let_go(slice_t *self, int64_t row)
{
    if (self->gone_count == self->gone_size) {
        self->gone_size = self->gone_size * 2 + 64;
        self->gone = xrealloc(self->gone, self->gone_size * sizeof *self->gone);
    }
    self->gone[self->gone_count++] = row;
}

/* The feed that moved last is asked for most. */
static size_t find(const slice_t *self, const feed_ref_t *feed)
{
    size_t i = self->move_count;
    while (i > 0 && self->moves[i - 1].feed != feed)
        i--;
    return i;
}

void slice_move(slice_t *self, const feed_ref_t *feed, uint64_t seq)
{
    size_t found = find(self, feed);
    if (found == 0 && self->move_count == SLICE_FEEDS)
        fatalx("more than %d feeds in a slice", SLICE_FEEDS);
    if (found == 0)
        found = ++self->move_count;
    self->moves[found - 1] = (slice_move_t){feed, seq};
}

bool slice_is_empty(const slice_t *self)
{
    return self->hold_count == 0 && self->gone_count == 0 && self->move_count == 0;
}

bool slice_is_full(const slice_t *self)
{
    return self->hold_count >= SLICE_HOLDS || self->move_count == SLICE_FEEDS;
}

bool slice_takes(const slice_t *self, const feed_ref_t *feed, uint64_t seq)
{
    size_t found = find(self, feed);
    uint64_t reach = found > 0 ? self->moves[found - 1].seq : feed->cursor;
    return reach == seq - 1 && !slice_is_full(self);
}

/* An address has one row: that of its last line. */
static int remove_rows(const slice_t *self, held_t *held)
{
    for (size_t i = 0; i < self->gone_count; i++)
        if (held_let_go(held, self->gone[i], wall_now()) == -1)
            return -1;
    for (size_t i = 0; i < self->hold_count; i++)
        if (self->before[i].held_row != 0 && held_remove(held, self->before[i].held_row) == -1)
            return -1;
    return 0;
}

static int put_rows(const slice_t *self, feed_t *feed, held_t *held)
{
    if (held_put(held, self->holds, self->hold_count) == -1 || remove_rows(self, held) == -1)
        return -1;
    for (size_t i = 0; i < self->move_count; i++)
        if (feed_set_cursor(feed, self->moves[i].feed, self->moves[i].seq) == -1)
            return -1;
    return 0;
}

int slice_commit(const slice_t *self, db_t *db, feed_t *feed, held_t *held, memo_t *memo)
{
    if (db_begin(db) == 0 && put_rows(self, feed, held) == 0 && memo_write(memo) == 0 &&
        db_commit(db) == 0) {
        memo_written(memo);
        return 0;
    }
    int saved = errno;
    db_rollback(db);
    feed_forget(feed);
    errno = saved;
    return -1;
}

void slice_drop_holds(slice_t *self)
{
    self->hold_count = 0;
}

void slice_clear(slice_t *self)
{
    self->hold_count = self->gone_count = self->move_count = 0;
}

void slice_free(slice_t *self)
{
    free(self->holds);
    free(self->before);
    free(self->gone);
    *self = (slice_t){0};
}
