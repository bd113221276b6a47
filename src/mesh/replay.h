/* replay - the ROUTER socket: answers peers that ask for what we hold, and takes in what peers
 * offer that nobody can reach. A peer is who its connection's key says it is; its request must be
 * signed by the same node. One answer is bounded: FETCH brings at most REPLAY_MESSAGES_MAX messages
 * or REPLAY_BYTES_MAX bytes, then a DONE that says how far it went. A peer that asks too much gets
 * empty answers for a while. */
#ifndef BANMESH_MESH_REPLAY_H
#define BANMESH_MESH_REPLAY_H

#include "digest.h"
#include "listener.h"
#include "replica.h"

/* An answer must fit the peer's queue whole, or its DONE is lost. Of SOCKET_QUEUE_MAX places almost
 * half may look taken though they are free: libzmq returns them by halves. */
#define REPLAY_MESSAGES_MAX (SOCKET_QUEUE_MAX / 2 - 4)
#define REPLAY_BYTES_MAX    (1024 * 1024)

typedef struct replay replay_t;

typedef struct {
    uint64_t fetches;
    uint64_t surveys;
    uint64_t heads_sent; /* in answer to surveys, last words included */
    uint64_t batches_sent;
    uint64_t dropped;  /* answers cut short: the peer's queue was full or the peer gone */
    uint64_t put_off;  /* answered with nothing: over the budget */
    uint64_t too_many; /* requests over one connection too many */
} replay_counters_t;

/* Where an answer goes: false if that is full or gone. */
typedef struct {
    bool (*send)(void *to, const uint8_t *bytes, size_t size);
    void *to;
} replay_way_t;

/* What came over a connection of a trusted node and is no request. */
typedef struct {
    const trusted_t *sender;
    const envelope_t *envelope;
    const uint8_t *route; /* how to send back */
    size_t route_size;
    zmq_msg_t *message;
} replay_offer_t;

typedef struct {
    zloop_t *loop;
    const cert_t *own;
    feed_t *feed;
    wire_t *wire;
    replica_t *replica;
    digest_t *digest;
    void (*offered)(void *arg, const replay_offer_t *offer);
    void (*idle)(void *arg); /* a burst of messages is over */
    void *arg;
} replay_config_t;

/* Everything in config is borrowed for as long as the replay lives; trust until replay_set_trust.
 * NULL with the fault if the endpoint cannot be had. */
replay_t *replay_new(const replay_config_t *config, const char *endpoint, const trust_t *trust,
                     fault_t *fault);
void replay_destroy(replay_t **self_p);

/* Answer one FETCH or SURVEY that came from that node. */
void replay_answer(replay_t *self, const replay_way_t *way, const trusted_t *sender,
                   const envelope_t *envelope);

/* Send along a route that an offer brought. False if it is full or gone. */
bool replay_send(replay_t *self, const uint8_t *route, size_t route_size, const uint8_t *bytes,
                 size_t size);

/* From now on this set: whoever is not in it gets no further answer. */
void replay_set_trust(replay_t *self, const trust_t *trust);

/* Cut every connection: each must pass the gate again. */
void replay_renew(replay_t *self);

const replay_counters_t *replay_counters(const replay_t *self);

#endif
