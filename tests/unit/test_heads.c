/* heads: what changed is told, some times over, and everything gets its turn. */
#include "heads.h"
#include "world.h"

#include <string.h>

static heads_t *heads;
static wire_bundle_t bundle;
static int64_t now_ms;

static int start(void **state)
{
    if (world_start(state) == -1)
        return -1;
    heads = heads_new(world.feed, world.wire);
    now_ms = FORGE_EPOCH;
    return 0;
}

static int end(void **state)
{
    heads_destroy(&heads);
    return world_end(state);
}

#define with_heads(name) cmocka_unit_test_setup_teardown(name, start, end)

/* How many heads are told now; the clock goes on each time. */
static size_t gather_once(void)
{
    heads_gather_changed(heads, (wall_t){now_ms += 1000}, &bundle);
    return bundle.count;
}

/* The same, as often as a change is told. */
static size_t gather(void)
{
    size_t count = gather_once();
    for (int i = 1; i < HEADS_TELL_TIMES; i++)
        assert_int_equal(gather_once(), count);
    return count;
}

/* Head number i of the bundle, verified. */
static wire_head_t head_at(size_t index)
{
    wire_head_t head = {.seq = 0};
    size_t offset = 0;
    for (size_t i = 0; i < index; i++)
        offset += bundle.sizes[i];
    const envelope_t *envelope = forge_envelope(bundle.bytes + offset, bundle.sizes[index]);
    assert_int_equal(wire_verify(world.wire, envelope), WIRE_OK);
    assert_int_equal(wire_read_head(world.wire, envelope, &head), WIRE_OK);
    return head;
}

static const feed_ref_t *own_epoch(uint64_t epoch)
{
    return world_add_feed(SELF, epoch);
}

/* A feed of mx1 with a batch and a head that is kept, in an epoch of its own. */
static void keep_head_of_epoch(uint64_t epoch, uint64_t seq)
{
    static forged_t envelope;
    const feed_ref_t *ref = world_add_feed(MX1, epoch);
    if (ref->have == 0)
        assert_int_equal(feed_store(world.feed, ref, 1, (const uint8_t *)"x", 1), 0);
    wire_head_t head = {.feed = ref->id, .seq = seq, .floor = 1, .time_ms = FORGE_EPOCH};
    envelope.size = wire_write_head(world.nodes[MX1].wire, &head, envelope.bytes);
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){seq, 1, 0}, envelope.bytes,
                                    envelope.size),
                     1);
}

TEST(a_node_without_feeds_tells_nothing)
{
    assert_int_equal(gather(), 0);
}

TEST(a_change_is_told_six_times_and_time_alone_is_none)
{
    world_keep_head(MX1, 3, 1);
    world_keep_head(MX2, 4, 1);
    assert_int_equal(gather(), 2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(gather_once(), 0);
    world_keep_head(MX2, 5, 1);
    assert_int_equal(gather(), 1);
    assert_int_equal(head_at(0).seq, 5);
    assert_int_equal(gather(), 0);
}

TEST(a_change_meanwhile_is_told_as_often)
{
    world_keep_head(MX1, 3, 1);
    assert_int_equal(gather_once(), 1);
    world_keep_head(MX1, 4, 1);
    assert_int_equal(gather(), 1);
    assert_int_equal(head_at(0).seq, 4);
    assert_int_equal(gather_once(), 0);
}

TEST(a_raised_floor_is_a_change)
{
    world_keep_head(MX1, 3, 1);
    gather();
    world_keep_head(MX1, 3, 2);
    assert_int_equal(gather(), 1);
    assert_int_equal(head_at(0).floor, 2);
}

TEST(heads_of_others_are_passed_on_verbatim)
{
    static forged_t envelope;
    world_keep_head(MX1, 3, 1);
    forge_head(&world.nodes[MX1], 3, 1, &envelope);
    assert_int_equal(gather(), 1);
    assert_int_equal(bundle.used, envelope.size);
    assert_memory_equal(bundle.bytes, envelope.bytes, envelope.size);
}

/* What is stored of a feed is not what its origin signed for. */
TEST(a_feed_whose_head_nobody_showed_is_not_told)
{
    world_store(MX1, 3);
    assert_int_equal(gather(), 0);
    world_keep_head(MX1, 3, 1);
    assert_int_equal(gather(), 1);
}

TEST(the_newest_of_our_own_is_left_out_and_older_ones_are_told)
{
    static forged_t batch;
    const feed_ref_t *old = own_epoch(FORGE_EPOCH);
    forge_batch(&world.nodes[SELF], 1, &batch);
    assert_int_equal(feed_store(world.feed, old, 1, batch.bytes, batch.size), 0);
    assert_int_equal(gather(), 0); /* it is the heartbeat */
    own_epoch(FORGE_EPOCH + 5);
    assert_int_equal(gather(), 1);
    wire_head_t head = head_at(0);
    uint8_t hash[WIRE_HASH_BYTES];
    wire_hash(forge_open(&batch), hash);
    assert_int_equal(head.feed.epoch, FORGE_EPOCH);
    assert_int_equal(head.seq, 1);
    assert_int_equal(head.time_ms, now_ms);
    assert_memory_equal(head.hash, hash, sizeof hash);
    assert_int_equal(gather(), 0);
    forge_batch(&world.nodes[SELF], 2, &batch); /* as a peer gives it back to us */
    assert_int_equal(feed_store(world.feed, old, 2, batch.bytes, batch.size), 0);
    assert_int_equal(gather(), 1);
    assert_int_equal(head_at(0).seq, 2);
}

TEST(what_one_bundle_cannot_hold_comes_with_the_next_ones)
{
    enum { FEEDS = 1000 };
    static int told[FEEDS];
    size_t bundles = 0;
    memset(told, 0, sizeof told);
    for (uint64_t i = 0; i < FEEDS; i++)
        keep_head_of_epoch(1 + i, 1);
    while (gather_once() > 0) {
        bundles++;
        for (size_t i = 0; i < bundle.count; i++)
            told[head_at(i).feed.epoch - 1]++;
        if (bundles == FEEDS / WIRE_BUNDLE_MAX + 1)
            for (size_t i = 0; i < FEEDS; i++)
                assert_in_range(told[i], 1, 2); /* each before any has its third turn */
    }
    for (size_t i = 0; i < FEEDS; i++)
        assert_int_equal(told[i], HEADS_TELL_TIMES);
    assert_true(bundles >= HEADS_TELL_TIMES * FEEDS / WIRE_BUNDLE_MAX);
}

/* Those at the end of the list are told although those at its beginning change all the time. */
TEST(feeds_that_change_all_the_time_keep_nobody_away)
{
    enum { FEEDS = 600 };
    static bool told[FEEDS];
    size_t left = FEEDS;
    memset(told, 0, sizeof told);
    for (uint64_t i = 0; i < FEEDS; i++)
        keep_head_of_epoch(1 + i, 1);
    for (uint64_t round = 2; round < 8 && left > 0; round++) {
        gather_once();
        for (size_t i = 0; i < bundle.count; i++) {
            uint64_t at = head_at(i).feed.epoch - 1;
            left -= !told[at];
            told[at] = true;
        }
        for (uint64_t i = 0; i < 300; i++)
            keep_head_of_epoch(1 + i, round);
    }
    assert_int_equal(left, 0);
}

TEST(what_a_full_disk_took_back_is_told_again)
{
    db_t *db = feed_peers_db(world.feed);
    world_keep_head(MX1, 3, 1);
    gather();
    assert_int_equal(db_begin(db), 0);
    world_keep_head(MX1, 5, 1);
    assert_int_equal(gather(), 1);
    db_rollback(db);
    feed_forget(world.feed);
    assert_int_equal(gather(), 1);
    assert_int_equal(head_at(0).seq, 3);
}

TEST(the_heartbeat_of_a_node_that_never_published_is_a_head)
{
    uint8_t out[WIRE_ENVELOPE_MAX];
    wire_head_t head;
    size_t size = heads_sign(world.feed, world.wire, NULL, (wall_t){FORGE_EPOCH}, out);
    assert_in_range(size, 1, HEADS_ENVELOPE_MAX);
    assert_int_equal(wire_verify(world.wire, forge_envelope(out, size)), WIRE_OK);
    assert_int_equal(wire_read_head(world.wire, forge_envelope(out, size), &head), WIRE_OK);
    assert_int_equal(head.feed.epoch, 0);
    assert_int_equal(head.time_ms, FORGE_EPOCH);
}

/* The state directory was lost, peers gave our head back, and the batch itself nobody has. */
TEST(a_node_that_got_back_no_more_than_its_head_has_a_heartbeat_that_peers_accept)
{
    uint8_t out[WIRE_ENVELOPE_MAX];
    wire_head_t head;
    world_keep_head(SELF, 4, 5);
    const feed_ref_t *newest = feed_own_newest(world.feed);
    assert_int_equal(newest->have, 4);
    size_t size = heads_sign(world.feed, world.wire, newest, (wall_t){FORGE_EPOCH + 1}, out);
    assert_int_equal(wire_read_head(world.wire, forge_envelope(out, size), &head), WIRE_OK);
    assert_int_equal(head.seq, 0);
    assert_int_equal(head.time_ms, FORGE_EPOCH + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_heads(a_node_without_feeds_tells_nothing),
        with_heads(a_node_that_got_back_no_more_than_its_head_has_a_heartbeat_that_peers_accept),
        with_heads(a_change_is_told_six_times_and_time_alone_is_none),
        with_heads(a_change_meanwhile_is_told_as_often),
        with_heads(a_raised_floor_is_a_change),
        with_heads(heads_of_others_are_passed_on_verbatim),
        with_heads(a_feed_whose_head_nobody_showed_is_not_told),
        with_heads(the_newest_of_our_own_is_left_out_and_older_ones_are_told),
        with_heads(what_one_bundle_cannot_hold_comes_with_the_next_ones),
        with_heads(feeds_that_change_all_the_time_keep_nobody_away),
        with_heads(what_a_full_disk_took_back_is_told_again),
        with_heads(the_heartbeat_of_a_node_that_never_published_is_a_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
