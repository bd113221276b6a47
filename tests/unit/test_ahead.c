/* ahead: who is known to be ahead after which bans. */
#include "ahead.h"
#include "support.h"

#include <string.h>

#define NOW_MS 1795288025123
#define DAY_MS 86400000

static const pubkey_t one = {{1}};
static const pubkey_t other = {{2}};

static void note(ahead_t *self, const pubkey_t *origin, int64_t ahead_ms)
{
    ahead_note(self, origin, NOW_MS + ahead_ms, (wall_t){NOW_MS});
}

static void assert_ahead(const ahead_t *self, const pubkey_t *origin, int64_t expected_ms)
{
    const pubkey_t *found;
    int64_t ahead_ms;
    for (size_t i = 0; ahead_at(self, i, &found, &ahead_ms); i++)
        if (pubkey_equal(found, origin)) {
            assert_int_equal(ahead_ms, expected_ms);
            return;
        }
    assert_int_equal(expected_ms, 0);
}

TEST(nobody_is_ahead_whose_clock_differs_little)
{
    ahead_t *self = ahead_new();
    note(self, &one, 0);
    note(self, &one, 60000);
    note(self, &one, -60000);
    note(self, &one, -30 * (int64_t)DAY_MS);
    assert_ahead(self, &one, 0);
    ahead_destroy(&self);
    assert_null(self);
}

TEST(the_last_ban_from_the_future_says_by_how_much)
{
    ahead_t *self = ahead_new();
    note(self, &one, DAY_MS);
    note(self, &other, 60001);
    note(self, &one, DAY_MS - 5000);
    assert_ahead(self, &one, DAY_MS - 5000);
    assert_ahead(self, &other, 60001);
    ahead_destroy(&self);
}

TEST(a_ban_of_now_says_that_the_clocks_agree_and_an_old_one_says_nothing)
{
    ahead_t *self = ahead_new();
    note(self, &one, DAY_MS);
    note(self, &other, DAY_MS);
    note(self, &one, -60001);
    assert_ahead(self, &one, DAY_MS);
    note(self, &one, -1000);
    assert_ahead(self, &one, 0);
    assert_ahead(self, &other, DAY_MS);
    note(self, &one, DAY_MS);
    assert_ahead(self, &one, DAY_MS);
    ahead_destroy(&self);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(nobody_is_ahead_whose_clock_differs_little),
        plain(the_last_ban_from_the_future_says_by_how_much),
        plain(a_ban_of_now_says_that_the_clocks_agree_and_an_old_one_says_nothing),
    };
    return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
