/* feed: epochs are never used twice, and a start takes only a directory that is ours alone. */
#include "feeds.h"
#include "replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST(the_directory_is_not_made_here)
{
    assert_string_equal(feeds_open_fault(), "state/lock: No such file or directory");
}

TEST(each_start_begins_an_epoch_but_only_one)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(own->id.epoch, FEEDS_T0);
    assert_ptr_equal(feed_own(feed, feeds_at(FEEDS_T0 + 1000)), own);
    assert_ptr_equal(feed_own_current(feed), own);
    feeds_reopen(&feed);
    assert_int_equal(feed_own(feed, feeds_at(FEEDS_T0 + 2000))->id.epoch, FEEDS_T0 + 2000);
    assert_int_equal(feed_count(feed), 2);
    feed_close(&feed);
}

TEST(an_epoch_is_never_used_twice_by_a_clock_that_stands_or_goes_back)
{
    feed_t *feed = feeds_open_new();
    feed_own(feed, feeds_at(FEEDS_T0));
    feeds_reopen(&feed);
    assert_int_equal(feed_own(feed, feeds_at(FEEDS_T0))->id.epoch, FEEDS_T0 + 1);
    feeds_reopen(&feed);
    assert_int_equal(feed_own(feed, feeds_at(FEEDS_T0 - 86400000))->id.epoch, FEEDS_T0 + 2);
    assert_int_equal(feed_own_newest(feed)->id.epoch, FEEDS_T0 + 2);
    feed_close(&feed);
}

static void copy_file(const char *from, const char *to)
{
    size_t size;
    char *bytes = support_read(from, &size);
    support_write(to, bytes, size);
    free(bytes);
}

TEST(a_restored_backup_goes_on_in_a_new_epoch)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(feeds_store(feed, feed_own(feed, feeds_at(FEEDS_T0)), 1), 0);
    feed_close(&feed);
    copy_file("state/own.db", "backup.db");
    feed = feeds_open();
    assert_int_equal(feeds_store(feed, feed_own(feed, feeds_at(FEEDS_T0 + 5000)), 1), 0);
    feed_close(&feed);
    copy_file("backup.db", "state/own.db");
    unlink("state/own.db-wal");
    unlink("state/own.db-shm");
    feed = feeds_open();
    assert_int_equal(feed_own_newest(feed)->id.epoch, FEEDS_T0);
    assert_int_equal(feed_own(feed, feeds_at(FEEDS_T0 + 9000))->id.epoch, FEEDS_T0 + 9000);
    feed_close(&feed);
}

TEST(a_lost_epoch_that_peers_brought_back_counts_as_ours)
{
    feed_t *feed = feeds_open_new();
    feed_id_t lost = {.epoch = FEEDS_T0 + 5000};
    lost.origin = feeds_self;
    const feed_ref_t *copy = feed_add(feed, &lost);
    assert_non_null(copy);
    assert_false(copy->own_db);
    assert_ptr_equal(feed_own_newest(feed), copy);
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(own->id.epoch, FEEDS_T0 + 5001);
    assert_true(own->own_db);
    feed_close(&feed);
}

#define IN_USE "state: another process uses this state directory; is it running already?"

static int open_same_directory(void *arg)
{
    fault_t fault;
    (void)arg;
    feed_t *feed = feed_open("state", &feeds_self, &replica_tables, &fault);
    if (feed != NULL)
        return 1;
    return strcmp(fault.text, IN_USE) == 0 ? 0 : 2;
}

TEST(a_second_process_on_the_directory_is_refused)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(support_exit_status(open_same_directory, NULL), 0);
    assert_string_equal(feeds_open_fault(), IN_USE);
    feed_close(&feed);
    assert_string_equal(feeds_open_fault(), "no fault");
}

static int append_and_vanish(void *arg)
{
    feed_t *feed = feeds_open();
    (void)arg;
    db_t *db = feed_own_db(feed);
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    if (feeds_store(feed, own, 1) == -1 || db_begin(db) == -1 || feeds_store(feed, own, 2) == -1)
        return 1;
    return 0; /* the process ends inside the transaction, nothing is closed */
}

TEST(a_killed_process_leaves_what_it_committed)
{
    feed_t *feed = feeds_open_new();
    feed_close(&feed);
    assert_int_equal(support_exit_status(append_and_vanish, NULL), 0);
    feed = feeds_open();
    const feed_ref_t *own = feed_own_newest(feed);
    assert_int_equal(own->have, 1);
    feeds_assert_holds(feed, own, 1);
    feed_close(&feed);
}

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(file, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

TEST(a_directory_of_a_newer_version_is_refused_in_words)
{
    feed_t *feed = feeds_open_new();
    feed_close(&feed);
    run_sql("state/peers.db", "PRAGMA user_version = 99");
    assert_non_null(strstr(feeds_open_fault(), "state/peers.db: schema version 99 is newer"));
}

TEST(a_foreign_database_in_the_directory_is_refused)
{
    support_make_directory("state");
    run_sql("state/own.db", "CREATE TABLE bans (ip TEXT)");
    assert_string_equal(feeds_open_fault(), "state/own.db: a SQLite database, but not of banmesh");
}

TEST(a_key_of_the_wrong_size_costs_that_feed)
{
    feed_t *feed = feeds_open_new();
    assert_int_equal(feeds_store(feed, feeds_add(feed, 2, FEEDS_T0), 1), 0);
    assert_int_equal(feeds_store(feed, feeds_add(feed, 3, FEEDS_T0), 1), 0);
    feed_close(&feed);
    run_sql("state/peers.db", "UPDATE feed SET origin = x'0203' WHERE number = 1");
    feed = feeds_open();
    assert_non_null(strstr(state_note(feed_state(feed), 0), "feed 1 is damaged"));
    assert_int_equal(feed_count(feed), 1);
    feeds_assert_holds(feed, feeds_find(feed, 3, FEEDS_T0), 1);
    feed_close(&feed);
}

/* A backup of own.db came back after peers had brought all of the epoch into peers.db. */
TEST(of_two_records_of_an_epoch_of_ours_the_longer_one_counts)
{
    for (uint64_t in_own = 1; in_own <= 5; in_own += 2) {
        support_make_directory("state");
        feed_t *feed = feeds_open();
        feed_id_t id = {.epoch = FEEDS_T0};
        id.origin = feeds_self;
        const feed_ref_t *copy = feed_add(feed, &id);
        for (uint64_t seq = 1; seq <= 3; seq++)
            assert_int_equal(feeds_store(feed, copy, seq), 0);
        feed_close(&feed);
        assert_int_equal(rename("state/peers.db", "peers.db"), 0);
        feed = feeds_open();
        const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
        for (uint64_t seq = 1; seq <= in_own; seq++)
            assert_int_equal(feeds_store(feed, own, seq), 0);
        feed_close(&feed);
        assert_int_equal(rename("peers.db", "state/peers.db"), 0);
        feed = feeds_open();
        assert_int_equal(feed_count(feed), 1);
        uint64_t longer = in_own > 3 ? in_own : 3;
        assert_int_equal(feed_at(feed, 0)->have, longer);
        assert_int_equal(feed_at(feed, 0)->own_db, in_own >= 3);
        feeds_assert_holds(feed, feed_at(feed, 0), longer);
        feed_close(&feed);
        assert_int_equal(rename("state", in_own == 1 ? "one" : in_own == 3 ? "three" : "five"), 0);
    }
}

/* The state directory was lost while the clock was behind. */
TEST(a_later_epoch_of_ours_that_comes_back_ends_the_running_one)
{
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    assert_int_equal(feeds_store(feed, own, 1), 0);
    feed_id_t id = own->id;
    id.epoch = FEEDS_T0 - 1;
    assert_non_null(feed_add(feed, &id));
    assert_ptr_equal(feed_own_current(feed), own);
    id.epoch = FEEDS_T0 + 700;
    assert_non_null(feed_add(feed, &id));
    assert_null(feed_own_current(feed));
    assert_int_equal(feed_own(feed, feeds_at(FEEDS_T0 + 5))->id.epoch, FEEDS_T0 + 701);
    feeds_assert_holds(feed, own, 1);
    feed_close(&feed);
}

static feed_t *open_as(const pubkey_t *key)
{
    fault_t fault;
    feed_t *feed = feed_open("state", key, feeds_tables, &fault);
    if (feed == NULL)
        fail_msg("%s", fault.text);
    return feed;
}

/* A copied server that was given keys of its own never applied the bans of the key that it had:
 * what stands in own.db counted as its own for ever. */
TEST(what_own_db_holds_of_another_key_is_a_peers_feed)
{
    pubkey_t other = feeds_self;
    other.bytes[0] ^= 1;
    feed_t *feed = feeds_open_new();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    const feed_id_t id = own->id;
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(feeds_store(feed, own, seq), 0);
    assert_int_equal(feed_raise_floor(feed, own, 2), 0);
    feed_close(&feed);
    for (int starts = 0; starts < 2;
         starts++) { /* the second finds nothing to do, nor to complain of */
        feed = open_as(&other);
        assert_null(state_note(feed_state(feed), 0));
        assert_int_equal(feed_count(feed), 1);
        const feed_ref_t *moved = feed_find(feed, &id);
        assert_false(moved->own_db);
        assert_false(feed_is_ours(feed, &moved->id.origin));
        assert_int_equal(moved->have, 3);
        assert_int_equal(moved->floor, 2);
        assert_int_equal(moved->cursor, 0);
        feeds_assert_holds(feed, moved, 3);
        feed_close(&feed);
    }
    feed = open_as(&other);
    assert_int_equal(feed_own(feed, feeds_at(FEEDS_T0 + 1))->id.epoch, FEEDS_T0 + 1);
    feed_close(&feed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(the_directory_is_not_made_here),
        in_directory(each_start_begins_an_epoch_but_only_one),
        in_directory(an_epoch_is_never_used_twice_by_a_clock_that_stands_or_goes_back),
        in_directory(a_restored_backup_goes_on_in_a_new_epoch),
        in_directory(a_lost_epoch_that_peers_brought_back_counts_as_ours),
        in_directory(a_second_process_on_the_directory_is_refused),
        in_directory(a_killed_process_leaves_what_it_committed),
        in_directory(a_directory_of_a_newer_version_is_refused_in_words),
        in_directory(a_foreign_database_in_the_directory_is_refused),
        in_directory(a_key_of_the_wrong_size_costs_that_feed),
        in_directory(of_two_records_of_an_epoch_of_ours_the_longer_one_counts),
        in_directory(a_later_epoch_of_ours_that_comes_back_ends_the_running_one),
        in_directory(what_own_db_holds_of_another_key_is_a_peers_feed),
    };
    return cmocka_run_group_tests_name("feed: start", tests, NULL, NULL);
}
