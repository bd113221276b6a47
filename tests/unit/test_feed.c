/* feed: numbers without gaps, epochs never used twice, and what a restart finds. */
#include "feed.h"
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define T0 1795288000000

static const uint8_t self_key[FEED_ORIGIN_BYTES] = {1};

static feed_t *open_feed(void)
{
    fault_t fault;
    feed_t *feed = feed_open("state", self_key, &fault);
    if (feed == NULL)
        fail_msg("%s", fault.text);
    return feed;
}

static feed_t *open_new(void)
{
    support_make_directory("state");
    return open_feed();
}

static const char *open_fault(void)
{
    static fault_t fault;
    feed_t *feed = feed_open("state", self_key, &fault);
    if (feed == NULL)
        return fault.text;
    feed_close(&feed);
    return "no fault";
}

static void reopen(feed_t **feed)
{
    feed_close(feed);
    assert_null(*feed);
    *feed = open_feed();
}

static wall_t at(int64_t ms)
{
    return (wall_t){ms};
}

static feed_id_t peer_id(uint8_t origin, uint64_t epoch)
{
    feed_id_t id = {.epoch = epoch};
    memset(id.origin, origin, sizeof id.origin);
    return id;
}

static feed_ref_t *add_peer_feed(feed_t *feed, uint8_t origin, uint64_t epoch)
{
    feed_id_t id = peer_id(origin, epoch);
    feed_ref_t *ref = feed_add(feed, &id);
    assert_non_null(ref);
    return ref;
}

static feed_ref_t *find_peer_feed(feed_t *feed, uint8_t origin, uint64_t epoch)
{
    feed_id_t id = peer_id(origin, epoch);
    return feed_find(feed, &id);
}

static int store(feed_t *feed, feed_ref_t *ref, uint64_t seq)
{
    char text[32];
    int length = snprintf(text, sizeof text, "batch %llu", (unsigned long long)seq);
    return feed_store(feed, ref, seq, (const uint8_t *)text, (size_t)length);
}

static void assert_holds(feed_t *feed, const feed_ref_t *ref, uint64_t seq)
{
    char text[32];
    const uint8_t *bytes;
    int length = snprintf(text, sizeof text, "batch %llu", (unsigned long long)seq);
    assert_int_equal(feed_read(feed, ref, seq, &bytes), length);
    assert_memory_equal(bytes, text, (size_t)length);
}

static void assert_lacks(feed_t *feed, const feed_ref_t *ref, uint64_t seq)
{
    const uint8_t *bytes;
    assert_int_equal(feed_read(feed, ref, seq, &bytes), 0);
}

static int keep_head(feed_t *feed, feed_ref_t *ref, uint64_t seq, uint64_t floor)
{
    char text[32];
    int length = snprintf(text, sizeof text, "head %llu %llu", (unsigned long long)seq,
                          (unsigned long long)floor);
    return feed_keep_head(feed, ref, seq, floor, (const uint8_t *)text, (size_t)length);
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
    feed_t *feed = open_new();
    assert_int_equal(feed_count(feed), 0);
    assert_null(feed_at(feed, 0));
    assert_null(feed_own_newest(feed));
    assert_null(feed_own_current(feed));
    assert_null(find_peer_feed(feed, 2, T0));
    feed_close(&feed);
}

TEST(the_directory_is_not_made_here)
{
    assert_string_equal(open_fault(), "state/lock: No such file or directory");
}

TEST(batches_come_back_as_bytes_under_their_numbers)
{
    feed_t *feed = open_new();
    feed_ref_t *own = feed_own(feed, at(T0));
    assert_int_equal(own->have, 0);
    assert_true(own->own_db);
    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(store(feed, own, seq), 0);
    assert_int_equal(own->have, 3);
    assert_int_equal(own->head_seq, 3);
    assert_holds(feed, own, 1);
    assert_holds(feed, own, 3);
    assert_lacks(feed, own, 0);
    assert_lacks(feed, own, 4);
    feed_close(&feed);
}

TEST(a_restart_finds_what_was_stored)
{
    feed_t *feed = open_new();
    feed_ref_t *own = feed_own(feed, at(T0));
    feed_ref_t *peer = add_peer_feed(feed, 2, T0 + 7);
    assert_int_equal(store(feed, own, 1), 0);
    assert_int_equal(store(feed, peer, 1), 0);
    assert_int_equal(store(feed, peer, 2), 0);
    reopen(&feed);
    assert_int_equal(feed_count(feed), 2);
    peer = find_peer_feed(feed, 2, T0 + 7);
    assert_non_null(peer);
    assert_false(peer->own_db);
    assert_int_equal(peer->have, 2);
    assert_int_equal(peer->head_seq, 2);
    assert_int_equal(peer->floor, 1);
    assert_holds(feed, peer, 2);
    own = feed_own_newest(feed);
    assert_int_equal(own->have, 1);
    assert_null(feed_own_current(feed));
    feed_close(&feed);
}

TEST(feeds_of_one_origin_do_not_mix)
{
    feed_t *feed = open_new();
    feed_id_t other_channel = peer_id(2, T0);
    other_channel.channel = 1;
    feed_ref_t *refs[] = {add_peer_feed(feed, 2, T0), add_peer_feed(feed, 2, T0 + 1),
                          feed_add(feed, &other_channel), add_peer_feed(feed, 3, T0)};
    assert_int_equal(store(feed, refs[0], 1), 0);
    for (size_t i = 1; i < 4; i++) {
        assert_ptr_not_equal(refs[0], refs[i]);
        assert_lacks(feed, refs[i], 1);
        assert_int_equal(refs[i]->have, 0);
    }
    feed_close(&feed);
}

TEST(adding_a_feed_twice_adds_it_once)
{
    feed_t *feed = open_new();
    assert_ptr_equal(add_peer_feed(feed, 2, T0), add_peer_feed(feed, 2, T0));
    assert_int_equal(feed_count(feed), 1);
    feed_close(&feed);
}

static int store_out_of_order(void *arg)
{
    feed_t *feed = arg;
    return store(feed, feed_own_newest(feed), 2);
}

TEST(a_gap_in_storing_is_fatal)
{
    feed_t *feed = open_new();
    feed_own(feed, at(T0));
    assert_int_equal(support_exit_status(store_out_of_order, feed), 1);
    feed_close(&feed);
}

TEST(each_start_begins_an_epoch_but_only_one)
{
    feed_t *feed = open_new();
    feed_ref_t *own = feed_own(feed, at(T0));
    assert_int_equal(own->id.epoch, T0);
    assert_ptr_equal(feed_own(feed, at(T0 + 1000)), own);
    assert_ptr_equal(feed_own_current(feed), own);
    reopen(&feed);
    assert_int_equal(feed_own(feed, at(T0 + 2000))->id.epoch, T0 + 2000);
    assert_int_equal(feed_count(feed), 2);
    feed_close(&feed);
}

TEST(an_epoch_is_never_used_twice_by_a_clock_that_stands_or_goes_back)
{
    feed_t *feed = open_new();
    feed_own(feed, at(T0));
    reopen(&feed);
    assert_int_equal(feed_own(feed, at(T0))->id.epoch, T0 + 1);
    reopen(&feed);
    assert_int_equal(feed_own(feed, at(T0 - 86400000))->id.epoch, T0 + 2);
    assert_int_equal(feed_own_newest(feed)->id.epoch, T0 + 2);
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
    feed_t *feed = open_new();
    assert_int_equal(store(feed, feed_own(feed, at(T0)), 1), 0);
    feed_close(&feed);
    copy_file("state/own.db", "backup.db");
    feed = open_feed();
    assert_int_equal(store(feed, feed_own(feed, at(T0 + 5000)), 1), 0);
    feed_close(&feed);
    copy_file("backup.db", "state/own.db");
    unlink("state/own.db-wal");
    unlink("state/own.db-shm");
    feed = open_feed();
    assert_int_equal(feed_own_newest(feed)->id.epoch, T0);
    assert_int_equal(feed_own(feed, at(T0 + 9000))->id.epoch, T0 + 9000);
    feed_close(&feed);
}

TEST(a_lost_epoch_that_peers_brought_back_counts_as_ours)
{
    feed_t *feed = open_new();
    feed_id_t lost = {.epoch = T0 + 5000};
    memcpy(lost.origin, self_key, sizeof lost.origin);
    feed_ref_t *copy = feed_add(feed, &lost);
    assert_non_null(copy);
    assert_false(copy->own_db);
    assert_ptr_equal(feed_own_newest(feed), copy);
    feed_ref_t *own = feed_own(feed, at(T0));
    assert_int_equal(own->id.epoch, T0 + 5001);
    assert_true(own->own_db);
    feed_close(&feed);
}

TEST(a_rolled_back_batch_never_was)
{
    feed_t *feed = open_new();
    feed_ref_t *peer = add_peer_feed(feed, 2, T0);
    db_t *db = feed_peers_db(feed);
    assert_int_equal(store(feed, peer, 1), 0);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(store(feed, peer, 2), 0);
    assert_int_equal(keep_head(feed, peer, 9, 1), 1);
    assert_int_equal(feed_set_cursor(feed, peer, 2), 0);
    assert_int_equal(peer->have, 2);
    db_rollback(db);
    feed_forget(feed);
    assert_int_equal(peer->have, 1);
    assert_int_equal(peer->head_seq, 1);
    assert_int_equal(peer->kept_seq, 0);
    assert_int_equal(peer->cursor, 0);
    assert_lacks(feed, peer, 2);
    assert_int_equal(store(feed, peer, 2), 0);
    feed_close(&feed);
}

TEST(a_full_disk_keeps_nothing_of_a_batch)
{
    static uint8_t large[64 * 1024];
    feed_t *feed = open_new();
    db_t *db = feed_own_db(feed);
    feed_ref_t *own = feed_own(feed, at(T0));
    assert_int_equal(store(feed, own, 1), 0);
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
    feed_t *feed = open_new();
    feed_ref_t *peer = add_peer_feed(feed, 2, T0);
    assert_int_equal(store(feed, peer, 1), 0);
    assert_int_equal(feed_set_cursor(feed, peer, 1), 0);
    assert_int_equal(peer->cursor, 1);
    add_peer_feed(feed, 3, T0);
    reopen(&feed);
    assert_int_equal(find_peer_feed(feed, 2, T0)->cursor, 1);
    assert_int_equal(find_peer_feed(feed, 3, T0)->cursor, 0);
    feed_close(&feed);
}

TEST(only_a_newer_head_is_kept_and_verbatim)
{
    feed_t *feed = open_new();
    feed_ref_t *peer = add_peer_feed(feed, 2, T0);
    assert_head(feed, peer, "");
    assert_int_equal(keep_head(feed, peer, 5, 1), 1);
    assert_int_equal(keep_head(feed, peer, 5, 1), 0);
    assert_int_equal(keep_head(feed, peer, 4, 1), 0);
    assert_head(feed, peer, "head 5 1");
    assert_int_equal(peer->head_seq, 5);
    assert_int_equal(peer->have, 0);
    assert_int_equal(keep_head(feed, peer, 7, 1), 1);
    reopen(&feed);
    peer = find_peer_feed(feed, 2, T0);
    assert_head(feed, peer, "head 7 1");
    assert_int_equal(peer->head_seq, 7);
    assert_int_equal(peer->kept_seq, 7);
    uint8_t small[3];
    assert_int_equal(feed_read_head(feed, peer, small, sizeof small), 0);
    feed_close(&feed);
}

TEST(a_floor_above_what_is_held_skips_the_rest)
{
    feed_t *feed = open_new();
    feed_ref_t *peer = add_peer_feed(feed, 2, T0);
    assert_int_equal(store(feed, peer, 1), 0);
    assert_int_equal(keep_head(feed, peer, 9, 6), 1);
    assert_int_equal(peer->floor, 6);
    assert_int_equal(peer->have, 5);
    assert_lacks(feed, peer, 1);
    assert_int_equal(store(feed, peer, 6), 0);
    reopen(&feed);
    peer = find_peer_feed(feed, 2, T0);
    assert_int_equal(peer->floor, 6);
    assert_int_equal(peer->have, 6);
    assert_holds(feed, peer, 6);
    feed_close(&feed);
}

TEST(a_floor_below_what_is_held_drops_nothing_and_never_sinks)
{
    feed_t *feed = open_new();
    feed_ref_t *peer = add_peer_feed(feed, 2, T0);
    for (uint64_t seq = 1; seq <= 4; seq++)
        assert_int_equal(store(feed, peer, seq), 0);
    assert_int_equal(keep_head(feed, peer, 4, 3), 1);
    assert_int_equal(peer->have, 4);
    assert_holds(feed, peer, 1);
    assert_int_equal(keep_head(feed, peer, 8, 2), 0);
    assert_int_equal(peer->floor, 3);
    assert_int_equal(keep_head(feed, peer, 3, 4), 0);
    feed_close(&feed);
}

TEST(an_origin_with_too_many_epochs_is_refused)
{
    feed_t *feed = open_new();
    assert_int_equal(db_begin(feed_peers_db(feed)), 0);
    for (uint64_t i = 0; i < FEED_PER_ORIGIN_MAX; i++)
        add_peer_feed(feed, 2, T0 + i);
    assert_int_equal(db_commit(feed_peers_db(feed)), 0);
    feed_id_t id = peer_id(2, T0 + FEED_PER_ORIGIN_MAX);
    assert_null(feed_add(feed, &id));
    assert_int_equal(errno, EDQUOT);
    add_peer_feed(feed, 3, T0);
    feed_close(&feed);
}

static int open_same_directory(void *arg)
{
    fault_t fault;
    (void)arg;
    feed_t *feed = feed_open("state", self_key, &fault);
    if (feed != NULL)
        return 1;
    return strcmp(fault.text, "state: another process uses this state directory") == 0 ? 0 : 2;
}

TEST(a_second_process_on_the_directory_is_refused)
{
    feed_t *feed = open_new();
    assert_int_equal(support_exit_status(open_same_directory, NULL), 0);
    assert_string_equal(open_fault(), "state: another process uses this state directory");
    feed_close(&feed);
    assert_string_equal(open_fault(), "no fault");
}

static int append_and_vanish(void *arg)
{
    feed_t *feed = open_feed();
    (void)arg;
    db_t *db = feed_own_db(feed);
    feed_ref_t *own = feed_own(feed, at(T0));
    if (store(feed, own, 1) == -1 || db_begin(db) == -1 || store(feed, own, 2) == -1)
        return 1;
    return 0; /* the process ends inside the transaction, nothing is closed */
}

TEST(a_killed_process_leaves_what_it_committed)
{
    feed_t *feed = open_new();
    feed_close(&feed);
    assert_int_equal(support_exit_status(append_and_vanish, NULL), 0);
    feed = open_feed();
    feed_ref_t *own = feed_own_newest(feed);
    assert_int_equal(own->have, 1);
    assert_holds(feed, own, 1);
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
    feed_t *feed = open_new();
    feed_close(&feed);
    run_sql("state/peers.db", "PRAGMA user_version = 99");
    assert_non_null(strstr(open_fault(), "state/peers.db: schema version 99 is newer"));
}

TEST(a_foreign_database_in_the_directory_is_refused)
{
    support_make_directory("state");
    run_sql("state/own.db", "CREATE TABLE bans (ip TEXT)");
    assert_string_equal(open_fault(), "state/own.db: a SQLite database, but not of banmesh");
}

TEST(a_key_of_the_wrong_size_in_the_database_is_refused)
{
    feed_t *feed = open_new();
    add_peer_feed(feed, 2, T0);
    feed_close(&feed);
    run_sql("state/peers.db", "UPDATE feed SET origin = x'0203'");
    assert_non_null(strstr(open_fault(), "state: cannot be read"));
}

TEST(the_batches_view_shows_an_operator_what_is_there)
{
    feed_t *feed = open_new();
    feed_ref_t *peer = add_peer_feed(feed, 2, T0);
    assert_int_equal(store(feed, peer, 1), 0);
    assert_int_equal(store(feed, peer, 2), 0);
    db_t *db = feed_peers_db(feed);
    sqlite3_stmt *view = db_prepare(db, "SELECT seq, epoch, bytes, substr (origin, 1, 4) "
                                        "FROM batches ORDER BY seq DESC");
    assert_int_equal(db_step(db, view), 1);
    assert_int_equal(sqlite3_column_int64(view, 0), 2);
    assert_int_equal(sqlite3_column_int64(view, 1), T0);
    assert_int_equal(sqlite3_column_int64(view, 2), 7);
    assert_string_equal((const char *)sqlite3_column_text(view, 3), "0202");
    feed_close(&feed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_new_directory_holds_no_feeds),
        in_directory(the_directory_is_not_made_here),
        in_directory(batches_come_back_as_bytes_under_their_numbers),
        in_directory(a_restart_finds_what_was_stored),
        in_directory(feeds_of_one_origin_do_not_mix),
        in_directory(adding_a_feed_twice_adds_it_once),
        in_directory(a_gap_in_storing_is_fatal),
        in_directory(each_start_begins_an_epoch_but_only_one),
        in_directory(an_epoch_is_never_used_twice_by_a_clock_that_stands_or_goes_back),
        in_directory(a_restored_backup_goes_on_in_a_new_epoch),
        in_directory(a_lost_epoch_that_peers_brought_back_counts_as_ours),
        in_directory(a_rolled_back_batch_never_was),
        in_directory(a_full_disk_keeps_nothing_of_a_batch),
        in_directory(the_cursor_survives_a_restart),
        in_directory(only_a_newer_head_is_kept_and_verbatim),
        in_directory(a_floor_above_what_is_held_skips_the_rest),
        in_directory(a_floor_below_what_is_held_drops_nothing_and_never_sinks),
        in_directory(an_origin_with_too_many_epochs_is_refused),
        in_directory(a_second_process_on_the_directory_is_refused),
        in_directory(a_killed_process_leaves_what_it_committed),
        in_directory(a_directory_of_a_newer_version_is_refused_in_words),
        in_directory(a_foreign_database_in_the_directory_is_refused),
        in_directory(a_key_of_the_wrong_size_in_the_database_is_refused),
        in_directory(the_batches_view_shows_an_operator_what_is_there),
    };
    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
