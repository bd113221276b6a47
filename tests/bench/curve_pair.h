/* curve_pair - a PUB and a SUB that are connected with CURVE over TCP on loopback, each in a ZeroMQ
 * context of its own, so each with its own I/O thread, as in two processes. libzmq alone: no loop,
 * no access control. */
#ifndef BANMESH_BENCH_CURVE_PAIR_H
#define BANMESH_BENCH_CURVE_PAIR_H

#include <stddef.h>

typedef struct curve_pair curve_pair_t;

/* Connected: a first message has come through. Fatal on failure. */
curve_pair_t *curve_pair_new(void);
void curve_pair_destroy(curve_pair_t **self_p);

/* Waits where the queue is full: nothing is ever dropped. One thread may send while another
 * receives. */
void curve_pair_send(curve_pair_t *self, const void *bytes, size_t size);

/* Wait for the next message. Fatal if none comes for 10 s. */
void curve_pair_receive(curve_pair_t *self);

#endif
