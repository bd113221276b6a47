/* roster - whom this node is connected to: a peer for each node of the trust set that has an
 * address, and for each other one that ever offered something. Knows nothing of what they say. */
#ifndef BANMESH_LINK_ROSTER_H
#define BANMESH_LINK_ROSTER_H

#include "peer.h"
#include "readers.h"
#include "settings.h"

/* Begins with the first three, borrowed for as long as it lives, and the rest zero. peers and count
 * are read-only to others. */
typedef struct {
    readers_t *readers;
    const cert_t *own;
    const peer_calls_t *calls;
    peer_t **peers; /* in the order of the trust set; those that only offer behind them */
    size_t count;
} roster_t;

/* Connect to every node of a set that has an address: the settings go before its certificate.
 * Connections that are as they should be stay; each other one is told to drop and ended. The set
 * must live until the next one is there. Not in a zloop timer. */
void roster_set(roster_t *self, const trust_t *trust, const settings_t *settings,
                void (*drop)(void *arg, const peer_t *peer), void *arg);

/* End all. */
void roster_clear(roster_t *self);

/* Somebody else who has our keys is no peer of ours. */
bool roster_is_self(const roster_t *self, const trusted_t *node);

/* The peer of a node of the set that offered something, made if there is none. */
peer_t *roster_offers(roster_t *self, const trusted_t *node);

/* Whether an address or network touches one that a peer's messages came from. */
bool roster_is_at(const roster_t *self, const addr_t *address);

/* How many of a set have no address, and never offered anything: they may come yet. */
size_t roster_unseen(const roster_t *self, const trust_t *trust);

#endif
