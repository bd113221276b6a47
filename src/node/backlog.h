/* backlog - addresses whose lines wait for the pace of the shared log, the ban that began last
 * first. In memory only: what waits is what should be held and is not. Eight bytes each. */
#ifndef BANMESH_NODE_BACKLOG_H
#define BANMESH_NODE_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct backlog backlog_t;

backlog_t *backlog_new(void);
void backlog_destroy(backlog_t **self_p);

/* began_s: since 1970; slot: of the index. */
void backlog_push(backlog_t *self, uint32_t began_s, uint32_t slot);

/* The newest; false if there is none. One that needs no line any more is the caller's to pass over:
 * nothing is ever taken out. */
bool backlog_pop(backlog_t *self, uint32_t *slot);

size_t backlog_size(const backlog_t *self);

#endif
