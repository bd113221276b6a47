#include "slice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void slice_hold(slice_t *self, const held_row_t *hold, int64_t before_ms)
{
    if (self->hold_count == self->hold_size) {
        self->hold_size = self->hold_size * 2 + 64;
        self->holds = xrealloc(self->holds, self->hold_size * sizeof *self->holds);
        self->before_ms = xrealloc(self->before_ms, self->hold_size * sizeof *self->before_ms);
    }
    self->before_ms[self->hold_count] = before_ms;
    self->holds[self->hold_count++] = *hold;
}

static void add_row(slice_rows_t *rows, const pending_row_t *row)
{
    if (rows->count == rows->size) {
        rows->size = rows->size * 2 + 16;
        rows->items = xrealloc(rows->items, rows->size * sizeof *rows->items);
    }
    rows->items[rows->count++] = *row;
}

void slice_wait(slice_t *self, const pending_row_t *row)
{
    add_row(&self->waiting, row);
}

void slice_waited(slice_t *self, const pending_row_t *row)
{
    add_row(&self->waited, row);
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

bool slice_is_full(const slice_t *self)
{
    return self->events >= SLICE_EVENTS || self->move_count == SLICE_FEEDS;
}

bool slice_takes(const slice_t *self, const feed_ref_t *feed, uint64_t seq)
{
    size_t found = find(self, feed);
    uint64_t reach = found > 0 ? self->moves[found - 1].seq : feed->cursor;
    return reach == seq - 1 && !slice_is_full(self);
}

static int put_rows(const slice_t *self, feed_t *feed, held_t *held, pending_t *pending)
{
    for (size_t i = 0; i < self->waited.count; i++)
        if (pending_remove(pending, &self->waited.items[i]) == -1)
            return -1;
    for (size_t i = 0; i < self->waiting.count; i++)
        if (pending_put(pending, &self->waiting.items[i]) == -1)
            return -1;
    if (held_put(held, self->holds, self->hold_count) == -1)
        return -1;
    for (size_t i = 0; i < self->move_count; i++)
        if (feed_set_cursor(feed, self->moves[i].feed, self->moves[i].seq) == -1)
            return -1;
    return 0;
}

int slice_roll_back(feed_t *feed, pending_t *pending)
{
    int saved = errno;
    db_rollback(feed_peers_db(feed));
    feed_forget(feed);
    if (pending_recount(pending) == -1)
        fatalx("%s", state_failure(feed_state(feed)));
    errno = saved;
    return -1;
}

int slice_commit(const slice_t *self, db_t *db, feed_t *feed, held_t *held, pending_t *pending)
{
    if (db_begin(db) == 0 && put_rows(self, feed, held, pending) == 0 && db_commit(db) == 0)
        return 0;
    return slice_roll_back(feed, pending);
}

void slice_clear(slice_t *self)
{
    self->hold_count = self->waiting.count = self->waited.count = self->move_count = 0;
    self->events = self->lines = self->from_future = 0;
    memset(self->outcomes, 0, sizeof self->outcomes);
}

void slice_free(slice_t *self)
{
    free(self->holds);
    free(self->before_ms);
    free(self->waiting.items);
    free(self->waited.items);
    *self = (slice_t){0};
}
