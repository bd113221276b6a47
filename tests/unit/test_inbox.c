/* inbox: who may say what by which way, and what a bad peer gets out of it. */
#include "inbox.h"
#include "world.h"

#include <string.h>

static replica_t *replica;
static catchup_t *catchup;
static const wire_survey_t all = {.all = true};
static inbox_t *inbox;
static peer_t *mx1;
static peer_t *mx2;
static forged_t envelope;
static wire_bundle_t bundle;
static size_t live_count;
static size_t connected_count;
static size_t began_count;
static size_t asked_count;
static size_t idle_count;
static size_t wanted; /* `stored` at which the loop stops */

static void count_live(void *arg, const arrival_t *in, const feed_ref_t *feed,
                       const wire_batch_t *batch)
{
    (void)arg;
    assert_int_equal(in->envelope.kind, WIRE_BATCH);
    assert_int_equal(feed->have, batch->seq);
    live_count += in->live;
}

static void count_connected(void *arg, peer_t *peer)
{
    (void)arg;
    assert_true(peer == mx1 || peer == mx2);
    connected_count++;
}

static void count_began(void *arg, peer_t *peer)
{
    (void)arg;
    assert_non_null(peer);
    began_count++;
}

static void count_asked(void *arg, peer_t *peer, const envelope_t *request)
{
    (void)arg;
    assert_ptr_equal(peer, mx1);
    assert_true(request->kind == WIRE_FETCH || request->kind == WIRE_SURVEY);
    asked_count++;
}

static void fail_now(void *arg)
{
    (void)arg;
    fail_msg("%s", db_error(feed_peers_db(world.feed)));
}

/* As mesh does it. */
static void settle(void *arg)
{
    (void)arg;
    assert_int_equal(replica_commit(replica), 0);
    idle_count++;
}

static int send_request(void *arg, const peer_route_t *route, const uint8_t *bytes, size_t size)
{
    (void)arg;
    (void)route;
    (void)bytes;
    (void)size;
    return 0;
}

static const peer_calls_t calls = {.send_back = send_request};

static int start(void **state)
{
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    const replica_config_t in = {.feed = world.feed, .wire = world.wire, .stored = count_live};
    replica = replica_new(&in, world.trust, &world.settings, &fault);
    if (replica == NULL)
        return -1;
    catchup = catchup_new(world.feed, world.wire, replica);
    const inbox_config_t config = {world.loop, world.feed,      world.wire,  replica,
                                   catchup,    count_connected, count_began, count_asked,
                                   NULL,       fail_now,        settle,      NULL};
    inbox = inbox_new(&config);
    mx1 = world_peer(MX1, &calls);
    mx2 = world_peer(MX2, &calls);
    live_count = connected_count = began_count = asked_count = idle_count = wanted = 0;
    bundle.count = bundle.used = 0;
    return 0;
}

static int end(void **state)
{
    inbox_destroy(&inbox);
    peer_destroy(&mx1);
    peer_destroy(&mx2);
    catchup_destroy(&catchup);
    replica_destroy(&replica);
    return world_end(state);
}

#define with_inbox(name) cmocka_unit_test_setup_teardown(name, start, end)

static void take(peer_t *peer, peer_way_t way)
{
    const peer_message_t message = {envelope.bytes, envelope.size, false, way};
    inbox_receive(inbox, peer, &message);
    memset(envelope.bytes, 0xff, envelope.size); /* it was borrowed for the call */
}

static void take_batch(peer_t *peer, int node, uint64_t seq, peer_way_t way)
{
    forge_batch(&world.nodes[node], seq, &envelope);
    take(peer, way);
}

/* Put what was made last into the bundle. */
static void gather(void)
{
    assert_true(wire_bundle_add(&bundle, envelope.bytes, envelope.size));
}

static void take_bundle(peer_t *peer, int signer, peer_way_t way)
{
    envelope.size = wire_write_bundle(world.nodes[signer].wire, &bundle, envelope.bytes);
    assert_true(envelope.size > 0);
    take(peer, way);
    bundle.count = bundle.used = 0;
}

static void take_done(peer_t *peer, int signer, const feed_id_t *feed)
{
    const wire_done_t done = {.feed = *feed};
    envelope.size = wire_write_done(world.nodes[signer].wire, &done, envelope.bytes);
    take(peer, PEER_ANSWERED);
}

static void take_heartbeat(peer_t *peer, int node, int64_t time_ms, peer_way_t way)
{
    const wire_head_t head = {.floor = 1, .time_ms = time_ms};
    envelope.size = wire_write_head(world.nodes[node].wire, &head, envelope.bytes);
    take(peer, way);
}

static uint64_t refused(replica_reason_t reason)
{
    return replica_counters(replica)->refused[reason];
}

static uint64_t refused_wire(wire_error_t error)
{
    return replica_counters(replica)->refused_wire[error];
}

static uint64_t stored(void)
{
    return replica_counters(replica)->stored;
}

static bool all_stored(void)
{
    return stored() == wanted && idle_count > 0;
}

static void wait_stored(size_t count)
{
    idle_count = 0;
    wanted = count;
    world_run(all_stored);
}

static bool has_last(void)
{
    return world_feed(MX2)->have == wanted;
}

/* Whatever the verifier has is taken in: a last batch of mx2's behind all of it. */
static void wait_verified(void)
{
    wanted = world_feed(MX2)->have + 1;
    take_batch(mx2, MX2, wanted, PEER_ANSWERED);
    world_run(has_last);
}

/* Have what is missing asked of a peer. */
static void pump(peer_t *peer)
{
    const catchup_peers_t them = {&peer, 1, 0};
    catchup_pump(catchup, &them, mono_now());
}

TEST(what_is_announced_is_taken_in_at_once_and_told_as_live)
{
    take_batch(mx1, MX1, 1, PEER_ANNOUNCED);
    assert_int_equal(stored(), 1);
    assert_int_equal(live_count, 1);
}

TEST(what_was_asked_for_is_taken_in_in_order_and_is_not_live)
{
    world_keep_head(MX1, 101, 1);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        forge_batch(&world.nodes[MX1], seq, &envelope);
        gather();
    }
    take_bundle(mx1, MX1, PEER_ANSWERED);
    take_batch(mx1, MX1, 101, PEER_ANSWERED);
    assert_int_equal(stored(), 0);
    wait_stored(101);
    assert_int_equal(live_count, 0);
    assert_int_equal(world_feed(MX1)->have, 101);
    assert_int_equal(replica_counters(replica)->early, 0);
}

TEST(batches_of_others_come_from_whoever_holds_them)
{
    forge_batch(&world.nodes[MX1], 1, &envelope);
    gather();
    take_bundle(mx2, MX2, PEER_ANSWERED);
    wait_stored(1);
    assert_int_equal(world_feed(MX1)->have, 1);
}

TEST(a_bundle_of_batches_is_an_answer_never_an_announcement)
{
    forge_batch(&world.nodes[MX1], 1, &envelope);
    gather();
    take_bundle(mx1, MX1, PEER_ANNOUNCED);
    assert_int_equal(refused_wire(WIRE_BAD_KIND), 1);
    wait_verified();
    assert_int_equal(stored(), 1); /* the one of wait_verified */
}

TEST(a_bundle_in_a_bundle_is_refused)
{
    forge_batch(&world.nodes[MX1], 1, &envelope);
    gather();
    envelope.size = wire_write_bundle(world.nodes[MX1].wire, &bundle, envelope.bytes);
    bundle.count = bundle.used = 0;
    gather();
    envelope.size = wire_write_survey(world.nodes[MX1].wire, &all, envelope.bytes);
    gather();
    take_bundle(mx1, MX1, PEER_ANSWERED);
    assert_int_equal(refused_wire(WIRE_BAD_KIND), 2);
    assert_int_equal(asked_count, 0);
    wait_verified();
    assert_int_equal(stored(), 1);
}

TEST(what_is_empty_or_garbage_in_a_bundle_keeps_nothing_else_away)
{
    envelope.size = 0;
    gather();
    memset(envelope.bytes, 'x', envelope.size = 300);
    gather();
    forge_batch(&world.nodes[MX1], 1, &envelope);
    gather();
    take_bundle(mx1, MX1, PEER_ANSWERED);
    wait_stored(1);
    assert_int_equal(refused_wire(WIRE_TOO_SHORT), 1);
    assert_int_equal(refused_wire(WIRE_BAD_MAGIC), 1);
}

TEST(bundle_and_done_count_only_from_the_one_who_signed_them)
{
    forge_batch(&world.nodes[MX1], 1, &envelope);
    gather();
    take_bundle(mx2, MX1, PEER_ANSWERED);
    take_done(mx2, MX1, &world_feed(MX1)->id);
    assert_int_equal(refused(REPLICA_WRONG_PEER), 2);
    forge_batch(&world.nodes[MX1], 1, &envelope);
    gather();
    envelope.size = wire_write_bundle(world.nodes[MX1].wire, &bundle, envelope.bytes);
    envelope.bytes[envelope.size - 1] ^= 1;
    take(mx1, PEER_ANSWERED);
    assert_int_equal(refused_wire(WIRE_BAD_SIGNATURE), 1);
    assert_int_equal(stored(), 0);
}

TEST(a_forged_batch_in_an_answer_is_refused_by_the_verifier)
{
    forge_batch(&world.nodes[MX1], 1, &envelope);
    forge_sign(&world.nodes[MX2], &envelope);
    take(mx1, PEER_ANSWERED);
    wait_verified();
    assert_int_equal(refused_wire(WIRE_BAD_SIGNATURE), 1);
    assert_int_equal(world_feed(MX1)->have, 0);
}

TEST(a_done_ends_the_request_behind_the_batches_before_it)
{
    world_keep_head(MX1, 2, 1);
    pump(mx1);
    assert_true(catchup_is_asked(catchup, mx1));
    take_batch(mx1, MX1, 1, PEER_ANSWERED);
    take_batch(mx1, MX1, 2, PEER_ANSWERED);
    take_done(mx1, MX1, &world_feed(MX1)->id);
    assert_true(catchup_is_asked(catchup, mx1));
    wait_verified();
    assert_false(catchup_is_asked(catchup, mx1));
    assert_int_equal(world_feed(MX1)->have, 2);
}

TEST(dones_that_nobody_waits_for_do_nothing)
{
    feed_id_t other = {.origin = {{9}}, .epoch = 1};
    world_keep_head(MX1, 2, 1);
    pump(mx1);
    for (int i = 0; i < 3000; i++) /* more than the verifier's queue */
        take_done(i % 2 == 0 ? mx1 : mx2, i % 2 == 0 ? MX1 : MX2,
                  i % 2 == 0 ? &other : &world_feed(MX1)->id);
    wait_verified();
    assert_true(catchup_is_asked(catchup, mx1));
}

TEST(requests_are_answered_over_the_way_that_they_came_alone)
{
    envelope.size = wire_write_survey(world.nodes[MX1].wire, &all, envelope.bytes);
    take(mx1, PEER_ANSWERED);
    assert_int_equal(asked_count, 1);
    envelope.size = wire_write_survey(world.nodes[MX1].wire, &all, envelope.bytes);
    take(mx1, PEER_ANNOUNCED);
    take_done(mx1, MX1, &world_feed(MX1)->id);
    assert_int_equal(asked_count, 1);
    assert_int_equal(refused_wire(WIRE_BAD_KIND), 1);
}

TEST(only_its_own_head_over_its_own_way_is_a_heartbeat)
{
    peer_t *silent = peer_new(world.readers, world.certs[SELF], world_node(MX1), "", "", &calls);
    peer_t *kept = mx1;
    mx1 = silent;
    take_heartbeat(silent, MX2, FORGE_EPOCH, PEER_ANNOUNCED); /* passed on by hand */
    take_heartbeat(silent, MX1, FORGE_EPOCH, PEER_ANSWERED);
    const wire_head_t head = {.floor = 1, .time_ms = FORGE_EPOCH + 1};
    envelope.size = wire_write_head(world.nodes[MX1].wire, &head, envelope.bytes);
    gather();
    take_bundle(silent, MX1, PEER_ANNOUNCED);
    assert_false(peer_connected(silent));
    assert_int_equal(connected_count, 0);
    take_heartbeat(silent, MX1, FORGE_EPOCH + 2, PEER_ANNOUNCED);
    assert_true(peer_connected(silent));
    take_heartbeat(silent, MX1, FORGE_EPOCH + 3, PEER_ANNOUNCED);
    assert_int_equal(connected_count, 1);
    mx1 = kept;
    peer_destroy(&silent);
}

TEST(a_heartbeat_that_somebody_quicker_passed_on_still_counts)
{
    peer_t *silent = peer_new(world.readers, world.certs[SELF], world_node(MX1), "", "", &calls);
    peer_t *kept = mx1;
    mx1 = silent;
    forge_head(&world.nodes[MX1], 3, 1, &envelope);
    gather();
    take_bundle(mx2, MX2, PEER_ANNOUNCED);
    forge_head(&world.nodes[MX1], 3, 1, &envelope);
    take(silent, PEER_ANNOUNCED);
    assert_true(peer_connected(silent));
    assert_int_equal(replica_counters(replica)->known, 1);
    mx1 = kept;
    peer_destroy(&silent);
}

/* A head of mx1 for batch 1, that much later, with a signature that is not right. */
static void take_unsigned_head(peer_t *peer, uint64_t floor, int64_t later_ms, peer_way_t way)
{
    wire_head_t head = {.feed = world_feed(MX1)->id,
                        .seq = 1,
                        .floor = floor,
                        .time_ms = FORGE_EPOCH + later_ms};
    forge_batch(&world.nodes[MX1], 1, &envelope);
    wire_hash(forge_open(&envelope), head.hash);
    envelope.size = wire_write_head(world.nodes[MX1].wire, &head, envelope.bytes);
    envelope.bytes[envelope.size - 1] ^= 1;
    take(peer, way);
}

TEST(the_same_head_again_over_its_own_connection_needs_no_signature)
{
    take_batch(mx1, MX1, 1, PEER_ANNOUNCED);
    take_unsigned_head(mx1, 1, 2000, PEER_ANNOUNCED); /* nothing verified says that yet */
    assert_int_equal(refused_wire(WIRE_BAD_SIGNATURE), 1);
    forge_head(&world.nodes[MX1], 1, 1, &envelope);
    take(mx1, PEER_ANNOUNCED);
    uint64_t heads = replica_counters(replica)->heads;
    take_unsigned_head(mx1, 1, 3000, PEER_ANNOUNCED);
    take_unsigned_head(mx1, 1, 4000, PEER_OFFERED);
    assert_int_equal(replica_counters(replica)->heads, heads + 2);
    assert_true(peer_offers(mx1));
    assert_int_equal(refused_wire(WIRE_BAD_SIGNATURE), 1);
    take_unsigned_head(mx1, 2, 5000, PEER_ANNOUNCED); /* another floor */
    take_unsigned_head(mx1, 1, 6000, PEER_ANSWERED);
    take_unsigned_head(mx2, 1, 7000, PEER_ANNOUNCED); /* another one's */
    assert_int_equal(refused_wire(WIRE_BAD_SIGNATURE), 4);
    assert_int_equal(world_feed(MX1)->floor, 1);
}

TEST(an_offer_is_live_unless_it_may_be_an_answer)
{
    take_batch(mx1, MX1, 1, PEER_OFFERED);
    assert_int_equal(live_count, 1);
    world_keep_head(MX1, 3, 1);
    pump(mx1);
    take_batch(mx1, MX1, 2, PEER_OFFERED);
    assert_int_equal(live_count, 1);
    wait_stored(2);
    assert_int_equal(live_count, 1);
    /* Beyond all heads it is news. */
    take_batch(mx1, MX1, 3, PEER_OFFERED);
    take_batch(mx1, MX1, 4, PEER_OFFERED);
    wait_stored(4);
    assert_int_equal(live_count, 2);
}

TEST(a_new_feed_is_told_once_if_it_was_announced)
{
    take_batch(mx1, MX1, 1, PEER_ANNOUNCED);
    take_batch(mx1, MX1, 2, PEER_ANNOUNCED);
    assert_int_equal(began_count, 1);
    forge_head(&world.nodes[MX2], 3, 1, &envelope);
    gather();
    take_bundle(mx1, MX1, PEER_ANNOUNCED);
    assert_int_equal(began_count, 1);
    assert_int_equal(feed_count(world.feed), 2);
}

/* One message full of heads of epochs that there never were: rows, but no more than 256. */
TEST(heads_of_made_up_epochs_are_kept_up_to_a_limit)
{
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < WIRE_BUNDLE_MAX; i++) {
            wire_head_t head = {.feed = {.epoch = 1 + round * WIRE_BUNDLE_MAX + i},
                                .seq = 0,
                                .floor = 1};
            envelope.size = wire_write_head(world.nodes[MX1].wire, &head, envelope.bytes);
            gather();
        }
        take_bundle(mx1, MX1, PEER_ANNOUNCED);
    }
    assert_int_equal(feed_count(world.feed), FEED_EMPTY_PER_ORIGIN_MAX);
    assert_int_equal(refused(REPLICA_TOO_MANY_FEEDS), WIRE_BUNDLE_MAX);
    take_batch(mx2, MX2, 1, PEER_ANNOUNCED); /* others are not touched by that */
    assert_int_equal(stored(), 1);
}

TEST(a_message_of_several_frames_is_only_counted)
{
    const peer_message_t message = {NULL, 0, true, PEER_ANNOUNCED};
    inbox_receive(inbox, mx1, &message);
    assert_int_equal(refused(REPLICA_MORE_FRAMES), 1);
}

TEST(what_a_peer_sent_before_it_went_away_still_counts)
{
    world_keep_head(MX1, 9, 1);
    for (uint64_t seq = 1; seq <= 5; seq++)
        take_batch(mx1, MX1, seq, PEER_ANSWERED);
    take_done(mx1, MX1, &world_feed(MX1)->id);
    inbox_forget(inbox, mx1);
    peer_destroy(&mx1);
    wait_stored(5);
    wait_verified();
    assert_int_equal(world_feed(MX1)->have, 5);
}

/* It was cut off and connected anew: the end of the old answer is not that of the new one. */
TEST(a_done_of_an_old_connection_ends_no_new_request)
{
    world_keep_head(MX1, 9, 1);
    pump(mx1);
    take_done(mx1, MX1, &world_feed(MX1)->id);
    catchup_release(catchup, mx1);
    inbox_forget(inbox, mx1);
    pump(mx1);
    assert_true(catchup_is_asked(catchup, mx1));
    wait_verified();
    assert_true(catchup_is_asked(catchup, mx1));
}

TEST(a_done_of_an_old_connection_puts_off_no_new_request)
{
    world_keep_head(MX1, 9, 1);
    pump(mx1);
    take_done(mx1, MX1, &world_feed(MX1)->id);
    catchup_release(catchup, mx1);
    inbox_forget(inbox, mx1);
    wait_verified();
    pump(mx1);
    assert_true(catchup_is_asked(catchup, mx1));
}

TEST(the_end_comes_while_answers_are_checked)
{
    for (uint64_t seq = 1; seq <= 50; seq++)
        take_batch(mx1, MX1, seq, PEER_ANSWERED);
    peer_destroy(&mx1);
    inbox_destroy(&inbox);
    assert_null(inbox);
    assert_int_equal(stored(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_inbox(what_is_announced_is_taken_in_at_once_and_told_as_live),
        with_inbox(what_was_asked_for_is_taken_in_in_order_and_is_not_live),
        with_inbox(batches_of_others_come_from_whoever_holds_them),
        with_inbox(a_bundle_of_batches_is_an_answer_never_an_announcement),
        with_inbox(a_bundle_in_a_bundle_is_refused),
        with_inbox(what_is_empty_or_garbage_in_a_bundle_keeps_nothing_else_away),
        with_inbox(bundle_and_done_count_only_from_the_one_who_signed_them),
        with_inbox(a_forged_batch_in_an_answer_is_refused_by_the_verifier),
        with_inbox(a_done_ends_the_request_behind_the_batches_before_it),
        with_inbox(dones_that_nobody_waits_for_do_nothing),
        with_inbox(requests_are_answered_over_the_way_that_they_came_alone),
        with_inbox(only_its_own_head_over_its_own_way_is_a_heartbeat),
        with_inbox(a_heartbeat_that_somebody_quicker_passed_on_still_counts),
        with_inbox(the_same_head_again_over_its_own_connection_needs_no_signature),
        with_inbox(an_offer_is_live_unless_it_may_be_an_answer),
        with_inbox(a_new_feed_is_told_once_if_it_was_announced),
        with_inbox(heads_of_made_up_epochs_are_kept_up_to_a_limit),
        with_inbox(a_message_of_several_frames_is_only_counted),
        with_inbox(what_a_peer_sent_before_it_went_away_still_counts),
        with_inbox(a_done_of_an_old_connection_ends_no_new_request),
        with_inbox(a_done_of_an_old_connection_puts_off_no_new_request),
        with_inbox(the_end_comes_while_answers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
