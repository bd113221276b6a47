/* resolvers - the name servers that this host asks, also those behind a stub on loopback
 * (systemd-resolved, NetworkManager, dnsmasq). */
#ifndef BANMESH_NODE_RESOLVERS_H
#define BANMESH_NODE_RESOLVERS_H

#include "addr.h"
#include "log.h"

#include <stdbool.h>

/* Calls server for each name server that is named, and complain for each file that cannot be read
 * (a missing one names none). Returns false if only one on loopback is named: whom that one asks in
 * turn cannot be known then. */
bool resolvers_each(void (*server)(void *arg, const addr_t *address),
                    void (*complain)(void *arg, const fault_t *fault), void *arg);

#endif
