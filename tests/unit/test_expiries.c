/* expiries: how many still count, by ends that are rounded up a little and never down. */
#include "expiries.h"
#include "support.h"

#define T0        1795288000000
#define MINUTE_MS (60LL * 1000)
#define DAY_MS    (24 * 60 * MINUTE_MS)

static wall_t at(int64_t ms)
{
    return (wall_t){T0 + ms};
}

TEST(what_has_not_ended_counts_and_what_ended_does_not)
{
    expiries_t *expiries = expiries_new();
    expiries_add(expiries, T0 + 10 * MINUTE_MS, at(0));
    expiries_add(expiries, T0 + 20 * MINUTE_MS, at(0));
    expiries_add(expiries, T0 - MINUTE_MS, at(0)); /* ended already */
    assert_int_equal(expiries_running(expiries, at(0)), 2);
    assert_int_equal(expiries_running(expiries, at(10 * MINUTE_MS - 1)), 2);
    assert_int_equal(expiries_running(expiries, at(11 * MINUTE_MS)), 1);
    assert_int_equal(expiries_running(expiries, at(21 * MINUTE_MS)), 0);
    expiries_destroy(&expiries);
    assert_null(expiries);
}

TEST(an_end_is_late_by_a_16th_at_most_or_a_minute)
{
    for (int64_t left_ms = 1000; left_ms < 400LL * 24 * 3600 * 1000; left_ms = left_ms * 3 / 2) {
        expiries_t *expiries = expiries_new();
        expiries_add(expiries, T0 + left_ms, at(0));
        assert_int_equal(expiries_running(expiries, at(left_ms - 1)), 1);
        int64_t late_ms = left_ms / 16 > MINUTE_MS ? left_ms / 16 : MINUTE_MS;
        assert_int_equal(expiries_running(expiries, at(left_ms + late_ms)), 0);
        expiries_destroy(&expiries);
    }
}

TEST(what_never_ends_counts_for_ever)
{
    expiries_t *expiries = expiries_new();
    for (int i = 0; i < 100; i++)
        expiries_add(expiries, INT64_MAX, at(i));
    assert_int_equal(expiries_running(expiries, (wall_t){INT64_MAX - 1}), 100);
    expiries_destroy(&expiries);
}

TEST(ends_in_any_order_are_counted_like_in_a_list)
{
    expiries_t *expiries = expiries_new();
    size_t count = 0;
    for (int64_t i = 0; i < 5000; i++) {
        expiries_add(expiries, T0 + (i * 7919 % 5000 + 1) * MINUTE_MS, at(0));
        count++;
    }
    assert_int_equal(expiries_running(expiries, at(0)), count);
    uint64_t half = expiries_running(expiries, at(2500 * MINUTE_MS));
    assert_in_range(half, count / 2, count / 2 + count / 16);
    assert_int_equal(expiries_running(expiries, at(6000 * MINUTE_MS)), 0);
    expiries_destroy(&expiries);
}

/* A clock that was ahead for two seconds left none of them, until a restart. */
TEST(a_look_from_the_future_forgets_nothing)
{
    expiries_t *expiries = expiries_new();
    for (int i = 0; i < 100; i++)
        expiries_add(expiries, T0 + DAY_MS, at(0));
    assert_int_equal(expiries_running(expiries, at(29 * DAY_MS)), 0);
    expiries_add(expiries, T0 + 2 * DAY_MS, at(29 * DAY_MS));
    assert_int_equal(expiries_running(expiries, at(0)), 101);
    expiries_add(expiries, T0 + 90 * DAY_MS, at(60 * DAY_MS));
    assert_int_equal(expiries_running(expiries, at(0)), 1); /* a month later they are gone */
    expiries_destroy(&expiries);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(what_has_not_ended_counts_and_what_ended_does_not),
        plain(an_end_is_late_by_a_16th_at_most_or_a_minute),
        plain(what_never_ends_counts_for_ever),
        plain(ends_in_any_order_are_counted_like_in_a_list),
        plain(a_look_from_the_future_forgets_nothing),
    };
    return cmocka_run_group_tests_name("expiries", tests, NULL, NULL);
}
