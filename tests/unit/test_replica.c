/* replica: who is heard, in which order, and what is refused under which word. */
#include "forge.h"
#include "replica.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* A node "self" with a replica, and the nodes "mx1" and "hist1" (an aggregator) that it trusts. */
typedef struct {
    cert_t *certs[3];
    trust_t *trust;
    settings_t settings;
    feed_t *feed;
    wire_t *wire;
    replica_t *replica;
    forge_node_t mx1;
    forge_node_t hist1;
    forge_node_t self;
    size_t stored_count; /* batches that were told */
    size_t live_count;   /* of these, as live */
    uint64_t last_stored;
    size_t taken_back_count;
} world_t;

static world_t world;
static forged_t envelope;
static char *aggregators[] = {"hist1"};

static void note_stored(void *arg, const arrival_t *in, const feed_ref_t *feed,
                        const wire_batch_t *batch)
{
    event_t event;
    (void)arg;
    assert_int_equal(feed->have, batch->seq);
    assert_int_equal(wire_event(world.wire, 0, &event), EVENT_OK); /* of this one */
    assert_int_equal(event.original.seq, batch->seq);
    assert_true(pubkey_equal(&in->signer->sign_public, &batch->feed.origin));
    world.stored_count++;
    world.live_count += in->live;
    world.last_stored = batch->seq;
}

static void note_taken_back(void *arg)
{
    (void)arg;
    world.taken_back_count++;
}

static int start(void **state)
{
    static const char *const names[] = {"self", "mx1", "hist1"};
    fault_t fault;
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    for (size_t i = 0; i < 3; i++)
        world.certs[i] = support_cert(names[i]);
    world.trust = support_trust("trust", world.certs, 3);
    world.settings = (settings_t){.roles.aggregators = {aggregators, 1}};
    world.feed = feed_open(".", &world.certs[0]->sign_public, &replica_tables, &fault);
    if (world.feed == NULL)
        return -1;
    world.wire = wire_new(world.certs[0]->sign_seed);
    const replica_config_t config = {
        .feed = world.feed,
        .wire = world.wire,
        .stored = note_stored,
        .taken_back = note_taken_back,
    };
    world.stored_count = world.live_count = world.taken_back_count = 0;
    world.replica = replica_new(&config, world.trust, &world.settings, &fault);
    if (world.replica == NULL)
        return -1;
    world.self = forge_node_of(world.certs[0]);
    world.mx1 = forge_node_of(world.certs[1]);
    world.hist1 = forge_node_of(world.certs[2]);
    return 0;
}

static int end(void **state)
{
    forge_end(&world.self);
    forge_end(&world.mx1);
    forge_end(&world.hist1);
    replica_destroy(&world.replica);
    wire_destroy(&world.wire);
    feed_close(&world.feed);
    trust_destroy(&world.trust);
    for (size_t i = 0; i < 3; i++)
        cert_destroy(&world.certs[i]);
    return support_leave(state);
}

#define in_world(name) cmocka_unit_test_setup_teardown(name, start, end)

/* As the inbox does it. */
static replica_result_t receive_as(bool live)
{
    wire_head_t head;
    arrival_t in = {.envelope = *forge_open(&envelope), .live = live};
    replica_result_t look = replica_look(world.replica, &in);
    if (look != REPLICA_WANTED)
        return look;
    wire_error_t error = wire_verify(world.wire, &in.envelope);
    if (error == WIRE_OK)
        return replica_receive(world.replica, &in, &head);
    replica_refuse_wire(world.replica, error);
    return REPLICA_REFUSED;
}

static replica_result_t receive(void)
{
    return receive_as(true);
}

static replica_result_t receive_batch(const forge_node_t *node, uint64_t seq)
{
    forge_batch(node, seq, &envelope);
    return receive();
}

static replica_result_t receive_head(const forge_node_t *node, uint64_t seq, uint64_t floor)
{
    forge_head(node, seq, floor, &envelope);
    return receive();
}

static const feed_ref_t *feed_here(const forge_node_t *node)
{
    feed_id_t id = {.epoch = FORGE_EPOCH};
    id.origin = node->public_key;
    return feed_find(world.feed, &id);
}

static uint64_t refused(replica_reason_t reason)
{
    return replica_counters(world.replica)->refused[reason];
}

static uint64_t refused_wire(wire_error_t error)
{
    return replica_counters(world.replica)->refused_wire[error];
}

static void assert_stored_as_received(const forge_node_t *node, uint64_t seq)
{
    const uint8_t *bytes;
    forge_batch(node, seq, &envelope);
    assert_int_equal(feed_read(world.feed, feed_here(node), seq, &bytes), envelope.size);
    assert_memory_equal(bytes, envelope.bytes, envelope.size);
}

TEST(batches_in_order_are_stored_verbatim)
{
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(receive_batch(&world.mx1, seq), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(feed_here(&world.mx1)->have, 3);
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_stored_as_received(&world.mx1, seq);
    assert_int_equal(replica_counters(world.replica)->stored, 3);
}

TEST(the_same_batch_again_changes_nothing)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_KNOWN);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_KNOWN);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_KNOWN);
    assert_int_equal(replica_counters(world.replica)->stored, 2);
    assert_int_equal(replica_counters(world.replica)->known, 3);
}

TEST(a_gap_waits_and_is_closed_in_order)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.mx1, 4), REPLICA_EARLY);
    assert_int_equal(receive_batch(&world.mx1, 3), REPLICA_EARLY);
    assert_int_equal(feed_here(&world.mx1)->have, 1);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 4);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_STORED);
    assert_int_equal(feed_here(&world.mx1)->have, 4);
    assert_int_equal(replica_commit(world.replica), 0);
    for (uint64_t seq = 1; seq <= 4; seq++)
        assert_stored_as_received(&world.mx1, seq);
}

TEST(any_order_ends_in_the_same_feed)
{
    enum { COUNT = 200 };
    uint64_t order[COUNT];
    uint64_t random = support_seed();
    for (uint64_t i = 0; i < COUNT; i++)
        order[i] = i + 1;
    for (uint64_t i = COUNT - 1; i > 0; i--) {
        uint64_t j = support_random(&random) % (i + 1);
        uint64_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < COUNT; i++) {
        receive_batch(&world.mx1, order[i]);
        if (support_random(&random) % 8 == 0)
            receive_batch(&world.mx1, order[support_random(&random) % (i + 1)]);
        if (support_random(&random) % 8 == 0)
            assert_int_equal(replica_commit(world.replica), 0);
    }
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(feed_here(&world.mx1)->have, COUNT);
    assert_int_equal(replica_counters(world.replica)->stored, COUNT);
    for (uint64_t seq = 1; seq <= COUNT; seq++)
        assert_stored_as_received(&world.mx1, seq);
}

TEST(a_stranger_is_refused_before_verification)
{
    forge_node_t stranger = forge_node(66);
    assert_int_equal(receive_batch(&stranger, 1), REPLICA_REFUSED);
    assert_int_equal(receive_head(&stranger, 1, 1), REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_UNKNOWN_ORIGIN), 2);
    assert_int_equal(feed_count(world.feed), 0);
    forge_end(&stranger);
}

TEST(a_forged_signature_is_refused)
{
    forge_batch(&world.mx1, 1, &envelope);
    forge_sign(&world.hist1, &envelope);
    assert_int_equal(receive(), REPLICA_REFUSED);
    assert_int_equal(refused_wire(WIRE_BAD_SIGNATURE), 1);
    assert_int_equal(feed_count(world.feed), 0);
}

TEST(a_signed_batch_that_makes_no_sense_is_refused)
{
    forge_body(&world.mx1, WIRE_BATCH, "", 0, &envelope);
    assert_int_equal(receive(), REPLICA_REFUSED);
    assert_int_equal(refused_wire(WIRE_NO_EVENTS), 1);
    forge_body(&world.mx1, WIRE_HEAD, "", 0, &envelope);
    assert_int_equal(receive(), REPLICA_REFUSED);
    assert_int_equal(refused_wire(WIRE_BAD_NUMBER), 1);
}

TEST(a_head_that_is_too_long_to_keep_is_refused)
{
    static uint8_t padding[600];
    Banmesh__Head body = BANMESH__HEAD__INIT;
    ProtobufCMessageUnknownField field = {99, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 502, padding};
    padding[0] = 0xf4; /* 500, as a varint */
    padding[1] = 0x03;
    body.floor = 1;
    body.base.n_unknown_fields = 1;
    body.base.unknown_fields = &field;
    forge_message(&world.mx1, WIRE_HEAD, &body.base, &envelope);
    assert_int_equal(receive(), REPLICA_REFUSED);
    assert_int_equal(refused_wire(WIRE_TOO_LONG), 1);
}

TEST(an_aggregator_is_heard_but_its_events_count_nowhere)
{
    assert_int_equal(receive_batch(&world.hist1, 1), REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_AGGREGATOR_ROLE), 1);
    assert_int_equal(receive_head(&world.hist1, 1, 1), REPLICA_HEAD);
    assert_int_equal(feed_count(world.feed), 0);
}

TEST(who_is_trusted_no_longer_is_refused_from_then_on)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    cert_t *only_self[] = {world.certs[0]};
    trust_t *smaller = support_trust("smaller", only_self, 1);
    replica_set_trust(world.replica, smaller, &world.settings);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_UNKNOWN_ORIGIN), 1);
    replica_set_trust(world.replica, world.trust, &world.settings);
    trust_destroy(&smaller);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_STORED);
}

TEST(a_head_tells_of_what_is_missing)
{
    assert_int_equal(receive_head(&world.mx1, 9, 1), REPLICA_HEAD);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 9);
    assert_int_equal(feed_here(&world.mx1)->have, 0);
    assert_int_equal(receive_head(&world.mx1, 8, 1), REPLICA_HEAD);
    assert_int_equal(feed_here(&world.mx1)->kept_seq, 9);
    assert_int_equal(replica_commit(world.replica), 0);
    uint8_t kept[WIRE_ENVELOPE_MAX];
    forge_head(&world.mx1, 9, 1, &envelope);
    assert_int_equal(feed_read_head(world.feed, feed_here(&world.mx1), kept, sizeof kept),
                     envelope.size);
    assert_memory_equal(kept, envelope.bytes, envelope.size);
}

TEST(a_heartbeat_of_a_node_that_never_published_makes_no_feed)
{
    wire_head_t heartbeat = {.floor = 1, .time_ms = FORGE_EPOCH};
    envelope.size = wire_write_head(world.mx1.wire, &heartbeat, envelope.bytes);
    assert_int_equal(receive(), REPLICA_HEAD);
    assert_int_equal(feed_count(world.feed), 0);
}

TEST(a_raised_floor_skips_what_no_longer_counts)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.mx1, 6), REPLICA_EARLY);
    assert_int_equal(receive_head(&world.mx1, 6, 5), REPLICA_HEAD);
    assert_int_equal(feed_here(&world.mx1)->have, 4);
    assert_int_equal(receive_batch(&world.mx1, 3), REPLICA_KNOWN);
    assert_int_equal(receive_batch(&world.mx1, 5), REPLICA_STORED);
    assert_int_equal(feed_here(&world.mx1)->have, 6);
}

TEST(a_floor_right_below_the_next_batch_lets_it_in)
{
    assert_int_equal(receive_batch(&world.mx1, 6), REPLICA_EARLY);
    assert_int_equal(receive_head(&world.mx1, 6, 6), REPLICA_HEAD);
    assert_int_equal(feed_here(&world.mx1)->have, 5);
    assert_int_equal(receive_batch(&world.mx1, 6), REPLICA_STORED);
    assert_int_equal(feed_here(&world.mx1)->have, 6);
}

static void assert_our_epoch(const feed_ref_t *own, uint64_t seq, replica_result_t expected)
{
    event_t event = support_ban_event("45.154.244.193");
    wire_batch_t batch = {.feed = {.epoch = own->id.epoch}, .seq = seq, .event_count = 1};
    envelope.size = wire_write_batch(world.self.wire, &batch, &event, envelope.bytes);
    assert_int_equal(receive(), expected);
}

TEST(nobody_gives_numbers_in_our_running_epoch)
{
    const feed_ref_t *own = feed_own(world.feed, (wall_t){FORGE_EPOCH});
    forge_batch(&world.self, 1, &envelope);
    assert_int_equal(feed_store(world.feed, own, 1, envelope.bytes, envelope.size), 0);
    assert_our_epoch(own, 2, REPLICA_REFUSED);
    assert_our_epoch(own, 9, REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_OUR_NUMBERS), 2);
    assert_int_equal(receive_head(&world.self, 9, 1), REPLICA_HEAD);
    assert_int_equal(own->head_seq, 1);
}

TEST(an_older_epoch_of_ours_comes_back_from_peers)
{
    feed_own(world.feed, (wall_t){FORGE_EPOCH + 2});
    assert_int_equal(receive_batch(&world.self, 1), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.self, 2), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(feed_here(&world.self)->have, 2);
    assert_false(feed_here(&world.self)->own_db);
}

TEST(an_origin_with_too_many_epochs_is_refused)
{
    feed_id_t id = {0};
    id.origin = world.mx1.public_key;
    assert_int_equal(db_begin(feed_peers_db(world.feed)), 0);
    for (uint64_t i = 1; i <= FEED_EMPTY_PER_ORIGIN_MAX; i++) {
        id.epoch = i;
        assert_non_null(feed_add(world.feed, &id));
    }
    assert_int_equal(db_commit(feed_peers_db(world.feed)), 0);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_REFUSED);
    assert_int_equal(receive_head(&world.mx1, 1, 1), REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_TOO_MANY_FEEDS), 2);
}

/* What a full disk took back is fetched again. */
TEST(a_full_disk_loses_nothing_that_was_committed)
{
    db_t *db = feed_peers_db(world.feed);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
    sqlite3_stmt *limit = db_prepare(db, "PRAGMA max_page_count = 1");
    assert_int_equal(db_step(db, limit), 1);
    sqlite3_reset(limit);
    replica_result_t result = REPLICA_STORED;
    for (uint64_t seq = 2; seq < 200 && result == REPLICA_STORED; seq++)
        result = receive_batch(&world.mx1, seq);
    assert_int_equal(result, REPLICA_FAILED);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(world.taken_back_count, 1);
    assert_int_equal(feed_here(&world.mx1)->have, 1);
    sqlite3_stmt *more = db_prepare(db, "PRAGMA max_page_count = 100000");
    assert_int_equal(db_step(db, more), 1);
    sqlite3_reset(more);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_stored_as_received(&world.mx1, 2);
}

/* ---- relays ---- */

TEST(only_what_was_announced_is_told_as_live_and_each_once)
{
    receive_head(&world.mx1, 2, 1);
    forge_batch(&world.mx1, 1, &envelope);
    assert_int_equal(receive_as(false), REPLICA_STORED);
    assert_int_equal(world.live_count, 0);
    assert_int_equal(receive_batch(&world.mx1, 3), REPLICA_EARLY);
    assert_int_equal(receive_batch(&world.mx1, 3), REPLICA_EARLY);
    assert_int_equal(world.live_count, 0);
    forge_batch(&world.mx1, 2, &envelope);
    assert_int_equal(receive_as(false), REPLICA_STORED);
    assert_int_equal(world.live_count, 1); /* the early one was live */
    assert_int_equal(world.last_stored, 3);
    assert_int_equal(receive_batch(&world.mx1, 4), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.mx1, 4), REPLICA_KNOWN);
    assert_int_equal(world.live_count, 2);
    assert_int_equal(world.stored_count, 4);
}

/* Over its one connection, a node that nobody can reach sends answers and news: what goes beyond
 * all that was promised is news, and was not relayed. */
TEST(an_answer_beyond_what_was_promised_is_live)
{
    receive_head(&world.mx1, 2, 1);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        forge_batch(&world.mx1, seq, &envelope);
        assert_int_equal(receive_as(false), REPLICA_STORED);
        assert_int_equal(world.live_count, seq > 2);
    }
}

TEST(what_was_taken_back_is_taken_in_again)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    sqlite3_stmt *drop = db_prepare(feed_peers_db(world.feed), "ROLLBACK");
    assert_int_equal(db_step(feed_peers_db(world.feed), drop), 0);
    assert_int_equal(world.taken_back_count, 0);
    assert_int_equal(replica_commit(world.replica), -1);
    assert_int_equal(world.taken_back_count, 1);
    assert_int_equal(feed_here(&world.mx1)->have, 0);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(world.taken_back_count, 1);
    assert_stored_as_received(&world.mx1, 1);
}

/* ---- forks ---- */

/* A second batch under a number that forge_batch used, too. */
static replica_result_t receive_other_batch(const forge_node_t *node, uint64_t seq)
{
    event_t event = support_ban_event("80.94.95.1");
    wire_batch_t batch = {.feed = forge_feed(node), .seq = seq, .event_count = 1};
    envelope.size = wire_write_batch(node->wire, &batch, &event, envelope.bytes);
    return receive();
}

static const fork_t *only_fork(uint64_t seq)
{
    const fork_t *fork = replica_fork(world.replica, 0);
    assert_non_null(fork);
    assert_null(replica_fork(world.replica, 1));
    assert_int_equal(fork->seq, seq);
    assert_memory_not_equal(fork->hash_here, fork->hash_there, WIRE_HASH_BYTES);
    return fork;
}

TEST(two_batches_under_one_number_put_their_origin_into_quarantine)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_other_batch(&world.mx1, 1), REPLICA_REFUSED);
    only_fork(1);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_QUARANTINED), 2);
    assert_int_equal(receive_head(&world.mx1, 2, 1), REPLICA_HEAD); /* it still lives */
    assert_int_equal(feed_here(&world.mx1)->kept_seq, 0);
    assert_stored_as_received(&world.mx1, 1);
}

TEST(a_head_that_does_not_fit_what_is_held_is_a_fork)
{
    assert_int_equal(receive_other_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_head(&world.mx1, 1, 1), REPLICA_HEAD);
    only_fork(1);
}

/* What agreed once is not compared again; only, somebody else may say something else. */
TEST(a_fork_is_found_behind_heads_that_agree)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_STORED);
    wire_head_t head = {.feed = forge_feed(&world.mx1), .seq = 2, .floor = 1};
    wire_hash(forge_open(&envelope), head.hash);
    for (head.time_ms = 1; head.time_ms < 4; head.time_ms++) {
        envelope.size = wire_write_head(world.mx1.wire, &head, envelope.bytes);
        assert_int_equal(receive(), REPLICA_HEAD);
    }
    assert_null(replica_fork(world.replica, 0));
    head.seq = 1; /* the same hash for another number */
    envelope.size = wire_write_head(world.mx1.wire, &head, envelope.bytes);
    receive();
    only_fork(1);
}

TEST(a_batch_that_does_not_fit_the_head_before_it_is_a_fork)
{
    assert_int_equal(receive_head(&world.mx1, 2, 1), REPLICA_HEAD);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_null(replica_fork(world.replica, 0));
    receive_other_batch(&world.mx1, 2);
    only_fork(2);
}

/* What was found a fork was relayed all the same, and what waited behind it was stored. */
TEST(nothing_of_a_fork_goes_further)
{
    assert_int_equal(receive_head(&world.mx1, 1, 1), REPLICA_HEAD);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_EARLY);
    assert_int_equal(receive_other_batch(&world.mx1, 1), REPLICA_REFUSED);
    assert_int_equal(refused(REPLICA_QUARANTINED), 1);
    only_fork(1);
    assert_int_equal(world.stored_count, 0);
    assert_int_equal(feed_here(&world.mx1)->have, 0);
}

TEST(what_fits_the_head_is_stored_with_its_events)
{
    assert_int_equal(receive_head(&world.mx1, 1, 1), REPLICA_HEAD);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(world.stored_count, 1);
    assert_null(replica_fork(world.replica, 0));
}

TEST(other_origins_go_on_beside_a_quarantine)
{
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    receive_other_batch(&world.mx1, 1);
    assert_int_equal(receive_batch(&world.self, 1), REPLICA_STORED);
}

static void open_replica_again(void)
{
    fault_t fault;
    replica_config_t config = {.feed = world.feed, .wire = world.wire};
    assert_int_equal(replica_commit(world.replica), 0);
    replica_destroy(&world.replica);
    world.replica = replica_new(&config, world.trust, &world.settings, &fault);
    assert_non_null(world.replica);
}

/* Whoever takes a transaction back has the feeds read from disk again: sink and origin, too. */
TEST(nothing_of_a_quarantined_origin_is_missed_after_others_took_something_back)
{
    receive_batch(&world.mx1, 1);
    receive_head(&world.mx1, 9, 1);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 9);
    receive_other_batch(&world.mx1, 1);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 1);
    feed_forget(world.feed);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 1);
    assert_int_equal(replica_reset(world.replica, &world.mx1.public_key), 1);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 9);
    feed_forget(world.feed);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 9);
}

TEST(a_quarantine_survives_a_restart_and_ends_by_the_operators_word)
{
    receive_batch(&world.mx1, 1);
    receive_other_batch(&world.mx1, 1);
    fork_t found = *only_fork(1);
    open_replica_again();
    const fork_t *kept = only_fork(1);
    assert_true(pubkey_equal(&kept->feed.origin, &found.feed.origin));
    assert_int_equal(kept->feed.epoch, found.feed.epoch);
    assert_int_equal(kept->feed.channel, found.feed.channel);
    assert_memory_equal(kept->hash_here, found.hash_here, WIRE_HASH_BYTES);
    assert_memory_equal(kept->hash_there, found.hash_there, WIRE_HASH_BYTES);
    assert_int_equal(kept->found_ms, found.found_ms);
    assert_false(kept->reset);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_REFUSED);
    assert_int_equal(replica_reset(world.replica, &world.self.public_key), 0);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_REFUSED);
    assert_int_equal(replica_reset(world.replica, &world.mx1.public_key), 1);
    open_replica_again();
    assert_true(only_fork(1)->reset);
    assert_int_equal(receive_batch(&world.mx1, 2), REPLICA_STORED);
    /* What is held stands: the old proof does not count again. */
    assert_int_equal(receive_other_batch(&world.mx1, 1), REPLICA_KNOWN);
    assert_int_equal(receive_batch(&world.mx1, 3), REPLICA_STORED);
}

TEST(somebody_else_who_signs_with_our_key_is_told)
{
    const feed_ref_t *own = feed_own(world.feed, (wall_t){FORGE_EPOCH});
    forge_batch(&world.self, 1, &envelope);
    assert_int_equal(feed_store(world.feed, own, 1, envelope.bytes, envelope.size), 0);
    assert_our_epoch(own, 1, REPLICA_REFUSED);
    only_fork(1);
}

/* A floor that rises makes room; batches and other heads take some. */
static bool knows_head(uint64_t seq)
{
    forged_t forged;
    wire_head_t head;
    forge_head(&world.mx1, seq, 1, &forged);
    return replica_knows_head(world.replica, forge_open(&forged), &head);
}

/* Or its heartbeats would be taken for told, and it would never be kept. */
TEST(a_head_that_could_not_be_kept_is_not_known)
{
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(receive_batch(&world.mx1, seq), REPLICA_STORED);
    assert_int_equal(receive_head(&world.mx1, 2, 1), REPLICA_HEAD);
    assert_true(knows_head(2));
    assert_int_equal(replica_commit(world.replica), 0);
    db_freeze(feed_peers_db(world.feed), true);
    assert_int_equal(receive_head(&world.mx1, 3, 1), REPLICA_FAILED);
    assert_false(knows_head(3));
    db_freeze(feed_peers_db(world.feed), false);
    assert_int_equal(receive_head(&world.mx1, 3, 1), REPLICA_HEAD);
    assert_true(knows_head(3));
    assert_int_equal(feed_here(&world.mx1)->kept_seq, 3);
    assert_int_equal(replica_commit(world.replica), 0);
}

TEST(with_the_disk_full_only_a_floor_that_rises_is_kept)
{
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(receive_batch(&world.mx1, seq), REPLICA_STORED);
    assert_int_equal(receive_head(&world.mx1, 3, 1), REPLICA_HEAD);
    assert_int_equal(replica_commit(world.replica), 0);
    db_freeze(feed_peers_db(world.feed), true);
    assert_int_equal(receive_batch(&world.mx1, 4), REPLICA_FAILED);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(receive_head(&world.mx1, 5, 1), REPLICA_FAILED);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(feed_here(&world.mx1)->head_seq, 5);
    assert_int_equal(receive_head(&world.mx1, 5, 3), REPLICA_HEAD);
    assert_int_equal(receive_batch(&world.mx1, 4), REPLICA_FAILED);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(feed_here(&world.mx1)->floor, 3);
    assert_int_equal(feed_here(&world.mx1)->have, 3);
    db_freeze(feed_peers_db(world.feed), false);
    assert_int_equal(receive_batch(&world.mx1, 4), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
}

static const feed_ref_t *make_older_epoch_of_ours(void)
{
    const feed_ref_t *own = feed_own(world.feed, (wall_t){FORGE_EPOCH});
    feed_id_t later = own->id;
    assert_true(own->own_db);
    later.epoch++;
    assert_non_null(feed_add(world.feed, &later));
    assert_null(feed_own_current(world.feed));
    return own;
}

/* They were stored outside of any transaction, each synced alone. */
TEST(batches_of_ours_that_come_back_into_own_db_are_committed_together)
{
    const feed_ref_t *own = make_older_epoch_of_ours();
    feed_own(world.feed, (wall_t){FORGE_EPOCH + 2});
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    assert_int_equal(receive_head(&world.self, 3, 1), REPLICA_HEAD);
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(receive_batch(&world.self, seq), REPLICA_STORED);
    sqlite3 *other;
    sqlite3_stmt *count;
    assert_int_equal(sqlite3_open("./own.db", &other), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(other, "SELECT count(*) FROM batch", -1, &count, NULL), 0);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(count, 0), 0);
    sqlite3_reset(count);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(count, 0), 3);
    sqlite3_finalize(count);
    sqlite3_close(other);
    assert_int_equal(own->have, 3);
    assert_int_equal(own->kept_seq, 3);
}

static void limit_own_db(int pages)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d", pages);
    sqlite3_stmt *limit = db_prepare(feed_own_db(world.feed), sql);
    assert_int_equal(db_step(feed_own_db(world.feed), limit), 1);
    sqlite3_reset(limit);
}

TEST(what_fails_in_one_database_is_taken_back_in_both)
{
    const feed_ref_t *own = make_older_epoch_of_ours();
    uint64_t seq = 0;
    feed_own(world.feed, (wall_t){FORGE_EPOCH + 2});
    limit_own_db(1);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    while (receive_batch(&world.self, seq + 1) == REPLICA_STORED)
        seq++;
    assert_int_equal(errno, ENOSPC);
    assert_true(seq > 0);
    assert_int_equal(own->have, 0);
    assert_int_equal(feed_here(&world.mx1)->have, 0);
    limit_own_db(100000);
    assert_int_equal(receive_batch(&world.mx1, 1), REPLICA_STORED);
    for (uint64_t i = 1; i <= seq + 1; i++)
        assert_int_equal(receive_batch(&world.self, i), REPLICA_STORED);
    assert_int_equal(replica_commit(world.replica), 0);
    assert_stored_as_received(&world.self, seq + 1);
    assert_stored_as_received(&world.mx1, 1);
}

TEST(every_reason_has_a_word)
{
    for (int reason = 0; reason < REPLICA_REASON_COUNT; reason++)
        assert_true(strlen(replica_reason_name((replica_reason_t)reason)) > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_world(batches_in_order_are_stored_verbatim),
        in_world(the_same_batch_again_changes_nothing),
        in_world(a_gap_waits_and_is_closed_in_order),
        in_world(any_order_ends_in_the_same_feed),
        in_world(a_stranger_is_refused_before_verification),
        in_world(a_forged_signature_is_refused),
        in_world(a_signed_batch_that_makes_no_sense_is_refused),
        in_world(a_head_that_is_too_long_to_keep_is_refused),
        in_world(an_aggregator_is_heard_but_its_events_count_nowhere),
        in_world(who_is_trusted_no_longer_is_refused_from_then_on),
        in_world(a_head_tells_of_what_is_missing),
        in_world(a_heartbeat_of_a_node_that_never_published_makes_no_feed),
        in_world(a_raised_floor_skips_what_no_longer_counts),
        in_world(a_floor_right_below_the_next_batch_lets_it_in),
        in_world(nobody_gives_numbers_in_our_running_epoch),
        in_world(an_older_epoch_of_ours_comes_back_from_peers),
        in_world(an_origin_with_too_many_epochs_is_refused),
        in_world(a_full_disk_loses_nothing_that_was_committed),
        in_world(only_what_was_announced_is_told_as_live_and_each_once),
        in_world(an_answer_beyond_what_was_promised_is_live),
        in_world(nothing_of_a_fork_goes_further),
        in_world(what_fits_the_head_is_stored_with_its_events),
        in_world(what_was_taken_back_is_taken_in_again),
        in_world(two_batches_under_one_number_put_their_origin_into_quarantine),
        in_world(a_head_that_does_not_fit_what_is_held_is_a_fork),
        in_world(a_fork_is_found_behind_heads_that_agree),
        in_world(a_batch_that_does_not_fit_the_head_before_it_is_a_fork),
        in_world(other_origins_go_on_beside_a_quarantine),
        in_world(nothing_of_a_quarantined_origin_is_missed_after_others_took_something_back),
        in_world(a_quarantine_survives_a_restart_and_ends_by_the_operators_word),
        in_world(somebody_else_who_signs_with_our_key_is_told),
        in_world(a_head_that_could_not_be_kept_is_not_known),
        in_world(with_the_disk_full_only_a_floor_that_rises_is_kept),
        in_world(batches_of_ours_that_come_back_into_own_db_are_committed_together),
        in_world(what_fails_in_one_database_is_taken_back_in_both),
        in_world(every_reason_has_a_word),
    };
    return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}
