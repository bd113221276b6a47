#include "recent.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

struct recent {
    recent_lines_t *oldest;
    recent_lines_t *newest;
    size_t bytes;
};

recent_t *recent_new(void)
{
    return xcalloc(1, sizeof(recent_t));
}

static size_t cost(const recent_lines_t *lines)
{
    return sizeof *lines + lines->size;
}

static void drop_oldest(recent_t *self)
{
    recent_lines_t *oldest = self->oldest;
    self->oldest = oldest->next;
    if (self->oldest == NULL)
        self->newest = NULL;
    self->bytes -= cost(oldest);
    free(oldest);
}

void recent_destroy(recent_t **self_p)
{
    if (*self_p == NULL)
        return;
    while ((*self_p)->oldest != NULL)
        drop_oldest(*self_p);
    free(*self_p);
    *self_p = NULL;
}

void recent_add(recent_t *self, const char *text, size_t size, wall_t now, wall_t since)
{
    recent_lines_t *lines = xmalloc(sizeof *lines + size);
    *lines = (recent_lines_t){.at = now, .size = size};
    memcpy(lines->text, text, size);
    if (self->newest != NULL)
        self->newest->next = lines;
    else
        self->oldest = lines;
    self->newest = lines;
    self->bytes += cost(lines);
    while (self->oldest != NULL && (self->bytes > RECENT_BYTES || self->oldest->at.ms <= since.ms))
        drop_oldest(self);
}

const recent_lines_t *recent_after(const recent_t *self, wall_t since)
{
    const recent_lines_t *lines = self->oldest;
    while (lines != NULL && lines->at.ms <= since.ms)
        lines = lines->next;
    return lines;
}
