/* routes - the routers that this host sends through, as the kernel tells over netlink: of all
 * tables, each hop of a multipath route, nexthop objects, and IPv6 neighbours that say they are
 * routers. Not /proc/net: that shows one table, and a hardened unit (ProcSubset=pid) nothing at
 * all. */
#ifndef BANMESH_NODE_ROUTES_H
#define BANMESH_NODE_ROUTES_H

#include "addr.h"
#include "log.h"

/* Calls for each gateway, in no order, one maybe often. Looks at 100,000 routes of a family
 * at most: of a router with more the rest is left out, with a fault. 0, or -1 with the fault: some
 * may not have been told. About a microsecond a route. */
int routes_each(void (*gateway)(void *arg, const addr_t *address), void *arg, fault_t *fault);

#endif
