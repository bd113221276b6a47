/* places - the addresses of all nodes of the mesh, this one included: every address of every name
 * in a certificate's endpoints or in mesh / peers, also where one overrides the other. Names are
 * looked up beside the loop, at the start, when they come, and every ten minutes. */
#ifndef BANMESH_NODE_PLACES_H
#define BANMESH_NODE_PLACES_H

#include "cert.h"
#include "loop.h"
#include "settings.h"
#include "trust.h"

typedef struct places places_t;

places_t *places_new(zloop_t *loop);
void places_destroy(places_t **self_p);

/* Whose places these are from now on. Those that were known stay known meanwhile. Call on reload
 * and each minute. */
void places_set(places_t *self, const cert_t *own, const trust_t *trust,
                const settings_t *settings);

/* Why no ban may touch an address or network: "peer", "own address"; NULL if one may. */
const char *places_reason(const places_t *self, const addr_t *address);

/* Calls for each name that cannot be looked up. */
void places_complain(const places_t *self, void (*complain)(void *arg, const fault_t *fault),
                     void *arg);

#endif
