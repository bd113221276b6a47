/* pace: the bucket against a clock that the test moves. */
#include "pace.h"
#include "support.h"

static mono_t at(int64_t ms)
{
    return (mono_t){1000000 + ms};
}

TEST(ten_seconds_worth_may_go_at_once_and_half_of_it_from_the_backlog)
{
    pace_t pace = pace_of(100, at(0));
    assert_int_equal(pace_live(&pace), 1000);
    assert_int_equal(pace_spare(&pace), 500);
    pace_spend(&pace, 500);
    assert_int_equal(pace_live(&pace), 500);
    assert_int_equal(pace_spare(&pace), 0);
    pace_spend(&pace, 500);
    assert_int_equal(pace_live(&pace), 0);
    assert_int_equal(pace_spare(&pace), 0);
}

TEST(credit_comes_with_time_up_to_the_burst)
{
    pace_t pace = pace_of(100, at(0));
    pace_spend(&pace, 1000);
    pace_refill(&pace, at(9));
    assert_int_equal(pace_live(&pace), 0);
    pace_refill(&pace, at(10));
    assert_int_equal(pace_live(&pace), 1);
    pace_refill(&pace, at(5000));
    assert_int_equal(pace_live(&pace), 500);
    assert_int_equal(pace_spare(&pace), 0);
    pace_refill(&pace, at(5010));
    assert_int_equal(pace_spare(&pace), 1);
    pace_refill(&pace, at(INT64_C(400) * 86400 * 1000));
    assert_int_equal(pace_live(&pace), 1000);
}

TEST(what_is_written_in_the_long_run_is_the_rate)
{
    pace_t pace = pace_of(7, at(0));
    int64_t written = 0;
    for (int64_t ms = 0; ms <= 100000; ms += 13) {
        pace_refill(&pace, at(ms));
        int64_t room = pace_spare(&pace);
        pace_spend(&pace, room);
        written += room;
    }
    assert_in_range(written, 7 * 100 + 35 - 1, 7 * 100 + 35); /* and half a burst */
}

TEST(without_a_limit_there_is_always_room)
{
    pace_t pace = pace_of(0, at(0));
    pace_spend(&pace, 1000000000);
    pace_refill(&pace, at(1));
    assert_int_equal(pace_live(&pace), PACE_NO_LIMIT);
    assert_int_equal(pace_spare(&pace), PACE_NO_LIMIT);
}

TEST(another_rate_holds_from_now_on)
{
    pace_t pace = pace_of(100, at(0));
    pace_spend(&pace, 900);
    pace_set(&pace, 1000, at(1000)); /* the second before was at the old one */
    assert_int_equal(pace_live(&pace), 200);
    pace_refill(&pace, at(2000));
    assert_int_equal(pace_live(&pace), 1200);
    pace_set(&pace, 10, at(2000));
    assert_int_equal(pace_live(&pace), 100);
    pace_set(&pace, 0, at(2000));
    assert_int_equal(pace_live(&pace), PACE_NO_LIMIT);
    pace_set(&pace, 10, at(3000));
    assert_int_equal(pace_live(&pace), 100);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(ten_seconds_worth_may_go_at_once_and_half_of_it_from_the_backlog),
        plain(credit_comes_with_time_up_to_the_burst),
        plain(what_is_written_in_the_long_run_is_the_rate),
        plain(without_a_limit_there_is_always_room),
        plain(another_rate_holds_from_now_on),
    };
    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
