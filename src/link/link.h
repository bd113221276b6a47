/* link - the connections of this node: who may make one, whom it connects to, what comes in and
 * goes out over them. Decides about connections, and says so in the log; knows nothing of what
 * messages mean. This header and peer.h are all that the mesh has of the network: another link.c
 * and peer.c (with clock.c and chance.c) can stand in its place. */
#ifndef BANMESH_LINK_LINK_H
#define BANMESH_LINK_LINK_H

#include "loop.h"
#include "peer.h"
#include "settings.h"

/* Messages that fit the queue of a connection whose other end has read all that came before. */
#define LINK_ANSWER_MAX 60

typedef struct link link_t;

/* A message over a connection that was made to us, borrowed for the call. */
typedef struct {
    const trusted_t *sender; /* by the key of its connection; NULL: not in the set any more */
    peer_route_t route;      /* back over it */
    const char *address;     /* it came from, as text; NULL: not known */
    const uint8_t *bytes;
    size_t size;
    bool more_frames; /* it had several, and is not shown */
} link_visit_t;

/* All on the loop; none from within a call of the link but link_tick, link_reload (let_go). */
typedef struct {
    /* A message over a connection that we made. */
    void (*message)(void *arg, peer_t *peer, const peer_message_t *message);
    /* One over a connection that was made to us. True if it was a request: of those, and of bytes
     * that answer them, one turn takes few. */
    bool (*visit)(void *arg, const link_visit_t *visit);
    /* A burst of messages is over: commit, act. */
    void (*idle)(void *arg);
    /* True if a peer has owed an answer for too long; asked each link_tick. */
    bool (*owes)(void *arg, const peer_t *peer);
    /* A peer goes away, or is connected anew: what it was asked will not come. */
    void (*let_go)(void *arg, const peer_t *peer);
    void *arg;
} link_calls_t;

typedef struct {
    zloop_t *loop;
    const cert_t *own;
    link_calls_t calls;
} link_config_t;

/* Connections that were made to us. */
typedef struct {
    uint64_t admitted;
    uint64_t refused;
    uint64_t kept_out; /* trusted, but they came too often */
} link_counters_t;

/* Listen, and connect to each node of the set that has an address. What config holds is borrowed
 * for as long as the link lives; set and settings until link_reload. NULL with the fault if an
 * address to listen at cannot be had. */
link_t *link_new(const link_config_t *config, const trust_t *trust, const settings_t *settings,
                 fault_t *fault);
void link_destroy(link_t **self_p);

/* Another set, other settings; the old set is not used any more. If somebody left, all connections
 * that were made to us are cut: true. Not in a zloop timer, nor is link_tick. */
bool link_reload(link_t *self, const trust_t *trust, const settings_t *settings);

/* Call each heartbeat: ends connections that are silent, stuck or too many. */
void link_tick(link_t *self);

/* To all that listen; and where nobody can listen to us, to all that we are connected to. */
void link_announce(link_t *self, const uint8_t *bytes, size_t size);

/* Back over one connection. 0; or -1, errno EAGAIN: its queue is full; any other: it is gone. */
int link_answer(link_t *self, const peer_route_t *route, const uint8_t *bytes, size_t size);

/* The visit was an offer: that peer, made if there was none. NULL if the sender is ourselves. */
peer_t *link_offered(link_t *self, const link_visit_t *visit);

/* All peers, connected or not; until link_reload or link_offered. */
peer_t *const *link_peers(const link_t *self, size_t *count);

/* How many nodes of the set are no peers, as they have no address and never offered anything. */
size_t link_unseen(const link_t *self);

/* True if an address or network touches a peer's. */
bool link_is_peer_address(const link_t *self, const addr_t *address);

link_counters_t link_counters(const link_t *self);

#endif
