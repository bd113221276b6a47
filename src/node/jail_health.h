/* jail_health - whether the shared jail can do its part, in words for the status: fail2ban does not
 * run, it has no such jail, nobody reads the shared log, or nobody can ask it. Decides nothing. */
#ifndef BANMESH_NODE_JAIL_HEALTH_H
#define BANMESH_NODE_JAIL_HEALTH_H

#include "sink.h"
#include "watchers.h"

#include <jansson.h>

/* All borrowed for the call. */
typedef struct {
    const settings_t *settings;
    const sink_t *sink;
    const jailer_t *jailer;
    const watchers_t *watchers;
    int64_t uptime_ms; /* a fail2ban that was not seen may still be starting at first */
} jail_health_t;

/* Add `shared_jail` to a status, and to its attention, in front, what is wrong. */
void jail_health_status(const jail_health_t *self, json_t *status);

#endif
