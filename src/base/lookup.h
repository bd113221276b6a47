/* lookup - an endpoint with a host name becomes one with an address, and nobody waits: the C
 * library's own threads ask the name servers. libzmq would ask in the one thread that carries all
 * connections, and a name server that is silent would stop them all. Knows no sockets. */
#ifndef BANMESH_BASE_LOOKUP_H
#define BANMESH_BASE_LOOKUP_H

#include "addr.h"
#include "cert.h"

typedef struct lookup lookup_t;

/* Begin. endpoint is "tcp://HOST:PORT", copied; HOST may be an address already. NULL with the
 * fault. */
lookup_t *lookup_new(const char *endpoint, fault_t *fault);

/* One that is under way goes on by itself, and nobody hears of it. */
void lookup_destroy(lookup_t **self_p);

/* Returns 1 and fills out once the address is known, 0 while it is being looked for (ask again), -1
 * with the fault. Of several addresses it is that of the turn, so that each is tried in its time.
 */
int lookup_result(lookup_t *self, size_t turn, char out[static CERT_ENDPOINT_MAX + 1],
                  fault_t *fault);

/* The same for all addresses of the name: calls for each. Returns as lookup_result. */
int lookup_each(lookup_t *self, void (*found)(void *arg, const addr_t *address), void *arg,
                fault_t *fault);

#endif
