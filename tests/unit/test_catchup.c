/* catchup: whom to ask, one thing at a time, and when to turn to somebody else. */
#include "catchup.h"
#include "world.h"

#include <string.h>

#define ASKED_MAX 1024

static replica_t *replica;
static catchup_t *catchup;
static peer_t *peers[2]; /* of mx1 and mx2 */
static struct {
    int node;
    wire_fetch_t fetch;
} asked[ASKED_MAX];
static size_t asked_count;
static bool shut; /* no way lets anything through */

/* A request goes out: which, and to whom. */
static int note(void *arg, const peer_route_t *route, const uint8_t *bytes, size_t size)
{
    (void)arg;
    assert_int_equal(route->size, 1);
    assert_true(asked_count < ASKED_MAX);
    assert_int_equal(wire_read_fetch(world.wire, forge_envelope(bytes, size),
                                     &asked[asked_count].fetch),
                     WIRE_OK);
    asked[asked_count].node = route->bytes[0];
    asked_count += !shut;
    return shut ? -1 : 0;
}

static const peer_calls_t calls = {.send_back = note};

static int start(void **state)
{
    if (world_start(state) == -1)
        return -1;
    fault_t fault;
    const replica_config_t config = {.feed = world.feed, .wire = world.wire};
    replica = replica_new(&config, world.trust, &world.settings, &fault);
    if (replica == NULL)
        return -1;
    catchup = catchup_new(world.feed, world.wire, replica);
    peers[0] = world_peer(MX1, &calls);
    peers[1] = world_peer(MX2, &calls);
    asked_count = 0;
    shut = false;
    return 0;
}

static int end(void **state)
{
    catchup_destroy(&catchup);
    replica_destroy(&replica);
    peer_destroy(&peers[0]);
    peer_destroy(&peers[1]);
    return world_end(state);
}

#define with_peers(name) cmocka_unit_test_setup_teardown(name, start, end)

static size_t pump_with(size_t count, size_t unseen, int64_t later_ms)
{
    size_t before = asked_count;
    const catchup_peers_t them = {peers, count, unseen};
    catchup_pump(catchup, &them, (mono_t){mono_now().ms + later_ms});
    return asked_count - before;
}

static size_t pump(void)
{
    return pump_with(2, 0, 0);
}

static void done(int peer, const feed_ref_t *ref, uint64_t through, uint64_t have)
{
    wire_done_t answer = {.feed = ref->id, .through = through, .have = have};
    catchup_done(catchup, peers[peer], &answer);
}

TEST(the_origin_is_asked_first_for_what_is_missing)
{
    world_store(MX2, 3);
    world_keep_head(MX2, 10, 1);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[0].node, MX2);
    assert_int_equal(asked[0].fetch.after, 3);
    world_assert_feed(&asked[0].fetch.feed, &world_feed(MX2)->id);
    assert_true(catchup_is_asked(catchup, peers[1]));
    assert_false(catchup_is_asked(catchup, peers[0]));
    assert_int_equal(catchup_missing(catchup), 7);
    assert_int_equal(catchup_lag(catchup, &world.nodes[MX2].public_key), 7);
    assert_int_equal(catchup_lag(catchup, &world.nodes[MX1].public_key), 0);
}

TEST(a_peer_is_asked_one_thing_at_a_time)
{
    world_keep_head(MX1, 5, 1);
    const feed_ref_t *more = world_add_feed(MX1, FORGE_EPOCH + 1);
    assert_int_equal(feed_keep_head(world.feed, more, &(feed_mark_t){4, 1, 0}, (const uint8_t *)"x",
                                    1),
                     1);
    assert_int_equal(pump(), 1);
    assert_int_equal(pump(), 0);
    done(0, more, 4, 4); /* not what it was asked for */
    assert_int_equal(pump(), 0);
    world_store(MX1, 5);
    done(0, world_feed(MX1), 5, 5);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[1].fetch.feed.epoch, FORGE_EPOCH + 1);
}

TEST(different_peers_are_asked_at_once)
{
    world_keep_head(MX1, 5, 1);
    world_keep_head(MX2, 5, 1);
    assert_int_equal(pump(), 2);
    assert_int_not_equal(asked[0].node, asked[1].node);
}

TEST(an_answer_that_brought_something_is_followed_by_the_next_request)
{
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 10, 1);
    pump();
    world_store(MX1, 4);
    done(0, ref, 4, 10);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[1].fetch.after, 4);
    world_store(MX1, 10);
    done(0, ref, 10, 10);
    assert_int_equal(pump(), 0);
    assert_false(catchup_is_asked(catchup, peers[0]));
}

TEST(who_has_nothing_is_not_asked_again_at_once)
{
    world_keep_head(MX1, 10, 1);
    pump();
    done(0, world_feed(MX1), 0, 0);
    assert_int_equal(pump(), 0);
    assert_false(catchup_is_asked(catchup, peers[0]));
    catchup_favour(catchup, peers[0]); /* it is connected anew */
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[1].node, MX1);
}

TEST(what_would_not_be_taken_in_is_not_asked_for)
{
    const feed_ref_t *ref =
        world_add_feed(HIST1, FORGE_EPOCH); /* an aggregator: it may only read */
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){4, 1, 0}, (const uint8_t *)"x",
                                    1),
                     1);
    assert_int_equal(pump(), 0);
}

/* ---- where the history is kept ---- */

static void lacks(int peer, const feed_ref_t *ref, uint64_t oldest)
{
    wire_done_t answer = {.feed = ref->id,
                          .through = ref->have,
                          .have = ref->head_seq,
                          .oldest = oldest};
    catchup_done(catchup, peers[peer], &answer);
}

TEST(what_the_origin_and_all_others_lack_is_given_up)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[0].node, MX1);
    lacks(0, ref, 8);
    for (int i = 1; ref->have == 0 && i < 10; i++) {
        assert_int_equal(pump(), 1); /* at once */
        lacks(asked[i].node == MX1 ? 0 : 1, ref, asked[i].node == MX1 ? 8 : 6);
    }
    assert_int_equal(ref->have, 5); /* somebody has it from 6 on */
}

/* At a start: the origin was quicker than the one that has it. */
TEST(what_one_who_is_not_connected_yet_may_have_is_not_given_up)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    for (int i = 0; i < 10 && pump_with(1, 1, 0) == 1; i++)
        lacks(0, ref, 11);
    assert_int_equal(ref->have, 0);
    catchup_favour(catchup, peers[1]);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[asked_count - 1].node, MX2);
    world_store(MX1, 20);
    done(1, ref, 20, 20);
    assert_int_equal(catchup_missing(catchup), 0);
}

TEST(two_minutes_are_enough_to_get_connected)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    for (int i = 0; i < 10 && pump_with(1, 1, 0) == 1; i++)
        lacks(0, ref, 11);
    catchup_release(catchup, peers[0]);
    pump_with(1, 1, CATCHUP_PEERS_WAIT_MS - 10000);
    assert_int_equal(ref->have, 0);
    lacks(0, ref, 11);
    assert_int_equal(pump_with(1, 1, CATCHUP_PEERS_WAIT_MS), 1);
    assert_int_equal(ref->have, 10);
    assert_int_equal(asked[asked_count - 1].fetch.after, 10);
}

TEST(nobody_who_is_connected_is_left_out_by_others_who_come_and_go)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    pump();
    lacks(0, ref, 11);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[1].node, MX2);
    catchup_release(catchup, peers[1]);
    for (int i = 0; i < 10 && pump_with(1, 1, 0) == 1; i++) /* it is away */
        lacks(0, ref, 11);
    assert_int_equal(ref->have, 0);
    catchup_favour(catchup, peers[1]);
    assert_int_equal(pump_with(2, 0, CATCHUP_PEERS_WAIT_MS), 1); /* and back */
    assert_int_equal(asked[asked_count - 1].node, MX2);
    assert_int_equal(ref->have, 0);
    lacks(1, ref, 6);
    pump_with(2, 0, CATCHUP_PEERS_WAIT_MS);
    assert_int_equal(ref->have, 5);
}

/* What it said counts only until it comes back: it may have fetched it. */
TEST(one_who_comes_back_is_asked_again_before_anything_is_given_up)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    pump_with(2, 1, 0);
    lacks(0, ref, 11);
    pump_with(2, 1, 0);
    lacks(1, ref, 11);
    catchup_release(catchup, peers[1]);
    catchup_favour(catchup, peers[1]);
    assert_int_equal(pump_with(2, 1, CATCHUP_PEERS_WAIT_MS), 1);
    assert_int_equal(asked[2].node, MX2);
    assert_int_equal(ref->have, 0);
}

TEST(a_peer_without_anything_of_a_feed_lacks_it_too)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    pump();
    lacks(0, ref, 11);
    assert_int_equal(pump(), 1);
    done(1, ref, 0, 0);
    assert_int_equal(pump(), 1);
    assert_int_equal(ref->have, 10);
}

TEST(who_promises_for_an_hour_and_brings_nothing_keeps_nobody_from_going_on)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 11);
    pump();
    lacks(0, ref, 11);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pump_with(2, 0, CATCHUP_ORIGIN_WAIT_MS - 10000), 1);
        assert_int_equal(asked[asked_count - 1].node, MX2);
        lacks(1, ref, 1);
    }
    assert_int_equal(ref->have, 0);
    assert_int_equal(pump_with(2, 0, CATCHUP_ORIGIN_WAIT_MS + 1000), 1);
    lacks(1, ref, 1);
    assert_int_equal(pump_with(2, 0, CATCHUP_ORIGIN_WAIT_MS + 1000), 1);
    assert_int_equal(ref->have, 10);
}

/* Above the floor every batch counts: whoever says that it has only later ones is wrong. */
TEST(what_still_counts_is_never_given_up)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 20, 1);
    for (int i = 0; i < 100 && pump() == 1; i++)
        lacks(asked[asked_count - 1].node == MX1 ? 0 : 1, ref, 11);
    assert_in_range(asked_count, 1, 3); /* and it does not have us ask for ever */
    assert_int_equal(ref->have, 0);
}

TEST(while_the_origin_is_away_nothing_is_given_up)
{
    feed_keep_history(world.feed);
    const feed_ref_t *ref = world_add_feed(SELF, FORGE_EPOCH);
    static forged_t envelope;
    forge_head(&world.nodes[SELF], 20, 11, &envelope);
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){20, 11, 0}, envelope.bytes,
                                    envelope.size),
                     1);
    for (size_t i = 0; pump() == 1 && i < 100; i++)
        lacks(asked[asked_count - 1].node == MX1 ? 0 : 1, ref, 11);
    assert_int_equal(ref->have, 0);
    assert_in_range(asked_count, 2, 10); /* and nobody is asked again and again */
    pump_with(2, 0, CATCHUP_ORIGIN_WAIT_MS - 10000);
    lacks(asked[asked_count - 1].node == MX1 ? 0 : 1, ref, 11);
    assert_int_equal(ref->have, 0);
    pump_with(2, 0, CATCHUP_ORIGIN_WAIT_MS);
    assert_int_equal(ref->have, 10);
}

/* ---- promises ---- */

/* Answer requests without a batch until nobody is asked; the first peer alone is there. */
static void disappoint(const feed_ref_t *ref, int64_t later_ms)
{
    while (pump_with(1, 0, later_ms) == 1)
        done(0, ref, ref->have, 0);
}

TEST(what_nobody_ever_gave_a_batch_of_is_asked_for_once_a_minute)
{
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 10, 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pump_with(1, 0, 65000), 1);
        done(0, ref, 0, 0);
    }
    assert_int_equal(pump_with(1, 0, 60000), 0);
    world_store(MX1, 1); /* it was no empty promise */
    assert_int_equal(pump_with(1, 0, 65000), 1);
    done(0, ref, 1, 10);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pump_with(1, 0, 9000), 1);
        done(0, ref, 1, 10);
    }
}

TEST(one_who_comes_and_goes_has_nobody_else_asked_and_keeps_nobody_from_it)
{
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 10, 1);
    disappoint(ref, 0);
    size_t before = asked_count;
    for (int i = 0; i < 50; i++) {
        catchup_favour(catchup, peers[1]);
        assert_int_equal(pump(), 1);
        assert_int_equal(asked[asked_count - 1].node, MX2);
        if (i % 2 == 0)
            done(1, ref, 0, 0);
        assert_int_equal(pump(), 0);
        catchup_release(catchup, peers[1]);
    }
    assert_int_equal(asked_count, before + 50);
    assert_int_equal(pump_with(1, 0, 600), 1); /* the others' pause did not grow by that */
    assert_int_equal(asked[asked_count - 1].node, MX1);
}

TEST(a_newcomer_that_has_it_is_asked_for_the_rest)
{
    const feed_ref_t *ref = world_feed(MX1);
    world_keep_head(MX1, 10, 1);
    disappoint(ref, 0);
    catchup_favour(catchup, peers[1]);
    assert_int_equal(pump(), 1);
    world_store(MX1, 4);
    done(1, ref, 4, 10);
    assert_int_equal(pump(), 1);
    assert_int_equal(asked[asked_count - 1].node, MX2);
    assert_int_equal(asked[asked_count - 1].fetch.after, 4);
}

TEST(somebody_else_is_asked_where_the_origin_is_away)
{
    const feed_ref_t *ref = world_add_feed(SELF, FORGE_EPOCH); /* an older epoch of ours */
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){4, 1, 0}, (const uint8_t *)"x",
                                    1),
                     1);
    assert_int_equal(pump(), 1);
    int first = asked[0].node;
    catchup_release(catchup, peers[first == MX1 ? 0 : 1]);
    assert_int_equal(pump(), 1);
    assert_int_not_equal(asked[1].node, first);
}

TEST(a_way_that_is_shut_counts_as_an_answer_without_anything)
{
    world_keep_head(MX1, 5, 1);
    shut = true;
    assert_int_equal(pump(), 0);
    assert_false(catchup_is_asked(catchup, peers[0]));
    shut = false;
    assert_int_equal(pump(), 0);
    catchup_favour(catchup, peers[0]);
    assert_int_equal(pump(), 1);
}

TEST(nobody_is_asked_where_nobody_is_connected)
{
    world_keep_head(MX1, 5, 1);
    assert_int_equal(pump_with(0, 0, 0), 0);
    assert_int_equal(pump(), 1);
}

TEST(a_request_ends_once_and_frees_its_peer_alone)
{
    world_keep_head(MX1, 5, 1);
    world_keep_head(MX2, 5, 1);
    pump();
    catchup_release(catchup, peers[0]);
    assert_false(catchup_is_asked(catchup, peers[0]));
    assert_true(catchup_is_asked(catchup, peers[1]));
    catchup_release(catchup, peers[0]);
    done(0, world_feed(MX1), 5, 5);
    assert_true(catchup_is_asked(catchup, peers[1]));
    assert_false(catchup_is_stuck(catchup, peers[0]));
    assert_false(catchup_is_stuck(catchup, peers[1]));
}

/* Heartbeats end hundreds of bursts a second, and most of them say nothing new. */
TEST(a_look_is_due_when_something_may_be_asked_for)
{
    catchup_favour(catchup, peers[0]);
    assert_true(catchup_is_due(catchup));
    pump();
    assert_false(catchup_is_due(catchup));
    world_store(MX1, 3); /* one after the other, as they are announced */
    assert_false(catchup_is_due(catchup));
    world_keep_head(MX1, 3, 1);
    assert_false(catchup_is_due(catchup));
    world_keep_head(MX1, 5, 1);
    assert_true(catchup_is_due(catchup));
    assert_int_equal(pump(), 1);
    assert_false(catchup_is_due(catchup));
    world_store(MX1, 4);
    done(0, world_feed(MX1), 4, 5);
    assert_true(catchup_is_due(catchup));
    assert_int_equal(pump(), 1);
    catchup_release(catchup, peers[0]);
    assert_true(catchup_is_due(catchup));
    pump();
    feed_promise(world.feed, world_feed(MX2), 9);
    assert_true(catchup_is_due(catchup));
}

/* Many epochs that are all behind: each gets its turn, and each look costs little. */
TEST(hundreds_of_feeds_are_asked_for_one_after_the_other)
{
    enum { FEEDS = 250 };
    static const uint8_t batch[] = "batch";
    for (uint64_t i = 1; i <= FEEDS; i++) {
        const feed_ref_t *ref = world_add_feed(MX1, i);
        assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){1, 1, 0}, batch,
                                        sizeof batch),
                         1);
    }
    while (pump() > 0) {
        const feed_ref_t *ref = feed_find(world.feed, &asked[asked_count - 1].fetch.feed);
        assert_int_equal(feed_store(world.feed, ref, 1, batch, sizeof batch), 0);
        done(0, ref, 1, 1);
    }
    assert_int_equal(asked_count, FEEDS);
    assert_int_equal(catchup_missing(catchup), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_peers(the_origin_is_asked_first_for_what_is_missing),
        with_peers(a_peer_is_asked_one_thing_at_a_time),
        with_peers(different_peers_are_asked_at_once),
        with_peers(an_answer_that_brought_something_is_followed_by_the_next_request),
        with_peers(who_has_nothing_is_not_asked_again_at_once),
        with_peers(somebody_else_is_asked_where_the_origin_is_away),
        with_peers(what_would_not_be_taken_in_is_not_asked_for),
        with_peers(what_the_origin_and_all_others_lack_is_given_up),
        with_peers(what_one_who_is_not_connected_yet_may_have_is_not_given_up),
        with_peers(two_minutes_are_enough_to_get_connected),
        with_peers(nobody_who_is_connected_is_left_out_by_others_who_come_and_go),
        with_peers(one_who_comes_back_is_asked_again_before_anything_is_given_up),
        with_peers(a_peer_without_anything_of_a_feed_lacks_it_too),
        with_peers(who_promises_for_an_hour_and_brings_nothing_keeps_nobody_from_going_on),
        with_peers(what_still_counts_is_never_given_up),
        with_peers(while_the_origin_is_away_nothing_is_given_up),
        with_peers(what_nobody_ever_gave_a_batch_of_is_asked_for_once_a_minute),
        with_peers(one_who_comes_and_goes_has_nobody_else_asked_and_keeps_nobody_from_it),
        with_peers(a_newcomer_that_has_it_is_asked_for_the_rest),
        with_peers(a_way_that_is_shut_counts_as_an_answer_without_anything),
        with_peers(nobody_is_asked_where_nobody_is_connected),
        with_peers(a_request_ends_once_and_frees_its_peer_alone),
        with_peers(a_look_is_due_when_something_may_be_asked_for),
        with_peers(hundreds_of_feeds_are_asked_for_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
