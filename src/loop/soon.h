/* soon - call something in the next round of the loop, from a descriptor: behind all that is ready
 * in this round. Not zloop_timer: what is called may end a reader (ticker.h). */
#ifndef BANMESH_LOOP_SOON_H
#define BANMESH_LOOP_SOON_H

#include "loop.h"

typedef struct soon soon_t;

/* Fatal if the system has no descriptor to give. */
soon_t *soon_new(zloop_t *loop, void (*call)(void *arg), void *arg);
void soon_destroy(soon_t **self_p);

/* Have it called once, however often this is asked for before. */
void soon_call(soon_t *self);

#endif
