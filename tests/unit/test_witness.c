/* witness: a record that is ahead of the database shows that commits are gone; any other shows
 * nothing. */
#include "damage.h"
#include "feeds.h"
#include "witness.h"

#include <string.h>
#include <unistd.h>

static void append(feed_t *feed, const feed_ref_t *own)
{
    assert_int_equal(db_begin(feed_own_db(feed)), 0);
    assert_int_equal(feeds_store(feed, own, own->have + 1), 0);
    assert_int_equal(feed_commit_own(feed), 0);
}

/* What the record says of the database as it is now. */
static uint64_t missing(void)
{
    return witness_missing("state/own.db");
}

static void note(uint64_t epoch, uint64_t seq)
{
    witness_t *witness = witness_new("state/own.db");
    witness_note(witness, epoch, seq);
    witness_destroy(&witness);
}

TEST(it_follows_each_commit_that_stands)
{
    feed_t *feed = feeds_open_new();
    assert_false(witness_is_there("state/own.db"));
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    for (int i = 0; i < 3; i++)
        append(feed, own);
    assert_true(witness_is_there("state/own.db"));
    assert_int_equal(missing(), 0);
    assert_int_equal(db_begin(feed_own_db(feed)), 0);
    assert_int_equal(feeds_store(feed, own, own->have + 1), 0);
    db_rollback(feed_own_db(feed));
    feed_forget(feed);
    assert_int_equal(missing(), 0);
    feed_close(&feed);
}

TEST(a_record_ahead_says_by_how_many_at_least)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    append(feed, own);
    append(feed, own);
    note(FEEDS_T0, 2);
    assert_int_equal(missing(), 0);
    note(FEEDS_T0, 1);
    assert_int_equal(missing(), 0);
    note(FEEDS_T0, 7);
    assert_int_equal(missing(), 5);
    note(FEEDS_T0 + 1, 4);
    assert_int_equal(missing(), 4);
    note(FEEDS_T0 - 1, 900);
    assert_int_equal(missing(), 0);
    feed_close(&feed);
}

TEST(a_torn_or_missing_record_counts_as_none)
{
    feed_t *feed = feeds_open_new();
    append(feed, feed_own(feed, feeds_at(FEEDS_T0)));
    note(FEEDS_T0, 9);
    assert_int_equal(missing(), 8);
    size_t size = damage_size("state/own.db-newest");
    damage_copy("state/own.db-newest", "record");
    for (size_t at = 0; at < size; at++) {
        damage_copy("record", "state/own.db-newest");
        damage_flip("state/own.db-newest", at, 0x10);
        assert_false(witness_is_there("state/own.db"));
        assert_int_equal(missing(), 0);
        damage_cut("state/own.db-newest", at);
        assert_int_equal(missing(), 0);
    }
    witness_forget("state/own.db");
    assert_false(support_exists("state/own.db-newest"));
    assert_int_equal(missing(), 0);
    feed_close(&feed);
}

TEST(without_a_place_to_write_to_all_goes_on)
{
    witness_t *witness = witness_new("nowhere/own.db");
    witness_note(witness, 1, 1);
    witness_destroy(&witness);
    assert_null(witness);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(it_follows_each_commit_that_stands),
        in_directory(a_record_ahead_says_by_how_many_at_least),
        in_directory(a_torn_or_missing_record_counts_as_none),
        in_directory(without_a_place_to_write_to_all_goes_on),
    };
    return cmocka_run_group_tests_name("witness", tests, NULL, NULL);
}
