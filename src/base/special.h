/* special - addresses that nobody may ever ban through the mesh: private, loopback, multicast,
 * documentation and the like. Pure; libc only. */
#ifndef BANMESH_BASE_SPECIAL_H
#define BANMESH_BASE_SPECIAL_H

#include "addr.h"

/* The newest registration that the table knows (5f00::/16 of RFC 9602, outside 2000::/3). */
#define SPECIAL_TABLE_DATE "2024-10"

/* Why an address, or a network that contains or touches such an address, may not be banned:
 * "loopback", "private", ... NULL if it is ordinary global unicast.
 * Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates). */
const char *special_name(const addr_t *addr);

#endif
