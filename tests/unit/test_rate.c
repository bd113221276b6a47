/* rate: what an origin may ban by this host's clock. */
#include "rate.h"
#include "support.h"

#define PER_S 50
#define T     1795288025123

static int64_t take_all(rate_t *rate, int64_t max)
{
    int64_t count = 0;
    while (count < max && rate_take(rate))
        count++;
    return count;
}

static void hear(rate_t *rate, int64_t ms, bool behind)
{
    rate_hear(rate, PER_S, behind, (wall_t){T + ms});
}

/* Heard all the time, for so long. */
static void go_on(rate_t *rate, int64_t *now_ms, int64_t span_ms, bool behind)
{
    for (int64_t end_ms = *now_ms + span_ms; *now_ms < end_ms; *now_ms += 1000)
        hear(rate, *now_ms, behind);
}

/* Its first catch-up is over. */
static rate_t steady(int64_t *now_ms)
{
    rate_t rate = {0};
    *now_ms = 0;
    go_on(&rate, now_ms, RATE_QUIET_MS + 5000, false);
    return rate;
}

TEST(the_first_catch_up_is_free)
{
    rate_t rate = {0};
    int64_t now_ms = 0;
    assert_false(rate_take(&rate));
    go_on(&rate, &now_ms, 1000, false);
    assert_int_equal(take_all(&rate, 1000000), 1000000);
    go_on(&rate, &now_ms, 3 * RATE_QUIET_MS, true);
    assert_int_equal(take_all(&rate, 1000000), 1000000);
    go_on(&rate, &now_ms, RATE_QUIET_MS + 5000, false);
    assert_int_equal(take_all(&rate, 1000000), PER_S * RATE_BURST_S);
}

TEST(a_catch_up_ends_even_if_more_comes_all_the_time)
{
    rate_t rate = {0};
    int64_t now_ms = 0;
    go_on(&rate, &now_ms, RATE_CATCHUP_MS + 5000, true);
    assert_true(take_all(&rate, 1000000) <= PER_S * RATE_BURST_S);
}

TEST(who_is_silent_now_and_then_has_no_catch_up_without_end)
{
    rate_t rate = {0};
    for (int64_t now_ms = 0; now_ms < 2 * RATE_CATCHUP_MS; now_ms += RATE_GAP_MS + 1000)
        hear(&rate, now_ms, true);
    assert_true(take_all(&rate, 10000000) <= 2 * RATE_CATCHUP_MS / MS_PER_S * PER_S);
}

TEST(tokens_come_in_by_the_clock_up_to_a_burst)
{
    int64_t now_ms;
    rate_t rate = steady(&now_ms);
    assert_int_equal(take_all(&rate, 1000000), PER_S * RATE_BURST_S);
    hear(&rate, now_ms, false);
    take_all(&rate, 1000000);
    hear(&rate, now_ms, false);
    assert_false(rate_take(&rate));
    hear(&rate, now_ms += 100, false);
    assert_int_equal(take_all(&rate, 1000000), PER_S / 10);
    go_on(&rate, &now_ms, 100000, false);
    assert_int_equal(take_all(&rate, 1000000), PER_S * RATE_BURST_S);
}

TEST(what_it_was_not_heard_for_it_may_ban_at_once)
{
    int64_t now_ms;
    rate_t rate = steady(&now_ms);
    now_ms += 3600 * MS_PER_S;
    go_on(&rate, &now_ms, 20000, true);
    int64_t taken = take_all(&rate, 1000000);
    assert_true(taken >= 3600 * PER_S && taken <= 3700 * PER_S);
    go_on(&rate, &now_ms, RATE_QUIET_MS + 20000, false);
    assert_int_equal(take_all(&rate, 1000000), PER_S * RATE_BURST_S);
}

TEST(a_restart_in_the_middle_of_a_catch_up_goes_on_with_it)
{
    rate_t rate = {0};
    hear(&rate, 0, true);
    rate = (rate_t){.heard_ms = rate.heard_ms, .level_milli = rate.level_milli};
    hear(&rate, 2000, true);
    assert_int_equal(take_all(&rate, 1000000), 1000000);
}

TEST(a_clock_that_goes_back_gives_nothing)
{
    int64_t now_ms;
    rate_t rate = steady(&now_ms);
    hear(&rate, now_ms, false);
    take_all(&rate, 1000000);
    hear(&rate, 0, false);
    assert_false(rate_take(&rate));
    hear(&rate, now_ms + 1000, false);
    assert_int_equal(take_all(&rate, 1000000), PER_S);
}

TEST(an_order_lets_in_what_waits)
{
    int64_t now_ms;
    rate_t rate = steady(&now_ms);
    take_all(&rate, 1000000);
    rate_grant(&rate, 100000, (wall_t){T + now_ms});
    go_on(&rate, &now_ms, 30000, false);
    assert_in_range(take_all(&rate, 1000000), 100000, 100000 + 31 * PER_S);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(the_first_catch_up_is_free),
        plain(a_catch_up_ends_even_if_more_comes_all_the_time),
        plain(who_is_silent_now_and_then_has_no_catch_up_without_end),
        plain(tokens_come_in_by_the_clock_up_to_a_burst),
        plain(what_it_was_not_heard_for_it_may_ban_at_once),
        plain(a_restart_in_the_middle_of_a_catch_up_goes_on_with_it),
        plain(a_clock_that_goes_back_gives_nothing),
        plain(an_order_lets_in_what_waits),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
