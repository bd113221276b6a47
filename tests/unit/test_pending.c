/* pending: bans whose time has not come, beside the consumer's cursor. */
#include "feed.h"
#include "pending.h"
#include "support.h"
#include "tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOW_MS 1795288025123

static const pubkey_t self_key = {{1}};

typedef struct {
    feed_t *feed;
    pending_t *pending;
} open_t;

static open_t open_pending(void)
{
    fault_t fault;
    open_t open;
    open.feed = feed_open(".", &self_key, &tables_of_node, &fault);
    if (open.feed == NULL)
        fail_msg("%s", fault.text);
    open.pending = pending_new(feed_peers_db(open.feed));
    assert_non_null(open.pending);
    return open;
}

static void close_pending(open_t *open)
{
    pending_destroy(&open->pending);
    feed_close(&open->feed);
}

static pending_row_t make_row(int64_t nid, int64_t due_ms, const char *ip)
{
    pending_row_t row = {.nid = nid, .due_ms = due_ms, .ban = support_ban(ip)};
    memset(row.origin.bytes, 7, PUBKEY_BYTES);
    return row;
}

static void drop(open_t *open, const pending_row_t *row)
{
    assert_int_equal(pending_remove(open->pending, row), 0);
}

static void put(open_t *open, int64_t nid, int64_t due_ms)
{
    pending_row_t row = make_row(nid, due_ms, "45.154.244.193");
    assert_int_equal(pending_put(open->pending, &row), 0);
}

TEST(a_row_comes_back_with_all_that_deciding_needs)
{
    static const char *const ips[] = {"45.154.244.193", "45.154.244.0/24", "2a00:1450:4001::200e",
                                      "2a00:1450:4001::/64", "0.0.0.0/0"};
    open_t open = open_pending();
    for (size_t i = 0; i < sizeof ips / sizeof ips[0]; i++) {
        pending_row_t row = make_row((int64_t)i, NOW_MS + (int64_t)i, ips[i]);
        row.ban.duration_s = -1;
        assert_int_equal(pending_put(open.pending, &row), 0);
    }
    close_pending(&open);
    open = open_pending();
    pending_row_t rows[8];
    assert_int_equal(pending_due(open.pending, NOW_MS + 100, rows, 8), 5);
    for (size_t i = 0; i < sizeof ips / sizeof ips[0]; i++) {
        pending_row_t row = make_row((int64_t)i, NOW_MS + (int64_t)i, ips[i]);
        assert_int_equal(rows[i].nid, row.nid);
        assert_int_equal(rows[i].due_ms, row.due_ms);
        assert_memory_equal(rows[i].origin.bytes, row.origin.bytes, PUBKEY_BYTES);
        assert_true(addr_equal(&rows[i].ban.address, &row.ban.address));
        assert_string_equal(rows[i].ban.jail, row.ban.jail);
        assert_int_equal(rows[i].ban.time_ms, row.ban.time_ms);
        assert_int_equal(rows[i].ban.duration_s, -1);
        assert_int_equal(event_check_ban(&rows[i].ban), EVENT_OK);
    }
    close_pending(&open);
}

TEST(only_what_is_due_comes_and_the_earliest_first)
{
    open_t open = open_pending();
    pending_row_t rows[8];
    put(&open, 1, NOW_MS + 30);
    put(&open, 2, NOW_MS + 10);
    put(&open, 3, NOW_MS + 20);
    assert_int_equal(pending_due(open.pending, NOW_MS + 9, rows, 8), 0);
    assert_int_equal(pending_due(open.pending, NOW_MS + 20, rows, 8), 2);
    assert_int_equal(rows[0].nid, 2);
    assert_int_equal(rows[1].nid, 3);
    assert_int_equal(pending_due(open.pending, NOW_MS + 100, rows, 1), 1);
    assert_int_equal(rows[0].nid, 2);
    assert_int_equal(pending_count(open.pending), 3);
    close_pending(&open);
}

TEST(one_ban_waits_once)
{
    open_t open = open_pending();
    pending_row_t rows[8];
    put(&open, 1, NOW_MS);
    put(&open, 1, NOW_MS + 50);
    assert_int_equal(pending_count(open.pending), 1);
    assert_int_equal(pending_due(open.pending, NOW_MS + 49, rows, 8), 0);
    assert_int_equal(pending_due(open.pending, NOW_MS + 50, rows, 8), 1);
    close_pending(&open);
}

TEST(what_was_removed_is_gone_and_removing_again_is_harmless)
{
    open_t open = open_pending();
    pending_row_t row = make_row(1, NOW_MS, "45.154.244.193");
    put(&open, 1, NOW_MS);
    put(&open, 2, NOW_MS);
    drop(&open, &row);
    drop(&open, &row);
    assert_int_equal(pending_count(open.pending), 1);
    close_pending(&open);
}

TEST(a_rolled_back_row_never_was)
{
    open_t open = open_pending();
    assert_int_equal(db_begin(feed_peers_db(open.feed)), 0);
    put(&open, 1, NOW_MS);
    assert_int_equal(pending_count(open.pending), 1);
    db_rollback(feed_peers_db(open.feed));
    assert_int_equal(pending_recount(open.pending), 0);
    assert_int_equal(pending_count(open.pending), 0);
    close_pending(&open);
}

static void run_sql(open_t *open, const char *sql)
{
    db_t *db = feed_peers_db(open->feed);
    sqlite3_stmt *statement = db_prepare(db, sql);
    assert_int_equal(db_step(db, statement), 0);
    sqlite3_finalize(statement);
}

TEST(a_row_that_cannot_be_read_is_no_ban_and_keeps_no_other_one)
{
    static const char *const damages[] = {"address = x'0102'", "origin = x''", "prefix = -1"};
    open_t open = open_pending();
    pending_row_t rows[8];
    char sql[80];
    put(&open, 1, NOW_MS);
    for (int i = 0; i < 3; i++) {
        put(&open, 2, NOW_MS + 1);
        put(&open, 3, NOW_MS + 2);
        snprintf(sql, sizeof sql, "UPDATE pending SET %s WHERE nid = 2", damages[i]);
        run_sql(&open, sql);
        assert_int_equal(pending_due(open.pending, NOW_MS + 2, rows, 8), 1);
        assert_int_equal(rows[0].nid, 1);
        assert_true(pending_is_damaged(open.pending));
        assert_int_equal(pending_remove_damaged(open.pending), 0);
        assert_false(pending_is_damaged(open.pending));
        assert_int_equal(pending_due(open.pending, NOW_MS + 2, rows, 8), 2);
        assert_int_equal(rows[1].nid, 3);
        assert_int_equal(pending_count(open.pending), 2);
    }
    assert_int_equal(pending_remove_damaged(open.pending), 0);
    close_pending(&open);
}

/* ---- the backlog ---- */

static pending_row_t waiting(int64_t nid, int64_t time_ms, int64_t duration_s)
{
    pending_row_t row = make_row(nid, PENDING_PACE, "45.154.244.193");
    row.ban.time_ms = time_ms;
    row.ban.duration_s = duration_s;
    return row;
}

static void put_waiting(open_t *open, int64_t nid, int64_t time_ms, int64_t duration_s)
{
    pending_row_t row = waiting(nid, time_ms, duration_s);
    assert_int_equal(pending_put(open->pending, &row), 0);
}

TEST(the_backlog_gives_the_newest_ban_first)
{
    open_t open = open_pending();
    pending_row_t rows[8];
    put_waiting(&open, 1, NOW_MS - 30, 600);
    put_waiting(&open, 2, NOW_MS - 10, 600);
    put_waiting(&open, 3, NOW_MS - 20, 600);
    put_waiting(&open, 4, NOW_MS - 10, 600);
    close_pending(&open);
    open = open_pending();
    assert_int_equal(pending_backlog(open.pending), 4);
    assert_int_equal(pending_newest(open.pending, rows, 3), 3);
    assert_int_equal(rows[0].nid, 4);
    assert_int_equal(rows[1].nid, 2);
    assert_int_equal(rows[2].nid, 3);
    assert_int_equal(rows[2].due_ms, PENDING_PACE);
    assert_int_equal(event_check_ban(&rows[2].ban), EVENT_OK);
    for (size_t i = 0; i < 3; i++)
        drop(&open, &rows[i]);
    assert_int_equal(pending_backlog(open.pending), 1);
    assert_int_equal(pending_newest(open.pending, rows, 8), 1);
    assert_int_equal(rows[0].nid, 1);
    close_pending(&open);
}

TEST(what_waits_for_the_pace_is_not_taken_for_what_waits_for_a_hold)
{
    open_t open = open_pending();
    pending_row_t rows[8];
    put(&open, 1, NOW_MS);
    put_waiting(&open, 1, NOW_MS - 10, 600);
    put_waiting(&open, 2, NOW_MS - 10, 600);
    assert_int_equal(pending_count(open.pending), 1);
    assert_int_equal(pending_backlog(open.pending), 2);
    assert_int_equal(pending_due(open.pending, NOW_MS + 1000, rows, 8), 1);
    drop(&open, &rows[0]);
    assert_int_equal(pending_count(open.pending), 0);
    assert_int_equal(pending_newest(open.pending, rows, 8), 2);
    close_pending(&open);
}

TEST(a_ban_waits_in_the_backlog_for_the_longest_of_its_times)
{
    static const struct {
        int64_t first;
        int64_t second;
        int64_t kept;
    } cases[] = {{600, 3600, 3600}, {3600, 600, 3600}, {600, -1, -1}, {-1, 600, -1}, {-1, -1, -1}};
    open_t open = open_pending();
    pending_row_t rows[1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_waiting(&open, 1, NOW_MS, cases[i].first);
        put_waiting(&open, 1, NOW_MS, cases[i].second);
        assert_int_equal(pending_backlog(open.pending), 1);
        assert_int_equal(pending_newest(open.pending, rows, 1), 1);
        assert_int_equal(rows[0].ban.duration_s, cases[i].kept);
        drop(&open, &rows[0]);
    }
    close_pending(&open);
}

/* Steps of all statements of a database so far. */
static int64_t steps(open_t *open)
{
    sqlite3_stmt *any = db_prepare(feed_peers_db(open->feed), "SELECT 1");
    int64_t sum = 0;
    for (sqlite3_stmt *s = sqlite3_next_stmt(sqlite3_db_handle(any), NULL); s != NULL;
         s = sqlite3_next_stmt(sqlite3_db_handle(any), s))
        sum += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 0);
    sqlite3_finalize(any);
    return sum;
}

TEST(looking_costs_no_more_however_many_wait)
{
    enum { MANY = 20000, STEPS_A_LOOK = 500 };
    open_t open = open_pending();
    pending_row_t rows[8];
    assert_int_equal(db_begin(feed_peers_db(open.feed)), 0);
    for (int64_t i = 0; i < MANY; i++) {
        put(&open, i, NOW_MS + 1 + i * 7919 % MANY);
        put_waiting(&open, i, NOW_MS - i * 7919 % MANY, 600);
    }
    assert_int_equal(db_commit(feed_peers_db(open.feed)), 0);
    int64_t before = steps(&open);
    assert_int_equal(pending_due(open.pending, NOW_MS + 8, rows, 8), 8);
    assert_int_equal(pending_newest(open.pending, rows, 8), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(rows[i].ban.time_ms, NOW_MS - (int64_t)i);
        drop(&open, &rows[i]);
    }
    assert_int_equal(pending_count(open.pending), MANY);
    assert_int_equal(pending_backlog(open.pending), MANY - 8);
    assert_in_range(steps(&open) - before, 1, 10 * STEPS_A_LOOK);
    close_pending(&open);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_row_comes_back_with_all_that_deciding_needs),
        in_directory(only_what_is_due_comes_and_the_earliest_first),
        in_directory(one_ban_waits_once),
        in_directory(what_was_removed_is_gone_and_removing_again_is_harmless),
        in_directory(a_rolled_back_row_never_was),
        in_directory(a_row_that_cannot_be_read_is_no_ban_and_keeps_no_other_one),
        in_directory(the_backlog_gives_the_newest_ban_first),
        in_directory(what_waits_for_the_pace_is_not_taken_for_what_waits_for_a_hold),
        in_directory(a_ban_waits_in_the_backlog_for_the_longest_of_its_times),
        in_directory(looking_costs_no_more_however_many_wait),
    };
    return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
