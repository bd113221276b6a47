/* digest: the same for all who know the same, however they came to it; another one in the bucket of
 * what differs, and in no other. */
#include "digest.h"
#include "feeds.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static feed_t *feed;
static digest_t *digest;
static wire_survey_t before;
static wire_survey_t after;

static int start(void **state)
{
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    feed = feeds_open_new();
    digest = digest_new(feed);
    return 0;
}

static int end(void **state)
{
    digest_destroy(&digest);
    feed_close(&feed);
    return support_leave(state);
}

#define digest_test(name) cmocka_unit_test_setup_teardown(name, start, end)

static void store(uint8_t origin, uint64_t epoch, uint64_t seq)
{
    const feed_ref_t *ref = feeds_add(feed, origin, epoch);
    while (ref->have < seq)
        assert_int_equal(feeds_store(feed, ref, ref->have + 1), 0);
}

static void keep_head(uint8_t origin, uint64_t epoch, uint64_t seq, uint64_t floor)
{
    assert_int_equal(feed_keep_head(feed, feeds_add(feed, origin, epoch),
                                    &(feed_mark_t){seq, floor, 0}, (const uint8_t *)"head", 4),
                     1);
}

static bool differs(size_t bucket)
{
    return memcmp(before.digests[bucket], after.digests[bucket], WIRE_DIGEST_BYTES) != 0;
}

/* Since `before` this bucket changed and no other; -1: none did. */
static void assert_only(int bucket)
{
    digest_fill(digest, false, &after);
    for (int i = 0; i < WIRE_DIGESTS; i++)
        if (differs((size_t)i) != (i == bucket))
            fail_msg("bucket %d, where %d should differ", i, bucket);
    before = after;
}

TEST(each_change_shows_in_the_bucket_of_its_origin)
{
    digest_fill(digest, false, &before);
    store(7, 100, 1);
    assert_only(7);
    store(7, 100, 2);
    assert_only(7);
    store(7, 200, 1); /* another epoch */
    assert_only(7);
    store(0, 100, 1);
    assert_only(0);
    store(255, 100, 3);
    assert_only(255);
    keep_head(255, 100, 5, 1); /* newer than what is here */
    assert_only(255);
    keep_head(255, 100, 5, 2); /* the floor alone */
    assert_only(255);
    assert_only(-1);
}

/* One has the head, one the batch that it tells of. */
TEST(what_was_signed_for_counts_not_whether_it_is_here)
{
    store(7, 100, 3);
    digest_fill(digest, false, &before);
    keep_head(7, 100, 3, 1);
    assert_only(-1);
    keep_head(7, 100, 4, 1);
    assert_only(7);
    store(7, 100, 4);
    assert_only(-1);
}

/* A promise is not on disk, and nothing of it can be shown. */
TEST(what_nothing_is_held_of_does_not_count)
{
    digest_fill(digest, false, &before);
    feed_promise(feed, feeds_add(feed, 7, 100), 9);
    assert_only(-1);
    store(8, 100, 1);
    digest_fill(digest, false, &before);
    feed_promise(feed, feeds_find(feed, 8, 100), 9);
    feed_quarantine(feed, &feeds_find(feed, 8, 100)->id.origin, true);
    assert_only(-1);
}

TEST(the_order_in_which_feeds_came_does_not_count)
{
    store(7, 300, 1);
    store(7, 100, 1);
    store(9, 1, 4);
    store(7, 200, 2);
    digest_fill(digest, false, &before);
    digest_destroy(&digest);
    feed_close(&feed);
    assert_int_equal(rename("state", "other"), 0);
    feed = feeds_open_new();
    digest = digest_new(feed);
    store(9, 1, 4);
    store(7, 200, 2);
    store(7, 100, 1);
    digest_fill(digest, false, &after); /* and what was computed before is computed again */
    store(7, 300, 1);
    assert_only(-1);
}

TEST(a_restart_and_a_roll_back_change_nothing)
{
    store(7, 100, 3);
    keep_head(7, 100, 5, 2);
    digest_fill(digest, false, &before);
    assert_int_equal(db_begin(feed_peers_db(feed)), 0);
    store(7, 100, 4);
    store(7, 100, 6);
    digest_fill(digest, false, &after);
    assert_true(differs(7));
    db_rollback(feed_peers_db(feed));
    feed_forget(feed);
    assert_only(-1);
    digest_destroy(&digest);
    feeds_reopen(&feed);
    digest = digest_new(feed);
    assert_only(-1);
}

TEST(epochs_that_have_ended_count_for_those_who_keep_the_history)
{
    store(7, 100, 3);
    store(7, 200, 3);
    digest_fill(digest, false, &before);
    digest_fill(digest, true, &after);
    assert_false(differs(7));
    assert_false(before.history);
    assert_true(after.history);
    feed_raise_epoch_floor(feed, &feeds_find(feed, 7, 100)->id.origin, 200);
    digest_fill(digest, true, &before);
    digest_fill(digest, false, &after);
    assert_true(differs(7));
}

TEST(a_feed_is_wanted_where_its_bucket_differs_and_by_who_wants_all)
{
    wire_survey_t all = {.all = true};
    store(7, 100, 1);
    store(9, 100, 1);
    digest_fill(digest, false, &before);
    const feed_ref_t *seven = feeds_find(feed, 7, 100);
    const feed_ref_t *nine = feeds_find(feed, 9, 100);
    store(7, 200, 1);
    digest_fill(digest, false, &after);
    assert_true(digest_wants(&before, &after, seven));
    assert_false(digest_wants(&before, &after, nine));
    assert_true(digest_wants(&all, &after, nine));
    assert_false(digest_wants(&all, &after, feeds_add(feed, 9, 300))); /* nothing to show */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        digest_test(each_change_shows_in_the_bucket_of_its_origin),
        digest_test(what_was_signed_for_counts_not_whether_it_is_here),
        digest_test(what_nothing_is_held_of_does_not_count),
        digest_test(the_order_in_which_feeds_came_does_not_count),
        digest_test(a_restart_and_a_roll_back_change_nothing),
        digest_test(epochs_that_have_ended_count_for_those_who_keep_the_history),
        digest_test(a_feed_is_wanted_where_its_bucket_differs_and_by_who_wants_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
