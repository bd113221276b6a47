/* world - a node "self" that trusts mx1, mx2 and the aggregator hist1, with a replica on disk, a
 * loop, and peers without sockets: what a room of the mesh stands on, for its tests. */
#ifndef BANMESH_TESTS_WORLD_H
#define BANMESH_TESTS_WORLD_H

#include "feed.h"
#include "forge.h"
#include "peer.h"
#include "settings.h"

#include <czmq.h>

enum { SELF, MX1, MX2, HIST1, WORLD_NODES };

typedef struct {
    cert_t *certs[WORLD_NODES];
    forge_node_t nodes[WORLD_NODES];
    trust_t *trust;
    settings_t settings;
    feed_t *feed; /* of self, in the working directory */
    wire_t *wire; /* with self's key */
    zloop_t *loop;
    readers_t *readers;
} world_t;

extern world_t world;

/* What is kept beside the feeds; a test of node sets another before it starts. */
extern const state_tables_t *world_tables;

#define in_world(name) cmocka_unit_test_setup_teardown(name, world_start, world_end)

int world_start(void **state);
int world_end(void **state);

/* A peer that nobody can reach, as if its offers came in: connected, and asked over calls'
 * send_back, along a route that is its number as one byte. The caller owns it. */
peer_t *world_peer(int node, const peer_calls_t *calls);

const trusted_t *world_node(int node);

/* The feed of a node in FORGE_EPOCH: as it is held, or made. */
const feed_ref_t *world_feed(int node);
const feed_ref_t *world_add_feed(int node, uint64_t epoch);

/* Store forge_batch's batches of a node's feed in FORGE_EPOCH, up to seq. */
void world_store(int node, uint64_t seq);
/* Keep forge_head's head of it. */
void world_keep_head(int node, uint64_t seq, uint64_t floor);

void world_assert_feed(const feed_id_t *one, const feed_id_t *other);

/* Run the loop until done says so; fails if that takes a minute. */
void world_run(bool (*done)(void));

#endif
