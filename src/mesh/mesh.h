/* mesh - one node's part in the mesh: link, replica, catch-up, replay, wired together on one loop.
 * The same in banmeshd and in banmesh-aggregator; what is done with the replica is the caller's
 * business. */
#ifndef BANMESH_MESH_MESH_H
#define BANMESH_MESH_MESH_H

#include "catchup.h"
#include "feed.h"
#include "replay.h"
#include "replica.h"

#include <jansson.h>

typedef struct mesh mesh_t;

typedef struct {
    zloop_t *loop;
    feed_t *feed;
    wire_t *wire; /* with our key */
    const cert_t *own;
    const settings_t *settings;
} mesh_config_t;

/* Who follows the replica. */
typedef struct {
    /* As replica_config_t has them; may be NULL. */
    void (*stored)(void *arg, const arrival_t *in, const feed_ref_t *feed,
                   const wire_batch_t *batch);
    void (*taken_back)(void *arg);
    /* The replica moved: there is work. On the loop, after the commit. */
    void (*advanced)(void *arg);
    void *arg;
} mesh_follower_t;

/* Start: listen, connect, announce. Everything in config is borrowed for as long as the mesh lives;
 * settings until mesh_reload. The trust set is taken over. NULL with the fault. */
mesh_t *mesh_new(const mesh_config_t *config, trust_t **trust_p, fault_t *fault);
void mesh_destroy(mesh_t **self_p);

/* A new trust set and new settings. Peers that are gone are cut off at once, in both directions;
 * peers that stayed as they were keep their connections. The set is taken over; listening addresses
 * do not change. Call from a handler of a descriptor or socket, not from a zloop timer. */
void mesh_reload(mesh_t *self, trust_t **trust_p, const settings_t *settings);

/* One follower, copied; NULL: none any more. */
void mesh_follow(mesh_t *self, const mesh_follower_t *follower);

const trust_t *mesh_trust(const mesh_t *self);
replica_t *mesh_replica(mesh_t *self);

/* Announce one of our own batches, already on disk. */
void mesh_publish(mesh_t *self, const uint8_t *envelope, size_t size);

/* True if addr touches an address that a peer's messages came from last. */
bool mesh_is_peer_address(const mesh_t *self, const addr_t *addr);

/* How long ago a node was heard itself, ms; -1: never, or not over a connection of its own. */
int64_t mesh_heard_ms(const mesh_t *self, const pubkey_t *node);

/* The operator's word: a node that was quarantined for a fork counts again. Returns how many forks
 * that was about; 0 if there are none or no such node; -1 and errno of db_step. */
int mesh_reset(mesh_t *self, const char *name);

/* What `banmesh status` shows of the mesh: peers, feeds, counters. The caller owns it. */
json_t *mesh_status(const mesh_t *self);

#endif
