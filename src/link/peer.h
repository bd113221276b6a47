/* peer - the ways to one other node. Out: a SUB to what it announces, a DEALER to its replay. In: a
 * node that nobody can reach offers its own over its DEALER to our ROUTER, and is asked back there.
 * A socket each, so that what comes in is known to be from that key, and so that a connection can
 * be made anew alone: libzmq never mends one that was refused or that met a protocol error. A host
 * name is looked up beforehand (lookup.h), since libzmq would keep all connections waiting. Watches
 * the peer's signed heartbeat. Knows neither feeds nor what messages mean. */
#ifndef BANMESH_LINK_PEER_H
#define BANMESH_LINK_PEER_H

#include "addr.h"
#include "clock.h"
#include "trust.h"

#define PEER_ROUTE_MAX 255 /* bytes of a ROUTER's routing id */

typedef struct peer peer_t;
typedef struct readers readers_t;

/* A connection that was made to our ROUTER, to send back over; the bytes mean nothing to others. */
typedef struct {
    uint8_t bytes[PEER_ROUTE_MAX];
    uint8_t size; /* from 1 on */
} peer_route_t;

/* How a message came. */
typedef enum {
    PEER_ANNOUNCED, /* to all, by its PUB */
    PEER_ANSWERED,  /* to us, by its ROUTER */
    PEER_OFFERED,   /* to us, at our own ROUTER */
} peer_way_t;

typedef struct {
    const uint8_t *bytes;
    size_t size;
    bool more_frames; /* it had several, and is not shown */
    peer_way_t way;
} peer_message_t;

const trusted_t *peer_node(const peer_t *self);
const char *peer_endpoint(const peer_t *self);

/* Send it a request: to its replay, or back to where it offers. 0, or -1 if there is no way or its
 * queue is full. */
int peer_send(peer_t *self, const uint8_t *bytes, size_t size);

/* Send to its replay only, if that way is open. 0 or -1. */
int peer_send_out(peer_t *self, const uint8_t *bytes, size_t size);

/* Its own signed head was received, made at time_ms by its clock. Only one newer than any before
 * proves that it lives. Returns true if it was not connected before. */
bool peer_heartbeat(peer_t *self, int64_t time_ms, peer_way_t by);

/* Connected: a heartbeat of its own, authenticated, within five of our intervals. */
bool peer_connected(const peer_t *self);

/* True if it is connected by its own offers. */
bool peer_offers(const peer_t *self);

/* ms since the last heartbeat; -1 if there never was one. */
int64_t peer_heard_ms(const peer_t *self);

/* It says how long ago it heard us, in ms; -1: never. Beyond limit_ms it does not hear us. */
void peer_said_heard(peer_t *self, int64_t ms_ago, int64_t limit_ms);

/* What it said last, as of now. False if it has said nothing. */
bool peer_hears(const peer_t *self, int64_t *ms_ago);

/* For how long it has said that it does not hear us; -1: it does, or has said nothing. */
int64_t peer_unheard_ms(const peer_t *self);
uint64_t peer_reconnects(const peer_t *self);

/* ---- for the link alone ---- */

/* What peers call back, on the loop. */
typedef struct {
    /* One message. */
    void (*message)(void *arg, peer_t *peer, const peer_message_t *message);
    /* A burst of messages is over: commit, act. */
    void (*idle)(void *arg);
    /* Send along a route that peer_take_route brought. 0, or -1 if it is gone or full. */
    int (*send_back)(void *arg, const peer_route_t *route, const uint8_t *bytes, size_t size);
    void *arg;
} peer_calls_t;

/* Start connecting. readers, own and calls are borrowed for as long as the peer lives; node is
 * copied. endpoint and replay may differ from the certificate's. replay "" means that nothing can
 * be fetched from it; endpoint "" that it is not connected to, and only offers. What cannot be made
 * now is said, and tried again later. */
peer_t *peer_new(readers_t *readers, const cert_t *own, const trusted_t *node, const char *endpoint,
                 const char *replay, const peer_calls_t *calls);
void peer_destroy(peer_t **self_p);

const char *peer_replay(const peer_t *self);

/* True if an address or network touches the one that the peer's messages came from last. */
bool peer_is_at(const peer_t *self, const addr_t *address);

/* True if nothing could be sent to its replay for 5 s, though it is heard: libzmq gave that
 * connection up for a protocol error, which it never mends, or nobody reads there. */
bool peer_takes_nothing(const peer_t *self);

/* It offered something from there. address  that it came from, as text; NULL: not known */
void peer_take_route(peer_t *self, const peer_route_t *route, const char *address);

/* Call each heartbeat interval: makes the connection anew when it was silent for five of them, with
 * back-off up to a minute and jitter. Returns true if it did, or if offers were the only way and
 * ended.
 */
bool peer_watch(peer_t *self, int64_t heartbeat_ms);

/* Make both connections anew, now; the name in its endpoint is looked up again. */
void peer_reconnect(peer_t *self);

#endif
