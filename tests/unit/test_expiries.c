/* expiries: how many still count, by ends that are rounded up a little and never down. */
#include "expiries.h"
#include "support.h"

#define T0 1795288000000

static wall_t at(int64_t ms)
{
    return (wall_t){T0 + ms};
}

TEST(what_has_not_ended_counts_and_what_ended_does_not)
{
    expiries_t *expiries = expiries_new();
    expiries_add(expiries, T0 + 10000, at(0));
    expiries_add(expiries, T0 + 20000, at(0));
    expiries_add(expiries, T0, at(0)); /* ended already */
    assert_int_equal(expiries_running(expiries, at(0)), 2);
    assert_int_equal(expiries_running(expiries, at(9999)), 2);
    assert_int_equal(expiries_running(expiries, at(11000)), 1);
    assert_int_equal(expiries_running(expiries, at(21000)), 0);
    expiries_destroy(&expiries);
    assert_null(expiries);
}

TEST(an_end_is_late_by_a_32nd_at_most)
{
    for (int64_t left_ms = 1000; left_ms < 400LL * 24 * 3600 * 1000; left_ms = left_ms * 3 / 2) {
        expiries_t *expiries = expiries_new();
        expiries_add(expiries, T0 + left_ms, at(0));
        assert_int_equal(expiries_running(expiries, at(left_ms - 1)), 1);
        int64_t late_ms = left_ms / 16 > 1000 ? left_ms / 16 : 1000;
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
        expiries_add(expiries, T0 + (i * 7919 % 5000 + 1) * 1000, at(0));
        count++;
    }
    assert_int_equal(expiries_running(expiries, at(0)), count);
    uint64_t half = expiries_running(expiries, at(2500LL * 1000));
    assert_in_range(half, count / 2, count / 2 + count / 16);
    assert_int_equal(expiries_running(expiries, at(6000LL * 1000)), 0);
    expiries_destroy(&expiries);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(what_has_not_ended_counts_and_what_ended_does_not),
        plain(an_end_is_late_by_a_32nd_at_most),
        plain(what_never_ends_counts_for_ever),
        plain(ends_in_any_order_are_counted_like_in_a_list),
    };
    return cmocka_run_group_tests_name("expiries", tests, NULL, NULL);
}
