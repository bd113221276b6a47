/* protect - addresses that no peer may have this host ban: its own, its gateways and resolvers, all
 * nodes of the mesh, and the operator's list; of its names what they are when looked up every five
 * minutes. What cannot be known is said. */
#ifndef BANMESH_NODE_PROTECT_H
#define BANMESH_NODE_PROTECT_H

#include "cert.h"
#include "loop.h"
#include "settings.h"
#include "trust.h"

typedef struct protect protect_t;

protect_t *protect_new(zloop_t *loop);
void protect_destroy(protect_t **self_p);

/* Read interfaces, routes and resolvers again, and take the mesh's names and the operator's list.
 * Logs once what cannot be read. Some hundred microseconds; call at start, on reload and each
 * minute. */
void protect_refresh(protect_t *self, const cert_t *own, const trust_t *trust,
                     const settings_t *settings);

/* Whether a name of the operator's list was looked up since the last call: it may be others that
 * are protected now. */
bool protect_take_news(protect_t *self);

/* Why no ban may touch this address or network ("own address", "peer", "gateway", "resolver",
 * "guard / protect in line 31 of the settings", or that with a name behind it); NULL if one may. */
const char *protect_reason(const protect_t *self, const addr_t *address);

/* Calls for each thing that is not protected because it cannot be known. */
void protect_complain(const protect_t *self, void (*complain)(void *arg, const fault_t *fault),
                      void *arg);

/* Say what an operator should put into guard / protect, since nobody else knows it: the public
 * address of a host that has it on no interface, resolvers behind one on loopback. */
void protect_advise(const cert_t *own, const settings_t *settings);

#endif
