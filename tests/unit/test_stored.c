#include "stored.h"

#include "world.h"

TEST(a_stored_batch_is_read_with_its_events)
{
    wire_batch_t batch;
    event_t event;
    world_store(MX1, 2);
    assert_int_equal(stored_batch(world.feed, world.wire, world_feed(MX1), 2, &batch),
                     STORED_BATCH);
    world_assert_feed(&batch.feed, &world_feed(MX1)->id);
    assert_int_equal(batch.seq, 2);
    assert_int_equal(batch.event_count, 1);
    assert_int_equal(wire_event(world.wire, 0, &event), EVENT_OK);
    assert_int_equal(event.kind, EVENT_BAN);
}

TEST(what_is_not_there_is_nothing)
{
    wire_batch_t batch;
    world_store(MX1, 2);
    assert_int_equal(stored_batch(world.feed, world.wire, world_feed(MX1), 3, &batch),
                     STORED_NOTHING);
}

/* Verified by a version that takes more than this one. */
TEST(what_this_version_refuses_is_unreadable)
{
    static const uint8_t other[] = "an envelope of another version";
    wire_batch_t batch;
    assert_int_equal(feed_store(world.feed, world_feed(MX1), 1, other, sizeof other), 0);
    assert_int_equal(stored_batch(world.feed, world.wire, world_feed(MX1), 1, &batch),
                     STORED_UNREADABLE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_world(a_stored_batch_is_read_with_its_events),
        in_world(what_is_not_there_is_nothing),
        in_world(what_this_version_refuses_is_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
