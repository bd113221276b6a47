/* feed: batches under numbers without gaps, heads, floors and the cursor. */
#include "feeds.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static int keep_head(feed_t *feed, const feed_ref_t *ref, uint64_t seq, uint64_t floor)
{
    char text[32];
    int length = snprintf(text, sizeof text, "head %llu %llu", (unsigned long long)seq,
                          (unsigned long long)floor);
    return feed_keep_head(feed, ref, &(feed_mark_t){seq, floor, 0}, (const uint8_t *)text,
                          (size_t)length);
}

static void assert_head(feed_t *feed, const feed_ref_t *ref, const char *expected)
{
    char text[32] = "";
    size_t size = feed_read_head(feed, ref, (uint8_t *)text, sizeof text - 1);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
}

TEST(a_new_directory_holds_no_feeds)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(feed_count(feed), 0);
    assert_null(feed_at(feed, 0));
    assert_null(feed_own_newest(feed));
    assert_null(feed_own_current(feed));
    assert_null(feeds_find(feed, 2, FEEDS_T0));
    feed_close(&feed);
}

TEST(batches_come_back_as_bytes_under_their_numbers)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(own->have, 0);
    assert_true(own->own_db);
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(feeds_store(feed, own, seq), 0);
    assert_int_equal(own->have, 3);
    assert_int_equal(own->head_seq, 3);
    feeds_assert_holds(feed, own, 1);
    feeds_assert_holds(feed, own, 3);
    feeds_assert_lacks(feed, own, 0);
    feeds_assert_lacks(feed, own, 4);
    feed_close(&feed);
}

TEST(a_restart_finds_what_was_stored)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0 + 7);
    assert_int_equal(feeds_store(feed, own, 1), 0);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    assert_int_equal(feeds_store(feed, peer, 2), 0);
    feeds_reopen(&feed);
    assert_int_equal(feed_count(feed), 2);
    peer = feeds_find(feed, 2, FEEDS_T0 + 7);
    assert_non_null(peer);
    assert_false(peer->own_db);
    assert_int_equal(peer->have, 2);
    assert_int_equal(peer->head_seq, 2);
    assert_int_equal(peer->floor, 1);
    feeds_assert_holds(feed, peer, 2);
    own = feed_own_newest(feed);
    assert_int_equal(own->have, 1);
    assert_null(feed_own_current(feed));
    feed_close(&feed);
}

TEST(feeds_of_one_origin_do_not_mix)
{
    feed_t *feed = feeds_open_new();
    feed_id_t other_channel = feeds_peer_id(2, FEEDS_T0);
    other_channel.channel = 1;
    const feed_ref_t *refs[] = {feeds_add(feed, 2, FEEDS_T0), feeds_add(feed, 2, FEEDS_T0 + 1),
                                feed_add(feed, &other_channel), feeds_add(feed, 3, FEEDS_T0)};
    assert_int_equal(feeds_store(feed, refs[0], 1), 0);
    for (size_t i = 1; i < 4; i++) {
        assert_ptr_not_equal(refs[0], refs[i]);
        feeds_assert_lacks(feed, refs[i], 1);
        assert_int_equal(refs[i]->have, 0);
    }
    feed_close(&feed);
}

TEST(adding_a_feed_twice_adds_it_once)
{
    feed_t *feed = feeds_open_new();
    assert_ptr_equal(feeds_add(feed, 2, FEEDS_T0), feeds_add(feed, 2, FEEDS_T0));
    assert_int_equal(feed_count(feed), 1);
    feed_close(&feed);
}

static int store_out_of_order(void *arg)
{
    feed_t *feed = arg;
    return feeds_store(feed, feed_own_newest(feed), 2);
}

TEST(a_gap_in_storing_is_fatal)
{
    feed_t *feed = feeds_open_new();
    feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(support_exit_status(store_out_of_order, feed), 1);
    feed_close(&feed);
}

TEST(a_rolled_back_batch_never_was)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    db_t *db = feed_peers_db(feed);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(feeds_store(feed, peer, 2), 0);
    assert_int_equal(keep_head(feed, peer, 9, 1), 1);
    assert_int_equal(feed_set_cursor(feed, peer, 2), 0);
    assert_int_equal(peer->have, 2);
    db_rollback(db);
    feed_forget(feed);
    assert_int_equal(peer->have, 1);
    assert_int_equal(peer->head_seq, 1);
    assert_int_equal(peer->kept_seq, 0);
    assert_int_equal(peer->cursor, 0);
    feeds_assert_lacks(feed, peer, 2);
    assert_int_equal(feeds_store(feed, peer, 2), 0);
    feed_close(&feed);
}

TEST(a_full_disk_keeps_nothing_of_a_batch)
{
    static uint8_t large[64 * 1024];
    feed_t *feed = feeds_open_new();
    db_t *db = feed_own_db(feed);
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(feeds_store(feed, own, 1), 0);
    sqlite3_stmt *limit = db_prepare(db, "PRAGMA max_page_count = 1");
    assert_int_equal(db_step(db, limit), 1);
    sqlite3_reset(limit);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(feed_store(feed, own, 2, large, sizeof large), -1);
    assert_int_equal(errno, ENOSPC);
    db_rollback(db);
    feed_forget(feed);
    assert_int_equal(own->have, 1);
    feed_close(&feed);
}

TEST(the_cursor_survives_a_restart)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    assert_int_equal(feed_set_cursor(feed, peer, 1), 0);
    assert_int_equal(peer->cursor, 1);
    feeds_add(feed, 3, FEEDS_T0);
    feeds_reopen(&feed);
    assert_int_equal(feeds_find(feed, 2, FEEDS_T0)->cursor, 1);
    assert_int_equal(feeds_find(feed, 3, FEEDS_T0)->cursor, 0);
    feed_close(&feed);
}

TEST(only_a_newer_head_is_kept_and_verbatim)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    assert_head(feed, peer, "");
    assert_int_equal(keep_head(feed, peer, 5, 1), 1);
    assert_int_equal(keep_head(feed, peer, 5, 1), 0);
    assert_int_equal(keep_head(feed, peer, 4, 1), 0);
    assert_head(feed, peer, "head 5 1");
    assert_int_equal(peer->head_seq, 5);
    assert_int_equal(peer->have, 0);
    assert_int_equal(keep_head(feed, peer, 7, 1), 1);
    feeds_reopen(&feed);
    peer = feeds_find(feed, 2, FEEDS_T0);
    assert_head(feed, peer, "head 7 1");
    assert_int_equal(peer->head_seq, 7);
    assert_int_equal(peer->kept_seq, 7);
    uint8_t small[3];
    assert_int_equal(feed_read_head(feed, peer, small, sizeof small), 0);
    feed_close(&feed);
}

TEST(a_floor_above_what_is_held_skips_the_rest)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    assert_int_equal(keep_head(feed, peer, 9, 6), 1);
    assert_int_equal(peer->floor, 6);
    assert_int_equal(peer->have, 5);
    assert_int_equal(feeds_store(feed, peer, 6), 0);
    assert_int_equal(peer->oldest, 1);
    assert_int_equal(feed_trim(feed, peer, 5), 0);
    assert_int_equal(peer->oldest, 6);
    feeds_assert_lacks(feed, peer, 1);
    feeds_reopen(&feed);
    peer = feeds_find(feed, 2, FEEDS_T0);
    assert_int_equal(peer->floor, 6);
    assert_int_equal(peer->have, 6);
    feeds_assert_holds(feed, peer, 6);
    feed_close(&feed);
}

TEST(a_floor_below_what_is_held_drops_nothing_and_never_sinks)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    for (uint64_t seq = 1; seq <= 4; seq++)
        assert_int_equal(feeds_store(feed, peer, seq), 0);
    assert_int_equal(keep_head(feed, peer, 4, 3), 1);
    assert_int_equal(peer->have, 4);
    feeds_assert_holds(feed, peer, 1);
    assert_int_equal(keep_head(feed, peer, 8, 2), 0);
    assert_int_equal(peer->floor, 3);
    assert_int_equal(keep_head(feed, peer, 3, 4), 0);
    feed_close(&feed);
}

TEST(what_lies_under_the_floor_stays_until_it_is_trimmed_and_the_newest_for_good)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    for (uint64_t seq = 1; seq <= 4; seq++)
        assert_int_equal(feeds_store(feed, peer, seq), 0);
    assert_int_equal(keep_head(feed, peer, 4, 5), 1);
    feeds_assert_holds(feed, peer, 1);
    assert_int_equal(feed_next(feed, peer, 1), 2);
    assert_int_equal(feed_trim(feed, peer, 2), 0);
    assert_int_equal(peer->oldest, 3);
    assert_int_equal(feed_next(feed, peer, 0), 3);
    feeds_reopen(&feed);
    peer = feeds_find(feed, 2, FEEDS_T0);
    assert_int_equal(peer->oldest, 3);
    assert_int_equal(feed_trim(feed, peer, 4), 0);
    assert_int_equal(peer->oldest, 4);
    feeds_assert_holds(feed, peer, 4); /* heads show its hash */
    assert_int_equal(feed_next(feed, peer, 4), 0);
    feed_close(&feed);
}

TEST(where_the_history_is_kept_a_floor_skips_nothing_by_itself)
{
    feed_t *feed = feeds_open_new();
    feed_keep_history(feed);
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    assert_int_equal(keep_head(feed, peer, 9, 6), 1);
    assert_int_equal(peer->have, 1);
    feed_give_up(feed, peer, 3);
    assert_int_equal(peer->have, 3);
    assert_int_equal(feeds_store(feed, peer, 4), 0);
    feed_give_up(feed, peer, 100); /* no further than the floor allows */
    assert_int_equal(peer->have, 5);
    assert_int_equal(peer->oldest, 1);
    assert_int_equal(feed_next(feed, peer, 1), 4);
    feed_close(&feed);
}

TEST(our_own_floor_rises_with_the_transaction)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, (wall_t){FEEDS_T0});
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(feeds_store(feed, own, seq), 0);
    assert_int_equal(db_begin(feed_own_db(feed)), 0);
    assert_int_equal(feed_raise_floor(feed, own, 4), 0);
    assert_int_equal(own->floor, 4);
    db_rollback(feed_own_db(feed));
    feed_forget(feed);
    assert_int_equal(own->floor, 1);
    assert_int_equal(feed_raise_floor(feed, own, 3), 0);
    feed_forget(feed);
    assert_int_equal(own->floor, 3);
    assert_int_equal(own->have, 3);
    feed_close(&feed);
}

/* INSERT ... RETURNING gives its row before it commits: the row came, the commit failed, and the
 * feed was remembered under a number that was given out again after a restart. */
TEST(a_feed_whose_row_failed_to_commit_is_not_there)
{
    struct rlimit whole;
    struct stat log;
    feed_t *feed = feeds_open_new();
    feed_id_t id = feeds_peer_id(2, FEEDS_T0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(stat("state/peers.db-wal", &log), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
    struct rlimit tight = {.rlim_cur = (rlim_t)log.st_size, .rlim_max = whole.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    const feed_ref_t *failed = feed_add(feed, &id);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
    assert_null(failed);
    assert_null(feed_find(feed, &id));
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    feeds_reopen(&feed);
    peer = feeds_find(feed, 2, FEEDS_T0);
    assert_non_null(peer);
    feeds_assert_holds(feed, peer, 1);
    feed_close(&feed);
}

TEST(an_origin_with_too_many_epochs_is_refused)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(db_begin(feed_peers_db(feed)), 0);
    for (uint64_t i = 0; i < FEED_EMPTY_PER_ORIGIN_MAX; i++)
        feeds_add(feed, 2, FEEDS_T0 + i);
    assert_int_equal(db_commit(feed_peers_db(feed)), 0);
    feed_id_t id = feeds_peer_id(2, FEEDS_T0 + FEED_EMPTY_PER_ORIGIN_MAX);
    assert_null(feed_add(feed, &id));
    assert_int_equal(errno, EDQUOT);
    feeds_add(feed, 3, FEEDS_T0);
    feed_close(&feed);
}

/* A floor above 1 with a head far ahead: nothing is stored, and there is always more to ask for. */
TEST(promises_behind_a_floor_count_as_epochs_without_a_batch)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(db_begin(feed_peers_db(feed)), 0);
    for (uint64_t i = 0; i < FEED_EMPTY_PER_ORIGIN_MAX; i++)
        assert_int_equal(keep_head(feed, feeds_add(feed, 2, FEEDS_T0 + i), 1ULL << 39, 2), 1);
    assert_int_equal(db_commit(feed_peers_db(feed)), 0);
    feed_id_t id = feeds_peer_id(2, FEEDS_T0 + FEED_EMPTY_PER_ORIGIN_MAX);
    assert_null(feed_add(feed, &id));
    assert_int_equal(errno, EDQUOT);
    assert_int_equal(feeds_store(feed, feeds_find(feed, 2, FEEDS_T0), 2), 0);
    assert_non_null(feed_add(feed, &id));
    feed_close(&feed);
}

TEST(epochs_that_were_compacted_wholly_are_no_promises)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(db_begin(feed_peers_db(feed)), 0);
    for (uint64_t i = 0; i <= FEED_EMPTY_PER_ORIGIN_MAX; i++)
        assert_int_equal(keep_head(feed, feeds_add(feed, 2, FEEDS_T0 + i), 9, 10), 1);
    assert_int_equal(db_commit(feed_peers_db(feed)), 0);
    feed_close(&feed);
}

TEST(the_batches_view_shows_an_operator_what_is_there)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *peer = feeds_add(feed, 2, FEEDS_T0);
    assert_int_equal(feeds_store(feed, peer, 1), 0);
    assert_int_equal(feeds_store(feed, peer, 2), 0);
    db_t *db = feed_peers_db(feed);
    sqlite3_stmt *view = db_prepare(db, "SELECT seq, epoch, bytes, substr (origin, 1, 4) "
                                        "FROM batches ORDER BY seq DESC");
    assert_int_equal(db_step(db, view), 1);
    assert_int_equal(sqlite3_column_int64(view, 0), 2);
    assert_int_equal(sqlite3_column_int64(view, 1), FEEDS_T0);
    assert_int_equal(sqlite3_column_int64(view, 2), 7);
    assert_string_equal((const char *)sqlite3_column_text(view, 3), "0202");
    feed_close(&feed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_new_directory_holds_no_feeds),
        in_directory(batches_come_back_as_bytes_under_their_numbers),
        in_directory(a_restart_finds_what_was_stored),
        in_directory(feeds_of_one_origin_do_not_mix),
        in_directory(adding_a_feed_twice_adds_it_once),
        in_directory(a_gap_in_storing_is_fatal),
        in_directory(a_rolled_back_batch_never_was),
        in_directory(a_full_disk_keeps_nothing_of_a_batch),
        in_directory(the_cursor_survives_a_restart),
        in_directory(only_a_newer_head_is_kept_and_verbatim),
        in_directory(a_floor_above_what_is_held_skips_the_rest),
        in_directory(a_floor_below_what_is_held_drops_nothing_and_never_sinks),
        in_directory(what_lies_under_the_floor_stays_until_it_is_trimmed_and_the_newest_for_good),
        in_directory(where_the_history_is_kept_a_floor_skips_nothing_by_itself),
        in_directory(our_own_floor_rises_with_the_transaction),
        in_directory(a_feed_whose_row_failed_to_commit_is_not_there),
        in_directory(an_origin_with_too_many_epochs_is_refused),
        in_directory(promises_behind_a_floor_count_as_epochs_without_a_batch),
        in_directory(epochs_that_were_compacted_wholly_are_no_promises),
        in_directory(the_batches_view_shows_an_operator_what_is_there),
    };
    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
