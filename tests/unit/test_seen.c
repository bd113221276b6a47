/* seen: the very bytes, or not; it may forget, it never makes anything up. */
#include "seen.h"
#include "support.h"

#include <sodium.h>

#define MANY 100000

static seen_t *seen;

static int start(void **state)
{
    (void)state;
    seen = sodium_init() == -1 ? NULL : seen_new();
    return seen != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    seen_destroy(&seen);
    return seen == NULL ? 0 : -1;
}

#define seen_test(name) cmocka_unit_test_setup_teardown(name, start, end)

TEST(what_was_added_is_known_until_it_is_cleared)
{
    static const uint8_t one[] = "one";
    assert_false(seen_has(seen, one, sizeof one));
    seen_add(seen, one, sizeof one);
    assert_true(seen_has(seen, one, sizeof one));
    seen_clear(seen);
    assert_false(seen_has(seen, one, sizeof one));
}

TEST(a_bit_or_a_byte_less_is_something_else)
{
    uint8_t bytes[200];
    randombytes_buf(bytes, sizeof bytes);
    seen_add(seen, bytes, sizeof bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(seen_has(seen, bytes, sizeof bytes));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(seen_has(seen, bytes, sizeof bytes - 1));
    assert_true(seen_has(seen, bytes, sizeof bytes));
}

/* The last thousand of very many: most are still there, and of those not added, none. */
TEST(a_full_table_forgets_and_makes_nothing_up)
{
    int known = 0;
    for (uint32_t i = 0; i < MANY; i++)
        seen_add(seen, (const uint8_t *)&i, sizeof i);
    for (uint32_t i = MANY - 1000; i < MANY; i++)
        known += seen_has(seen, (const uint8_t *)&i, sizeof i);
    assert_in_range(known, 300, 1000);
    for (uint32_t i = MANY; i < 2 * MANY; i++)
        assert_false(seen_has(seen, (const uint8_t *)&i, sizeof i));
}

/* With a key of its own each, nobody can find two envelopes that one of them takes for the same. */
TEST(where_something_falls_differs_from_process_to_process)
{
    enum { TABLE = 1024 };
    seen_t *other = seen_new();
    int lost_here_alone = 0;
    for (uint32_t i = 0; i < TABLE; i++) {
        seen_add(seen, (const uint8_t *)&i, sizeof i);
        seen_add(other, (const uint8_t *)&i, sizeof i);
    }
    for (uint32_t i = 0; i < TABLE; i++)
        lost_here_alone += !seen_has(seen, (const uint8_t *)&i, sizeof i) &&
                           seen_has(other, (const uint8_t *)&i, sizeof i);
    seen_destroy(&other);
    assert_true(lost_here_alone > 0);
}

TEST(with_four_places_a_feed_most_of_what_feeds_bring_is_known)
{
    enum { FEEDS = 20000 };
    int known = 0;
    seen_fit(seen, FEEDS);
    for (uint32_t i = 0; i < FEEDS; i++)
        seen_add(seen, (const uint8_t *)&i, sizeof i);
    seen_fit(seen, 1); /* it never gets smaller */
    for (uint32_t i = 0; i < FEEDS; i++)
        known += seen_has(seen, (const uint8_t *)&i, sizeof i);
    assert_in_range(known, FEEDS * 8 / 10, FEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        seen_test(what_was_added_is_known_until_it_is_cleared),
        seen_test(a_bit_or_a_byte_less_is_something_else),
        seen_test(a_full_table_forgets_and_makes_nothing_up),
        seen_test(with_four_places_a_feed_most_of_what_feeds_bring_is_known),
        seen_test(where_something_falls_differs_from_process_to_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
