/* readers - all sockets of the link as one descriptor on the loop.
 * Given sockets, zloop has zmq_poll ask each of them, in two system calls, whenever anything at all
 * wakes it: with two sockets a peer, and a heartbeat of each every second, that grows with the
 * square of the peers. Here epoll says which of them have news (their ZMQ_FD); nobody asks the
 * others. That descriptor tells of what comes in once, perhaps while the socket was used for
 * something else: so a socket is asked again after each use, until it has nothing left.
 * Knows nothing of what is read. */
#ifndef BANMESH_LINK_READERS_H
#define BANMESH_LINK_READERS_H

#include "socket.h"

typedef struct readers readers_t;
typedef struct reader reader_t; /* one socket of these */

/* loop is borrowed for as long as the readers live. */
readers_t *readers_new(zloop_t *loop);
/* After the last one was removed. */
void readers_destroy(readers_t **self_p);

zloop_t *readers_loop(const readers_t *self);

/* Call read on the loop when the socket can be read, and again while it can; the others have their
 * turn in between. Socket and arg are borrowed until it is removed, which read may do, too. */
typedef void(readers_fn)(void *arg, socket_t *socket);
reader_t *readers_add(readers_t *self, socket_t *socket, readers_fn *read, void *arg);
void readers_remove(readers_t *self, reader_t **reader_p);

/* Call whenever the socket was used otherwise: sent over. */
void readers_look(readers_t *self, reader_t *reader);

#endif
