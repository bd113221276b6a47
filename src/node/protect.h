/* protect - addresses that no peer may have this host ban: its own, its gateways and resolvers, and
 * the operator's list. Peers' addresses are the mesh's to know. */
#ifndef BANMESH_NODE_PROTECT_H
#define BANMESH_NODE_PROTECT_H

#include "settings.h"

typedef struct protect protect_t;

protect_t *protect_new(void);
void protect_destroy(protect_t **self_p);

/* Read interfaces, routes and /etc/resolv.conf again, and take the operator's list. What cannot be
 * read is passed over. Some hundred microseconds; call at start, on reload and each minute. */
void protect_refresh(protect_t *self, const settings_t *settings);

/* Why no ban may touch this address or network ("own address", "gateway", "resolver",
 * "protect list"); NULL if one may. */
const char *protect_reason(const protect_t *self, const addr_t *address);

#endif
