/* early: what came before its turn, bounded. */
#include "early.h"
#include "support.h"

#include <string.h>

static bool put(early_t *early, const feed_ref_t *feed, uint64_t seq)
{
    const envelope_t batch = {.bytes = (const uint8_t *)&seq, .size = sizeof seq};
    return early_put(early, feed, seq, &batch);
}

static bool take(early_t *early, const feed_ref_t *feed, uint64_t seq)
{
    envelope_t batch;
    if (!early_take(early, feed, seq, &batch))
        return false;
    assert_int_equal(batch.size, sizeof seq);
    assert_memory_equal(batch.bytes, &seq, sizeof seq);
    wire_free(&batch);
    return true;
}

TEST(a_batch_is_taken_once_and_by_its_number)
{
    feed_ref_t feed = {.have = 0};
    feed_ref_t other = {.have = 0};
    early_t *early = early_new();
    assert_false(take(early, &feed, 3));
    assert_true(put(early, &feed, 3));
    assert_true(put(early, &feed, 5));
    assert_false(take(early, &feed, 4));
    assert_false(take(early, &other, 3));
    assert_true(take(early, &feed, 3));
    assert_false(take(early, &feed, 3));
    assert_true(take(early, &feed, 5));
    early_destroy(&early);
    assert_null(early);
}

TEST(the_same_batch_twice_is_kept_once)
{
    feed_ref_t feed = {.have = 0};
    early_t *early = early_new();
    for (int i = 0; i < 3 * EARLY_COUNT_MAX; i++)
        assert_true(put(early, &feed, 7));
    assert_true(take(early, &feed, 7));
    assert_false(take(early, &feed, 7));
    early_destroy(&early);
}

#define ORIGIN_COUNT_MAX (EARLY_COUNT_MAX / EARLY_SHARES)
#define ORIGIN_BYTES_MAX (EARLY_BYTES_MAX / EARLY_SHARES)

static feed_ref_t feed_here(uint8_t origin)
{
    feed_ref_t feed = {.have = 0};
    memset(feed.id.origin.bytes, origin, PUBKEY_BYTES);
    return feed;
}

TEST(no_more_than_256_batches_of_one_origin_are_kept)
{
    feed_ref_t feed = feed_here(1);
    feed_ref_t older = feed_here(1);
    early_t *early = early_new();
    for (uint64_t seq = 2; seq < ORIGIN_COUNT_MAX + 2; seq++)
        assert_true(put(early, &feed, seq));
    assert_false(put(early, &feed, ORIGIN_COUNT_MAX + 2));
    assert_false(put(early, &older, 2));
    assert_true(take(early, &feed, 200));
    assert_true(put(early, &feed, ORIGIN_COUNT_MAX + 2));
    early_destroy(&early);
}

TEST(an_origin_with_many_gaps_takes_no_others_place)
{
    feed_ref_t feeds[EARLY_SHARES + 1];
    early_t *early = early_new();
    for (uint8_t i = 0; i <= EARLY_SHARES; i++)
        feeds[i] = feed_here(i);
    for (uint64_t seq = 2; seq < EARLY_COUNT_MAX; seq++)
        put(early, &feeds[0], seq);
    for (int i = 1; i < EARLY_SHARES; i++)
        for (uint64_t seq = 2; seq < ORIGIN_COUNT_MAX + 2; seq++)
            assert_true(put(early, &feeds[i], seq));
    assert_false(put(early, &feeds[EARLY_SHARES], 2)); /* 1,024 in all */
    early_destroy(&early);
}

TEST(no_more_than_1_mib_of_one_origin_are_kept)
{
    static const uint8_t bytes[64 * 1024];
    const envelope_t batch = {.bytes = bytes, .size = sizeof bytes};
    const envelope_t small = {.bytes = bytes, .size = WIRE_HEADER_BYTES};
    envelope_t taken;
    feed_ref_t feed = feed_here(1);
    early_t *early = early_new();
    for (uint64_t seq = 2; seq < ORIGIN_BYTES_MAX / sizeof bytes + 2; seq++)
        assert_true(early_put(early, &feed, seq, &batch));
    assert_false(early_put(early, &feed, 1000, &small));
    assert_true(early_take(early, &feed, 2, &taken));
    wire_free(&taken);
    assert_true(early_put(early, &feed, 1000, &batch));
    early_destroy(&early);
}

TEST(what_catch_up_brought_meanwhile_makes_room)
{
    feed_ref_t feed = feed_here(1);
    early_t *early = early_new();
    for (uint64_t seq = 2; seq < ORIGIN_COUNT_MAX + 2; seq++)
        assert_true(put(early, &feed, seq));
    feed.have = 200;
    assert_true(put(early, &feed, ORIGIN_COUNT_MAX + 2));
    assert_false(take(early, &feed, 200));
    assert_true(take(early, &feed, 201));
    assert_true(take(early, &feed, ORIGIN_COUNT_MAX + 1));
    early_destroy(&early);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(a_batch_is_taken_once_and_by_its_number),
        plain(the_same_batch_twice_is_kept_once),
        plain(no_more_than_256_batches_of_one_origin_are_kept),
        plain(an_origin_with_many_gaps_takes_no_others_place),
        plain(no_more_than_1_mib_of_one_origin_are_kept),
        plain(what_catch_up_brought_meanwhile_makes_room),
    };
    return cmocka_run_group_tests_name("early", tests, NULL, NULL);
}
