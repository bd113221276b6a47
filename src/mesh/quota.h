/* quota - what each node may still ask of our replay: its budget, and which of its connections are
 * answered. Knows no feeds. */
#ifndef BANMESH_MESH_QUOTA_H
#define BANMESH_MESH_QUOTA_H

#include "bucket.h"
#include "peer.h"
#include "trust.h"

/* Connections of one node that are answered at a time: each may have a full queue that nobody
 * reads, and libzmq cannot end one. */
#define QUOTA_ROUTES_MAX 4

/* What one node may ask for: enough for a newcomer's million bans at once. */
#define QUOTA_BYTES_PER_S    (24 * 1024 * 1024)
#define QUOTA_BYTES_BURST    (128 * 1024 * 1024)
#define QUOTA_REQUESTS_PER_S 200
#define QUOTA_REQUESTS_BURST 2000

typedef struct {
    pubkey_t key; /* its public signing key */
    bucket_t bytes;
    bucket_t requests;
    peer_route_t routes[QUOTA_ROUTES_MAX];
    size_t route_count;
    mono_t tried_at; /* when it was last asked which of them are there still */
    bool told;       /* the log knows that it has too many connections */
} quota_t;

typedef struct quotas quotas_t;

quotas_t *quotas_new(void);
void quotas_destroy(quotas_t **self_p);

/* The one of a node, made if needed; valid until quotas_keep. */
quota_t *quotas_of(quotas_t *self, const trusted_t *node);

/* Forget nodes that are not in the set. */
void quotas_keep(quotas_t *self, const trust_t *trust);

/* One more request. False if the node is over its budget. */
bool quota_may_ask(quota_t *self);

/* It was sent so much. */
void quota_pay(quota_t *self, size_t bytes);

/* True if requests over this connection are answered: it is known, or there is a place for it.
 * Places of connections that are gone, by is_alive, are given away; that is asked once a second,
 * since it costs a message to each. */
bool quota_has_route(quota_t *self, const peer_route_t *route,
                     bool (*is_alive)(void *arg, const peer_route_t *route), void *arg);

#endif
