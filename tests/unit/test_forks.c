/* forks: who is in quarantine, over restarts and disks that say no. */
#include "feeds.h"
#include "forks.h"

#include <errno.h>
#include <string.h>

static feed_t *feed;
static forks_t *forks;

static forks_t *open_forks(void)
{
    fault_t fault;
    forks_t *opened = forks_new(feed_peers_db(feed), &fault);
    if (opened == NULL)
        fail_msg("%s", fault.text);
    return opened;
}

static int start(void **state)
{
    if (support_enter(state) == -1)
        return -1;
    feed = feeds_open_new();
    forks = open_forks();
    return 0;
}

static int end(void **state)
{
    forks_destroy(&forks);
    feed_close(&feed);
    return support_leave(state);
}

#define with_forks(name) cmocka_unit_test_setup_teardown(name, start, end)

static void open_again(void)
{
    forks_destroy(&forks);
    feeds_reopen(&feed);
    forks = open_forks();
}

static fork_t fork_of(uint8_t origin, uint64_t epoch)
{
    fork_t fork = {.feed = feeds_peer_id(origin, epoch), .seq = 7, .found_ms = FEEDS_T0};
    memset(fork.hash_here, 0x11, sizeof fork.hash_here);
    memset(fork.hash_there, 0x22, sizeof fork.hash_there);
    return fork;
}

static bool add(uint8_t origin, uint64_t epoch)
{
    fork_t fork = fork_of(origin, epoch);
    return forks_add(forks, &fork);
}

static bool holds(uint8_t origin)
{
    feed_id_t id = feeds_peer_id(origin, 1);
    return forks_holds(forks, &id.origin);
}

static bool compares(uint8_t origin, uint64_t epoch)
{
    feed_id_t id = feeds_peer_id(origin, epoch);
    return forks_compares(forks, &id);
}

static int reset(uint8_t origin)
{
    feed_id_t id = feeds_peer_id(origin, 1);
    return forks_reset(forks, &id.origin);
}

static void run_sql(const char *sql)
{
    sqlite3_stmt *statement = db_prepare(feed_peers_db(feed), sql);
    assert_int_equal(db_step(feed_peers_db(feed), statement), 0);
}

TEST(one_fork_holds_its_origin_in_all_feeds)
{
    assert_false(holds(5));
    assert_true(add(5, 100));
    assert_true(holds(5));
    assert_false(holds(6));
    assert_true(compares(5, 100));
}

TEST(the_first_of_a_feed_counts)
{
    fork_t second = fork_of(5, 100);
    second.seq = 8;
    assert_true(add(5, 100));
    assert_false(forks_add(forks, &second));
    assert_int_equal(forks_at(forks, 0)->seq, 7);
    assert_null(forks_at(forks, 1));
    assert_true(add(5, 101));
    second.feed.channel = 1;
    assert_true(forks_add(forks, &second));
    assert_non_null(forks_at(forks, 2));
}

TEST(a_reset_lets_the_origin_in_and_compares_that_feed_no_more)
{
    add(5, 100);
    add(5, 101);
    add(6, 100);
    assert_int_equal(reset(5), 2);
    assert_int_equal(reset(5), 0);
    assert_false(holds(5));
    assert_true(holds(6));
    assert_false(compares(5, 100));
    assert_true(compares(5, 102));
    assert_true(compares(6, 100));
    assert_false(add(5, 100)); /* the old proof does not count again */
    assert_false(holds(5));
    assert_true(add(5, 102)); /* a new one does */
    assert_true(holds(5));
}

TEST(all_of_it_survives_a_restart_oldest_first)
{
    fork_t later = fork_of(6, 100);
    later.found_ms = FEEDS_T0 + 1;
    forks_add(forks, &later);
    add(5, 100);
    reset(5);
    open_again();
    fork_t first = fork_of(5, 100);
    first.reset = true;
    assert_memory_equal(forks_at(forks, 0), &first, sizeof first);
    assert_memory_equal(forks_at(forks, 1), &later, sizeof later);
    assert_null(forks_at(forks, 2));
    assert_false(holds(5));
    assert_true(holds(6));
}

TEST(a_row_of_another_shape_is_passed_over)
{
    add(5, 100);
    run_sql("INSERT INTO fork VALUES (x'0505', 1, 0, 1, x'11', x'22', 0, 0)");
    open_again();
    assert_true(holds(5));
    assert_null(forks_at(forks, 1));
}

TEST(a_disk_that_says_no_lets_nobody_out_and_forgets_nobody)
{
    add(5, 100);
    run_sql("PRAGMA query_only = 1");
    assert_true(add(6, 100));
    assert_true(holds(6));
    assert_int_equal(reset(5), -1);
    assert_int_equal(errno, EROFS);
    assert_true(holds(5));
    run_sql("PRAGMA query_only = 0");
    assert_int_equal(reset(5), 1);
    assert_false(holds(5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_forks(one_fork_holds_its_origin_in_all_feeds),
        with_forks(the_first_of_a_feed_counts),
        with_forks(a_reset_lets_the_origin_in_and_compares_that_feed_no_more),
        with_forks(all_of_it_survives_a_restart_oldest_first),
        with_forks(a_row_of_another_shape_is_passed_over),
        with_forks(a_disk_that_says_no_lets_nobody_out_and_forgets_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
