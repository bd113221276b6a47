/* around: SQLite's refusals cost what stands on the pages that it refuses, and nothing beside them.
 */
#include "around.h"
#include "damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEEDS    3
#define ROWS     4000 /* of each */
#define ALL      (FEEDS * ROWS)
#define SEQ_BITS 40

static bool seen[FEEDS][ROWS];
static int rows_read;

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(file, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

/* Feed 2's numbers begin late, and some rows go over several pages. */
static void make_database(void)
{
    run_sql("whole.db",
            "CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB);"
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 11999) "
            "INSERT INTO row SELECT (i / 4000 + 1) << 40 | i % 4000 + "
            " iif (i / 4000 = 1, 100000, 1), "
            " zeroblob (iif (i % 100 = 7, 9000, 250)) FROM n");
    damage_copy("whole.db", "some.db");
}

static bool note_row(void *arg, sqlite3_stmt *row)
{
    int64_t key = sqlite3_column_int64(row, 0);
    int64_t feed = (key >> SEQ_BITS) - 1;
    int64_t seq = (key & ((1LL << SEQ_BITS) - 1)) - (feed == 1 ? 100000 : 1);
    int size = seq % 100 == 7 ? 9000 : 250;
    (void)arg;
    rows_read++;
    if (feed < 0 || feed >= FEEDS || seq < 0 || seq >= ROWS || sqlite3_column_bytes(row, 1) != size)
        return false;
    seen[feed][seq] = true;
    return true;
}

static int read_some(bool without_log)
{
    fault_t fault;
    const around_t from = {"some.db", without_log, "row", "id", "bytes"};
    memset(seen, 0, sizeof seen);
    rows_read = 0;
    if (around_read(&from, note_row, NULL, &fault) == -1)
        fail_msg("%s", fault.text);
    int count = 0;
    for (int i = 0; i < ALL; i++)
        count += seen[i / ROWS][i % ROWS];
    return count;
}

/* Pages of a kind, in the order of their rows; returns how many there are. */
static int list_pages(const char *kind, int64_t *pages, int *cells, int max)
{
    sqlite3 *handle;
    sqlite3_stmt *row;
    int count = 0;
    assert_int_equal(sqlite3_open("whole.db", &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle,
                                        "SELECT pageno, ncell FROM dbstat WHERE name = 'row' AND "
                                        "pagetype = ? AND path <> '/' ORDER BY path",
                                        -1, &row, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(row, 1, kind, -1, SQLITE_STATIC);
    for (; count < max && sqlite3_step(row) == SQLITE_ROW; count++) {
        pages[count] = sqlite3_column_int64(row, 0);
        cells[count] = sqlite3_column_int(row, 1);
    }
    sqlite3_finalize(row);
    sqlite3_close(handle);
    return count;
}

static void ruin(int64_t page)
{
    damage_fill("some.db", (size_t)(page - 1) * DAMAGE_PAGE_BYTES, DAMAGE_PAGE_BYTES);
}

#define PAGES_MAX 4000
static int64_t leaves[PAGES_MAX];
static int cells[PAGES_MAX];

TEST(a_whole_database_is_read_once)
{
    make_database();
    assert_int_equal(read_some(false), ALL);
    assert_int_equal(rows_read, ALL);
}

TEST(each_page_of_rows_costs_its_own_rows_only)
{
    make_database();
    int count = list_pages("leaf", leaves, cells, PAGES_MAX);
    assert_true(count > 500);
    for (int i = 0; i < count; i += i < 3 || i > count - 4 ? 1 : 41) {
        damage_copy("whole.db", "some.db");
        ruin(leaves[i]);
        assert_int_equal(read_some(false), ALL - cells[i]);
    }
}

/* Also where one stands between others, and the leaps land on bad ones. */
TEST(many_pages_cost_their_own_rows_only)
{
    uint64_t random = support_seed();
    make_database();
    int count = list_pages("leaf", leaves, cells, PAGES_MAX);
    for (int round = 0; round < 10; round++) {
        int lost = 0;
        int first = (int)(support_random(&random) % (uint64_t)(count - 60));
        damage_copy("whole.db", "some.db");
        for (int i = first; i < first + 60; i++)
            if (support_random(&random) % 2 == 0) {
                ruin(leaves[i]);
                lost += cells[i];
            }
        assert_int_equal(read_some(false), ALL - lost);
    }
}

/* The tree above: what hangs below one page of it, and nothing else. */
TEST(a_page_of_the_tree_costs_what_hangs_below_it)
{
    int64_t inner[PAGES_MAX];
    int below[PAGES_MAX];
    make_database();
    int count = list_pages("internal", inner, below, PAGES_MAX);
    assert_true(count > 1);
    for (int i = 0; i < count; i++) {
        damage_copy("whole.db", "some.db");
        ruin(inner[i]);
        int rows = read_some(false);
        assert_in_range(ALL - rows, 1, (below[i] + 1) * 20);
    }
}

TEST(a_row_on_pages_of_its_own_is_lost_alone)
{
    make_database();
    int count = list_pages("overflow", leaves, cells, PAGES_MAX);
    assert_true(count > 100);
    for (int i = 0; i < count; i += 17) {
        damage_copy("whole.db", "some.db");
        damage_fill("some.db", (size_t)(leaves[i] - 1) * DAMAGE_PAGE_BYTES, 4); /* the next one */
        assert_in_range(read_some(false), ALL - 1, ALL);
    }
}

TEST(a_file_that_is_cut_off_is_read_as_far_as_it_goes)
{
    make_database();
    damage_cut("some.db", damage_size("some.db") / 2 + 100);
    assert_in_range(read_some(false), ALL / 3, ALL * 2 / 3);
}

/* What it reads, it leaves as it is; and the log counts, unless it is to be passed over. */
TEST(the_log_is_read_and_left_where_it_is)
{
    sqlite3 *handle;
    make_database();
    run_sql("whole.db", "PRAGMA journal_mode = WAL");
    assert_int_equal(sqlite3_open("whole.db", &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, "DELETE FROM row WHERE id > 2 << 40", 0, 0, 0),
                     SQLITE_OK);
    damage_copy("whole.db", "some.db");
    damage_copy("whole.db-wal", "some.db-wal");
    sqlite3_close(handle);
    size_t size = damage_size("some.db-wal");
    assert_true(size > 0);
    assert_int_equal(read_some(false), ROWS);
    assert_int_equal(read_some(true), ALL);
    assert_int_equal(damage_size("some.db-wal"), size);
}

TEST(what_is_refused_as_a_whole_is_said)
{
    fault_t fault;
    around_t from = {"some.db", false, "row", "id", "bytes"};
    make_database();
    ruin(1);
    assert_int_equal(around_read(&from, note_row, NULL, &fault), -1);
    assert_string_equal(fault.text, "some.db: file is not a database");
    from.table = "other";
    from.path = "whole.db";
    assert_int_equal(around_read(&from, note_row, NULL, &fault), -1);
    assert_string_equal(fault.text, "whole.db: no such table: other");
}

TEST(a_path_may_have_any_character)
{
    fault_t fault;
    const around_t from = {"100%?#&.db", true, "row", "id", "bytes"};
    make_database();
    damage_copy("whole.db", from.path);
    memset(seen, 0, sizeof seen);
    assert_int_equal(around_read(&from, note_row, NULL, &fault), 0);
    assert_true(seen[0][0]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_whole_database_is_read_once),
        in_directory(each_page_of_rows_costs_its_own_rows_only),
        in_directory(many_pages_cost_their_own_rows_only),
        in_directory(a_page_of_the_tree_costs_what_hangs_below_it),
        in_directory(a_row_on_pages_of_its_own_is_lost_alone),
        in_directory(a_file_that_is_cut_off_is_read_as_far_as_it_goes),
        in_directory(the_log_is_read_and_left_where_it_is),
        in_directory(what_is_refused_as_a_whole_is_said),
        in_directory(a_path_may_have_any_character),
    };
    return cmocka_run_group_tests_name("around", tests, NULL, NULL);
}
