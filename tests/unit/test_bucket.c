/* bucket: so many a second, so many at once, and debts are waited for. */
#include "bucket.h"
#include "support.h"

static mono_t at(int64_t ms)
{
    return (mono_t){1000000 + ms};
}

static bool take(bucket_t *bucket, int64_t ms)
{
    if (!bucket_has(bucket, at(ms)))
        return false;
    bucket_spend(bucket, 1);
    return true;
}

static int take_all(bucket_t *bucket, int64_t ms)
{
    int taken = 0;
    while (take(bucket, ms))
        taken++;
    return taken;
}

TEST(a_new_bucket_is_full)
{
    bucket_t bucket = bucket_full(10, 25, at(0));
    assert_int_equal(take_all(&bucket, 0), 25);
}

TEST(it_fills_at_its_rate)
{
    bucket_t bucket = bucket_full(10, 25, at(0));
    take_all(&bucket, 0);
    assert_int_equal(take_all(&bucket, 1000), 10);
    assert_int_equal(take_all(&bucket, 1500), 5);
    assert_int_equal(take_all(&bucket, 1500), 0);
}

TEST(it_never_holds_more_than_its_burst)
{
    bucket_t bucket = bucket_full(10, 25, at(0));
    assert_true(take(&bucket, 0));
    assert_int_equal(take_all(&bucket, 3600 * 1000), 25);
    take_all(&bucket, 3600 * 1000);
    assert_int_equal(take_all(&bucket, 7200 * 1000), 25);
}

TEST(what_was_overdrawn_is_waited_for)
{
    bucket_t bucket = bucket_full(100, 1000, at(0));
    assert_true(bucket_has(&bucket, at(0)));
    bucket_spend(&bucket, 3000);
    assert_false(bucket_has(&bucket, at(0)));
    assert_false(bucket_has(&bucket, at(20000)));
    assert_true(bucket_has(&bucket, at(20010)));
}

/* A slow rate asked often: nothing is lost to rounding. */
TEST(thousandths_add_up)
{
    bucket_t bucket = bucket_full(1, 1, at(0));
    assert_int_equal(take_all(&bucket, 0), 1);
    int taken = 0;
    for (int64_t ms = 1; ms <= 100000; ms++)
        taken += take(&bucket, ms);
    assert_in_range(taken, 99, 101);
}

TEST(the_largest_numbers_do_not_overflow)
{
    bucket_t bucket = bucket_full(1000000000, 1000000000, at(0));
    bucket_spend(&bucket, 2000000000);
    assert_true(bucket_has(&bucket, (mono_t){INT64_MAX}));
    bucket_spend(&bucket, 999999999);
    assert_true(bucket_has(&bucket, (mono_t){INT64_MAX}));
    bucket_spend(&bucket, 1);
    assert_false(bucket_has(&bucket, (mono_t){INT64_MAX}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain(a_new_bucket_is_full),
        plain(it_fills_at_its_rate),
        plain(it_never_holds_more_than_its_burst),
        plain(what_was_overdrawn_is_waited_for),
        plain(thousandths_add_up),
        plain(the_largest_numbers_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
