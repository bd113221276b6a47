/* overview: what `banmesh status` is told of the mesh, name by name. */
#include "overview.h"
#include "world.h"

#include <sodium.h>
#include <string.h>

static replica_t *replica;
static replay_t *replay;
static digest_t *digest;
static catchup_t *catchup;
static progress_t *progress;
static peer_t *peers[2];
static json_t *json;
static const peer_calls_t calls;

static const char *name_of(void *arg, const pubkey_t *origin)
{
    (void)arg;
    const trusted_t *node = trust_by_sign(world.trust, origin);
    return node != NULL ? node->name : NULL;
}

static void say(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static int start(void **state)
{
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    const replica_config_t in = {.feed = world.feed, .wire = world.wire};
    replica = replica_new(&in, world.trust, &world.settings, &fault);
    if (replica == NULL)
        return -1;
    digest = digest_new(world.feed);
    const replay_config_t out = {.feed = world.feed,
                                 .wire = world.wire,
                                 .replica = replica,
                                 .digest = digest};
    const progress_calls_t words = {name_of, say, NULL};
    replay = replay_new(&out);
    catchup = catchup_new(world.feed, world.wire, replica);
    progress = progress_new(world.feed, &words);
    peers[0] = world_peer(MX1, &calls);
    peers[1] = peer_new(world.readers, world.certs[SELF], world_node(MX2), "", "", &calls);
    json = NULL;
    return 0;
}

static int end(void **state)
{
    json_decref(json);
    peer_destroy(&peers[0]);
    peer_destroy(&peers[1]);
    progress_destroy(&progress);
    catchup_destroy(&catchup);
    replay_destroy(&replay);
    digest_destroy(&digest);
    replica_destroy(&replica);
    return world_end(state);
}

#define with_parts(name) cmocka_unit_test_setup_teardown(name, start, end)

static void look(void)
{
    const overview_t overview = {.trust = world.trust,
                                 .own_name = "here",
                                 .feed = world.feed,
                                 .peers = peers,
                                 .peer_count = 2,
                                 .catchup = catchup,
                                 .progress = progress,
                                 .replica = replica,
                                 .replay = replay,
                                 .connections = {21, 22, 23},
                                 .announced = 11,
                                 .relayed = 12};
    progress_look(progress, mono_now());
    json_decref(json);
    json = overview_json(&overview);
    assert_non_null(json);
}

static json_t *at(const char *list, size_t index)
{
    json_t *found = json_array_get(json_object_get(json, list), index);
    assert_non_null(found);
    return found;
}

static void assert_text(const json_t *object, const char *name, const char *expected)
{
    assert_string_equal(json_string_value(json_object_get(object, name)), expected);
}

static void assert_number(const json_t *object, const char *name, json_int_t expected)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) != expected)
        fail_msg("%s: expected %lld, but it is %lld", name, (long long)expected,
                 (long long)json_integer_value(value));
}

static void assert_size(const char *list, size_t expected)
{
    assert_true(json_is_array(json_object_get(json, list)));
    assert_int_equal(json_array_size(json_object_get(json, list)), expected);
}

TEST(an_idle_node_has_all_its_lists)
{
    look();
    assert_size("peers", 2);
    assert_size("feeds", 0);
    assert_size("forks", 0);
    assert_size("catching_up", 0);
    assert_number(json, "missing_batches", 0);
    const json_t *messages = json_object_get(json, "messages");
    assert_number(messages, "announced", 11);
    assert_number(messages, "relayed", 12);
    assert_number(messages, "connections_admitted", 21);
    assert_number(messages, "connections_refused", 22);
    assert_number(messages, "connections_kept_out", 23);
    assert_int_equal(json_object_size(json_object_get(messages, "refused")), 0);
}

TEST(a_peer_says_how_it_is_connected_and_what_is_missing_of_it)
{
    world_keep_head(MX1, 9, 1);
    look();
    const json_t *mx1 = at("peers", 0);
    assert_text(mx1, "name", "mx1");
    assert_true(json_is_true(json_object_get(mx1, "connected")));
    assert_true(json_is_true(json_object_get(mx1, "offers")));
    assert_number(mx1, "missing_batches", 9);
    const json_t *mx2 = at("peers", 1);
    assert_true(json_is_false(json_object_get(mx2, "connected")));
    assert_true(json_is_false(json_object_get(mx2, "offers")));
    assert_number(mx2, "heard_ms_ago", -1);
    assert_number(mx2, "missing_batches", 0);
}

TEST(a_feed_says_whose_it_is_and_how_far)
{
    static const pubkey_t stranger = {{66}};
    feed_id_t id = {.epoch = 1};
    id.origin = stranger;
    world_keep_head(MX1, 9, 2);
    world_store(MX1, 5);
    world_feed(SELF);
    assert_non_null(feed_add(world.feed, &id));
    look();
    const json_t *feed = at("feeds", 0);
    assert_text(feed, "origin", "mx1");
    assert_number(feed, "epoch", FORGE_EPOCH);
    assert_number(feed, "have", 5);
    assert_number(feed, "head", 9);
    assert_number(feed, "floor", 2);
    assert_number(feed, "applied", 0);
    assert_text(at("feeds", 1), "origin", "here");
    assert_text(at("feeds", 2), "origin", "(untrusted)");
    const json_t *behind = at("catching_up", 0);
    assert_text(behind, "origin", "mx1");
    assert_number(behind, "have", 4);
    assert_number(behind, "all", 8);
    assert_number(json, "missing_batches", 4);
}

static void receive(const forged_t *forged)
{
    wire_head_t head;
    arrival_t in = {.envelope = *forge_open(forged), .live = true};
    assert_true(replica_resolve(replica, &in));
    replica_receive(replica, &in, &head);
}

TEST(a_fork_shows_both_hashes_and_whether_it_was_reset)
{
    static forged_t envelope;
    char here[2 * WIRE_HASH_BYTES + 1];
    uint8_t hash[WIRE_HASH_BYTES];
    event_t event = support_ban_event("80.94.95.1");
    wire_batch_t other = {.feed = forge_feed(&world.nodes[MX1]), .seq = 1, .event_count = 1};
    forge_batch(&world.nodes[MX1], 1, &envelope);
    wire_hash(forge_open(&envelope), hash);
    receive(&envelope);
    envelope.size = wire_write_batch(world.nodes[MX1].wire, &other, &event, envelope.bytes);
    receive(&envelope);
    look();
    const json_t *fork = at("forks", 0);
    assert_text(fork, "origin", "mx1");
    assert_number(fork, "seq", 1);
    assert_text(fork, "hash_here", sodium_bin2hex(here, sizeof here, hash, sizeof hash));
    assert_string_not_equal(json_string_value(json_object_get(fork, "hash_there")), here);
    assert_true(json_is_true(json_object_get(fork, "quarantined")));
    assert_int_equal(replica_reset(replica, &world.nodes[MX1].public_key), 1);
    look();
    assert_true(json_is_false(json_object_get(at("forks", 0), "quarantined")));
}

TEST(each_refusal_stands_under_its_word)
{
    for (int i = 0; i < REPLICA_REASON_COUNT; i++)
        for (int times = 0; times <= i; times++)
            replica_refuse(replica, (replica_reason_t)i);
    for (int i = WIRE_OK + 1; i < WIRE_ERROR_COUNT; i++)
        for (int times = 0; times <= i; times++)
            replica_refuse_wire(replica, (wire_error_t)i);
    look();
    const json_t *refused = json_object_get(json_object_get(json, "messages"), "refused");
    for (int i = 0; i < REPLICA_REASON_COUNT; i++)
        assert_number(refused, replica_reason_name((replica_reason_t)i), i + 1);
    for (int i = WIRE_OK + 1; i < WIRE_ERROR_COUNT; i++)
        assert_number(refused, wire_error_name((wire_error_t)i), i + 1);
    assert_int_equal(json_object_size(refused), REPLICA_REASON_COUNT + WIRE_ERROR_COUNT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_parts(an_idle_node_has_all_its_lists),
        with_parts(a_peer_says_how_it_is_connected_and_what_is_missing_of_it),
        with_parts(a_feed_says_whose_it_is_and_how_far),
        with_parts(a_fork_shows_both_hashes_and_whether_it_was_reset),
        with_parts(each_refusal_stands_under_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
