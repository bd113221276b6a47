/* backlog: the newest first, in any order of coming. */
#include "backlog.h"
#include "support.h"

TEST(the_newest_comes_first)
{
    uint64_t random = support_seed();
    backlog_t *backlog = backlog_new();
    uint32_t began_s[5000];
    uint32_t slot;
    size_t held = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        began_s[i] = (uint32_t)(support_random(&random) % 1000);
        backlog_push(backlog, began_s[i], i);
        held++;
        if (support_random(&random) % 4 == 0) {
            assert_true(backlog_pop(backlog, &slot));
            began_s[slot] = UINT32_MAX; /* comes but once */
            held--;
        }
    }
    assert_int_equal(backlog_size(backlog), held);
    for (uint32_t last_s = 1000; held > 0; held--) {
        assert_true(backlog_pop(backlog, &slot));
        assert_in_range(began_s[slot], 0, last_s);
        last_s = began_s[slot];
        began_s[slot] = UINT32_MAX;
    }
    assert_false(backlog_pop(backlog, &slot));
    backlog_push(backlog, 1, 7);
    assert_true(backlog_pop(backlog, &slot));
    assert_int_equal(slot, 7);
    backlog_destroy(&backlog);
    assert_null(backlog);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(the_newest_comes_first),
    };
    return cmocka_run_group_tests_name("backlog", tests, NULL, NULL);
}
