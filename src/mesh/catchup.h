/* catchup - which feeds are behind, and whom to ask for the rest.
 * One request a peer at a time. The origin itself is asked first; if it is away or has nothing
 * more, the other connected peers in turn. Where the history is kept, batches under a floor are
 * asked for as well, until the origin and everybody else said that they lack them. */
#ifndef BANMESH_MESH_CATCHUP_H
#define BANMESH_MESH_CATCHUP_H

#include "feed.h"
#include "peer.h"
#include "replica.h"

#define CATCHUP_CREDIT 16384 /* batches a request; the answer is bounded by who gives it */

/* Before what an origin said to be gone, and all who are connected, is given up: nodes that are not
 * connected yet may have it, and after a start, theirs or ours, it takes as long as the longest
 * back-off of a connection (a minute), and a heartbeat (a minute at most). */
#define CATCHUP_PEERS_WAIT_MS 120000
/* And before what only an origin may have counts as gone, if it is away. */
#define CATCHUP_ORIGIN_WAIT_MS 3600000

typedef struct catchup catchup_t;

/* All borrowed for as long as the catchup lives. */
catchup_t *catchup_new(feed_t *feed, wire_t *wire, const replica_t *replica);
void catchup_destroy(catchup_t **self_p);

/* Who there is; borrowed for the call. */
typedef struct {
    peer_t *const *peers; /* connected or not */
    size_t count;
    size_t unseen; /* other trusted nodes, of which nothing was seen yet */
} catchup_peers_t;

/* Ask for what is missing, as far as peers are free; where the history is kept, give up what nobody
 * has any more. */
void catchup_pump(catchup_t *self, const catchup_peers_t *them, mono_t now);

/* True if something happened since then that may let it ask for more: there is no need to look at
 * all feeds at the end of each burst of heartbeats. What only waits is looked at by the clock. */
bool catchup_is_due(const catchup_t *self);

/* A peer's DONE was received. */
void catchup_done(catchup_t *self, const peer_t *peer, const wire_done_t *done);

/* True if a request is out to that peer. */
bool catchup_is_asked(const catchup_t *self, const peer_t *peer);

/* A peer got connected: its own feeds are asked of it first, and for what others did not have it is
 * asked once, at once, since it may have that. It is borrowed until it is released. */
void catchup_favour(catchup_t *self, peer_t *peer);

/* A peer was cut off, connected anew, or removed: what was asked of it will not come. */
void catchup_release(catchup_t *self, const peer_t *peer);

/* Call each heartbeat. True if a peer has owed an answer for too long: its connection should be
 * made anew. */
bool catchup_is_stuck(catchup_t *self, const peer_t *peer);

/* Batches missing over all feeds, and of one origin. */
uint64_t catchup_missing(const catchup_t *self);
uint64_t catchup_lag(const catchup_t *self, const pubkey_t *origin);

#endif
