#include "backlog.h"

#include "log.h"

#include <stdlib.h>

#define SIZE_MIN 64

typedef struct {
    uint32_t began_s;
    uint32_t slot;
} item_t;

/* A binary heap: an item is no newer than the one at (its place - 1) / 2. */
struct backlog {
    item_t *items;
    size_t count;
    size_t size;
};

backlog_t *backlog_new(void)
{
    return xcalloc(1, sizeof(backlog_t));
}

void backlog_destroy(backlog_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->items);
    free(*self_p);
    *self_p = NULL;
}

static bool is_newer(const item_t *one, const item_t *other)
{
    return one->began_s > other->began_s;
}

void backlog_push(backlog_t *self, uint32_t began_s, uint32_t slot)
{
    item_t pushed = {began_s, slot};
    if (self->count == self->size) {
        self->size += self->size / 2 + SIZE_MIN;
        self->items = xrealloc(self->items, self->size * sizeof *self->items);
    }
    size_t at = self->count++;
    for (; at > 0 && is_newer(&pushed, &self->items[(at - 1) / 2]); at = (at - 1) / 2)
        self->items[at] = self->items[(at - 1) / 2];
    self->items[at] = pushed;
}

/* Put an item where it belongs, from the top on. */
static void sink_down(backlog_t *self, item_t item)
{
    size_t at = 0;
    for (size_t child = 1; child < self->count; child = 2 * at + 1) {
        if (child + 1 < self->count && is_newer(&self->items[child + 1], &self->items[child]))
            child++;
        if (!is_newer(&self->items[child], &item))
            break;
        self->items[at] = self->items[child];
        at = child;
    }
    self->items[at] = item;
}

bool backlog_pop(backlog_t *self, uint32_t *slot)
{
    if (self->count == 0)
        return false;
    *slot = self->items[0].slot;
    self->count--;
    if (self->count > 0)
        sink_down(self, self->items[self->count]);
    if (self->count == 0) {
        free(self->items); /* after a flood: give it back */
        self->items = NULL;
        self->size = 0;
    }
    return true;
}

size_t backlog_size(const backlog_t *self)
{
    return self->count;
}
