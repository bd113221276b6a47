/* reach - what an order came to, as far as the node knows within two seconds: what the shared jail
 * was told, and how many peers heard of it. */
#ifndef BANMESH_CLI_REACH_H
#define BANMESH_CLI_REACH_H

#include "command.h"

typedef struct {
    const command_options_t *options;
    int64_t begun_ms;
} reach_t;

/* Before the order. options: borrowed. */
reach_t reach_begin(const command_options_t *options);

/* Wait until the shared jail holds an address, by what it was told, or does not, as wanted; print
 * whether it is so. */
void reach_hold(const reach_t *self, const char *address, bool wanted);

/* Whether there is time to look once more; waits a moment if so. */
bool reach_waits(const reach_t *self);

/* Print how many peers have it announced. */
void reach_peers(const reach_t *self);

#endif
