/* catchup - which feeds are behind, and whom to ask for the rest.
 * One request a peer at a time. The origin itself is asked first; if it is away or has nothing
 * more, the other connected peers in turn. Where the history is kept, batches under a floor are
 * asked for as well, until the origin, or everybody, says that they are gone. */
#ifndef BANMESH_MESH_CATCHUP_H
#define BANMESH_MESH_CATCHUP_H

#include "feed.h"
#include "peer.h"
#include "replica.h"

#define CATCHUP_CREDIT 16384 /* batches a request; the answer is bounded by who gives it */

typedef struct catchup catchup_t;

/* All borrowed for as long as the catchup lives. */
catchup_t *catchup_new(feed_t *feed, wire_t *wire, const replica_t *replica);
void catchup_destroy(catchup_t **self_p);

/* Ask for what is missing, as far as peers are free. */
void catchup_pump(catchup_t *self, peer_t *const *peers, size_t peer_count);

/* A peer's DONE was received. */
void catchup_done(catchup_t *self, const peer_t *peer, const wire_done_t *done);

/* True if a request is out to that peer. */
bool catchup_is_asked(const catchup_t *self, const peer_t *peer);

/* A peer got connected: its own feeds are asked of it first, and nothing waits any longer, since it
 * may have what nobody else had. */
void catchup_favour(catchup_t *self, const peer_t *peer);

/* A peer was cut off, connected anew, or removed: what was asked of it will not come. */
void catchup_release(catchup_t *self, const peer_t *peer);

/* Call each heartbeat. True if a peer has owed an answer for too long: its connection should be
 * made anew. */
bool catchup_is_stuck(catchup_t *self, const peer_t *peer);

/* Batches missing over all feeds, and of one origin. */
uint64_t catchup_missing(const catchup_t *self);
uint64_t catchup_lag(const catchup_t *self, const uint8_t origin[static FEED_ORIGIN_BYTES]);

#endif
