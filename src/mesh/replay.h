/* replay - the ROUTER socket: answers peers that ask for what we hold.
 * A peer is who its connection's key says it is; its request must be signed by the same node. One
 * answer is bounded: FETCH brings at most REPLAY_BATCHES_MAX batches or REPLAY_BYTES_MAX bytes,
 * then a DONE that says how far it went. */
#ifndef BANMESH_MESH_REPLAY_H
#define BANMESH_MESH_REPLAY_H

#include "listener.h"
#include "replica.h"

/* An answer must fit the peer's queue whole, or its DONE is lost. Of SOCKET_QUEUE_MAX places almost
 * half may look taken though they are free: libzmq returns them by halves. */
#define REPLAY_BATCHES_MAX (SOCKET_QUEUE_MAX / 2 - 4)
#define REPLAY_BYTES_MAX   (1024 * 1024)

typedef struct replay replay_t;

typedef struct {
    uint64_t fetches;
    uint64_t surveys;
    uint64_t batches_sent;
    uint64_t dropped; /* answers cut short: the peer's queue was full or the peer gone */
} replay_counters_t;

/* All borrowed for as long as the replay lives; trust until replay_set_trust. NULL with the fault
 * if the endpoint cannot be had. */
replay_t *replay_new(zloop_t *loop, const cert_t *own, const char *endpoint, feed_t *feed,
                     wire_t *wire, replica_t *replica, const trust_t *trust, fault_t *fault);
void replay_destroy(replay_t **self_p);

/* From now on this set. With drop, every connection is cut and must pass the gate again; whoever
 * is not in the set gets no further answer either way. */
void replay_set_trust(replay_t *self, const trust_t *trust, bool drop);

const replay_counters_t *replay_counters(const replay_t *self);

#endif
