/* router - the ROUTER socket: reads what comes over connections that were made to us, says who sent
 * it by the key that the gate let in (never by its routing id), and sends back. */
#ifndef BANMESH_LINK_ROUTER_H
#define BANMESH_LINK_ROUTER_H

#include "link.h"

typedef struct router router_t;

/* Listen at endpoint; "" listens nowhere. own and calls (visit, idle) are borrowed for as long as
 * the router lives; trust until router_set_trust. NULL with the fault if the address cannot be had.
 */
router_t *router_new(readers_t *readers, const cert_t *own, const char *endpoint,
                     const trust_t *trust, const link_calls_t *calls, fault_t *fault);
void router_destroy(router_t **self_p);

/* From now on, this set: whoever is not in it is nobody. */
void router_set_trust(router_t *self, const trust_t *trust);

/* Cut every connection: each must pass the gate again. */
void router_renew(router_t *self);

/* As link_answer has it. */
int router_send(router_t *self, const peer_route_t *route, const uint8_t *bytes, size_t size);

#endif
