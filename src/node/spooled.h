/* spooled - takes the spool in while the node runs: at the start, when something is written into
 * its directory, and each second, in steps, between which hooks that wait have their turn. Says in
 * the log what was taken and what could not be. Knows nothing of what a ban is worth. */
#ifndef BANMESH_NODE_SPOOLED_H
#define BANMESH_NODE_SPOOLED_H

#include "loop.h"
#include "spool.h"

typedef struct spooled spooled_t;

typedef struct {
    zloop_t *loop;
    const char *directory; /* copied */
    spool_take_fn *take;
    bool (*is_full)(void *arg); /* nothing can be stored now: said elsewhere */
    void *arg;
} spooled_config_t;

/* Watch the directory. What take and is_full need must live as long. NULL with the fault. */
spooled_t *spooled_new(const spooled_config_t *config, fault_t *fault);
void spooled_destroy(spooled_t **self_p);

/* Whether anything is there that was not taken yet. Asks the file system. */
bool spooled_waits(const spooled_t *self);

/* Take a first step of what is there. */
void spooled_begin(spooled_t *self);

/* All that was done since the start. */
const spool_result_t *spooled_counts(const spooled_t *self);

#endif
