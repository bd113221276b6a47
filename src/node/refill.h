/* refill - puts all that is stored and still runs into the index: at the start; when the clock was
 * set, and what seemed to be over runs again; when bans that found no place may find one. In steps,
 * others on the loop in between. Keeps how far it is beside each feed. */
#ifndef BANMESH_NODE_REFILL_H
#define BANMESH_NODE_REFILL_H

#include "entries.h"

typedef struct refill refill_t;

/* All borrowed for as long as it lives. */
refill_t *refill_new(service_t *service, index_t *index, entries_t *entries);
void refill_destroy(refill_t **self_p);

/* From the beginning of all feeds. */
void refill_begin(refill_t *self);

bool refill_goes_on(const refill_t *self);

/* Some milliseconds of it, at most so many batches. Returns whether there is more. */
bool refill_step(refill_t *self, int batches);

#endif
