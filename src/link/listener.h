/* listener - a server socket that can be made anew while the process runs.
 * libzmq cannot end one peer's connection, so a peer is cut off by closing the socket for all and
 * listening again; the others reconnect, and catch-up gives them what they missed. */
#ifndef BANMESH_LINK_LISTENER_H
#define BANMESH_LINK_LISTENER_H

#include "readers.h"

typedef struct listener listener_t;

/* Listen at endpoint; "" listens nowhere.
 *   type      ZMQ_PUB or ZMQ_ROUTER
 *   read      called on the loop when the socket can be read; NULL for a PUB
 *   own       borrowed for as long as the listener lives, as readers is
 * NULL with the fault if the address cannot be had. */
listener_t *listener_new(readers_t *readers, int type, const cert_t *own, const char *endpoint,
                         readers_fn *read, void *arg, fault_t *fault);
void listener_destroy(listener_t **self_p);

/* Close, and listen again as soon as the address is free: at once, or some milliseconds later. */
void listener_renew(listener_t *self);

/* The socket; NULL while there is none. Ask each time. */
socket_t *listener_socket(listener_t *self);

/* Call whenever it was used otherwise than by read: sent over. */
void listener_look(listener_t *self);

#endif
