/* recent - the lines that were written last, in memory: what copytruncate may have cut off.
 * As many as were stamped after a time, and no more than RECENT_BYTES. */
#ifndef BANMESH_SHARED_RECENT_H
#define BANMESH_SHARED_RECENT_H

#include "clock.h"

#include <stddef.h>

/* More than a minute at the default pace. */
#define RECENT_BYTES (1024 * 1024)

typedef struct recent recent_t;

/* Lines that were written with one call. */
typedef struct recent_lines {
    struct recent_lines *next;
    wall_t at;
    size_t size;
    char text[];
} recent_lines_t;

recent_t *recent_new(void);
void recent_destroy(recent_t **self_p);

/* Add lines of now, and forget those of `since` and before. Copies the text. */
void recent_add(recent_t *self, const char *text, size_t size, wall_t now, wall_t since);

/* The oldest of those after a time, the others behind it; NULL if there are none. Until the next
 * call. */
const recent_lines_t *recent_after(const recent_t *self, wall_t since);

#endif
