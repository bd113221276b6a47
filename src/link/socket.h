/* socket - ZeroMQ sockets as all of ours are: CURVE, bounded queues, bounded messages, keepalive.
 * Fails closed: a server socket that cannot enforce authentication is never bound. */
#ifndef BANMESH_LINK_SOCKET_H
#define BANMESH_LINK_SOCKET_H

#include "cert.h"
#include "clock.h"

#include <czmq.h>

/* libzmq's own handle: where CZMQ's functions say that they take a polymorphic reference, they take
 * it. Not a zsock_t: making one aborts the process if no file descriptor is left. */
typedef struct socket_handle socket_t;

#define SOCKET_ZAP_DOMAIN "banmesh"
#define SOCKET_QUEUE_MAX  128 /* messages a peer and direction: 8 MiB of the largest */
#define SOCKET_BURST_MAX  64  /* messages of one socket before others on the loop get their turn */
#define SOCKET_BURST_MS   10  /* the same: one message may bring 256 signatures to check */

/* Set up CZMQ for this process: no signal handlers of its own, IPv6 on, no lingering. Once, before
 * any socket. */
void socket_setup(void);

/* End it: after the last socket is gone. */
void socket_teardown(void);

/* A PUB or ROUTER, not yet bound, whose peers must pass the ZAP handler. Fatal if the library
 * cannot enforce that. NULL with the fault if no file descriptor is left. The caller owns it. */
socket_t *socket_server(int type, const cert_t *own, fault_t *fault);

/* Bind. 0, or -1 with the fault naming the endpoint; EADDRINUSE may pass when a socket that was
 * just closed had it. */
int socket_bind(socket_t *self, const char *endpoint, fault_t *fault);

/* A SUB (of everything) or DEALER that connects to the one peer with that public CURVE key. NULL
 * with the fault. The caller owns it. */
socket_t *socket_client(int type, const cert_t *own, const pubkey_t *server_key,
                        const char *endpoint, fault_t *fault);

/* Close it; what waits to be sent goes out within linger_ms. */
void socket_destroy(socket_t **self_p, int linger_ms);

/* Send one single-frame message without waiting. 0, or -1 (queue full: dropped). */
int socket_send(socket_t *self, const void *bytes, size_t size);

/* True if the others on the loop can wait for one more message, after so many since then: among
 * them is the hook, for its answer. */
static inline bool socket_may_read(int count, mono_t since)
{
    return count == 0 || (count < SOCKET_BURST_MAX && mono_since_ms(since) < SOCKET_BURST_MS);
}

/* Receive one message without waiting, into an initialised zmq_msg_t. Returns 1; 0 if there is
 * none; -1 if it had more than one frame and was thrown away. */
int socket_receive(socket_t *self, zmq_msg_t *message);

#endif
