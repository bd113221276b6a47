#include "world.h"
#include "replica.h"

#include "heads.h"
#include "readers.h"
#include "socket.h"

#include <sodium.h>
#include <string.h>

#define STEP_MS 1
#define WAIT_MS 60000

const state_tables_t *world_tables = &replica_tables;
world_t world;

int world_start(void **state)
{
    static const char *const names[WORLD_NODES] = {"self", "mx1", "mx2", "hist1"};
    static char *aggregators[] = {"hist1"};
    fault_t fault;
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    socket_setup();
    for (size_t i = 0; i < WORLD_NODES; i++) {
        world.certs[i] = support_cert(names[i]);
        world.nodes[i] = forge_node_of(world.certs[i]);
    }
    world.trust = support_trust("trust", world.certs, WORLD_NODES);
    world.settings = (settings_t){.roles.aggregators = {aggregators, 1}};
    world.feed = feed_open(".", &world.certs[SELF]->sign_public, world_tables, &fault);
    if (world.feed == NULL)
        return -1;
    world.wire = wire_new(world.certs[SELF]->sign_seed);
    world.loop = zloop_new();
    world.readers = readers_new(world.loop);
    return 0;
}

int world_end(void **state)
{
    readers_destroy(&world.readers);
    zloop_destroy(&world.loop);
    wire_destroy(&world.wire);
    feed_close(&world.feed);
    trust_destroy(&world.trust);
    for (size_t i = 0; i < WORLD_NODES; i++) {
        forge_end(&world.nodes[i]);
        cert_destroy(&world.certs[i]);
    }
    socket_teardown();
    return support_leave(state);
}

const trusted_t *world_node(int node)
{
    return trust_by_sign(world.trust, &world.certs[node]->sign_public);
}

peer_t *world_peer(int node, const peer_calls_t *calls)
{
    const peer_route_t route = {.bytes = {(uint8_t)node}, .size = 1};
    peer_t *peer = peer_new(world.readers, world.certs[SELF], world_node(node), "", "", calls);
    assert_non_null(peer);
    peer_take_route(peer, &route, NULL);
    assert_true(peer_heartbeat(peer, FORGE_EPOCH, PEER_OFFERED));
    return peer;
}

const feed_ref_t *world_add_feed(int node, uint64_t epoch)
{
    feed_id_t id = forge_feed(&world.nodes[node]);
    id.epoch = epoch;
    const feed_ref_t *ref = feed_add(world.feed, &id);
    assert_non_null(ref);
    return ref;
}

const feed_ref_t *world_feed(int node)
{
    return world_add_feed(node, FORGE_EPOCH);
}

void world_store(int node, uint64_t seq)
{
    static forged_t envelope;
    const feed_ref_t *ref = world_feed(node);
    while (ref->have < seq) {
        forge_batch(&world.nodes[node], ref->have + 1, &envelope);
        assert_int_equal(feed_store(world.feed, ref, ref->have + 1, envelope.bytes, envelope.size),
                         0);
    }
}

void world_keep_head(int node, uint64_t seq, uint64_t floor)
{
    static forged_t envelope;
    forge_head(&world.nodes[node], seq, floor, &envelope);
    assert_int_equal(feed_keep_head(world.feed, world_feed(node), &(feed_mark_t){seq, floor, 0},
                                    envelope.bytes, envelope.size),
                     1);
}

void world_assert_feed(const feed_id_t *one, const feed_id_t *other)
{
    assert_memory_equal(one->origin.bytes, other->origin.bytes, PUBKEY_BYTES);
    assert_int_equal(one->epoch, other->epoch);
    assert_int_equal(one->channel, other->channel);
}

typedef struct {
    bool (*done)(void);
    mono_t since;
} run_t;

static int look(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    const run_t *run = arg;
    return run->done() || mono_since_ms(run->since) > WAIT_MS ? -1 : 0;
}

void world_run(bool (*done)(void))
{
    run_t run = {done, mono_now()};
    int timer = zloop_timer(world.loop, STEP_MS, 0, look, &run);
    zloop_start(world.loop);
    zloop_timer_end(world.loop, timer);
    assert_true(done());
}
