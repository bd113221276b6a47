/* wreck and wal: what a damaged SQLite file still holds is found without SQLite, and a broken log
 * is told from one that power loss left torn. */
#include "support.h"
#include "wal.h"
#include "wreck.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS_MAX   400
#define PAGE_BYTES 4096

/* The rows that were written: the size of each, and how often it was found. */
typedef struct {
    size_t count;
    size_t sizes[ROWS_MAX];
    unsigned found[ROWS_MAX];
} model_t;

static model_t model;

/* What row `number` holds: its number first, then bytes that follow from it. */
static uint8_t *fill_row(uint32_t number, size_t size)
{
    uint8_t *bytes = xmalloc(size);
    memcpy(bytes, &number, sizeof number);
    for (size_t i = sizeof number; i < size; i++)
        bytes[i] = (uint8_t)(number * 31 + i * 7);
    return bytes;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static sqlite3 *make(void)
{
    sqlite3 *db;
    memset(&model, 0, sizeof model);
    assert_int_equal(sqlite3_open("a.db", &db), SQLITE_OK);
    run_sql(db, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = "
                "OFF; CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB, number INTEGER)");
    return db;
}

static void add(sqlite3 *db, size_t size)
{
    sqlite3_stmt *insert;
    uint32_t number = (uint32_t)model.count;
    uint8_t *bytes = fill_row(number, size);
    assert_int_equal(sqlite3_prepare_v2(db, "INSERT INTO row VALUES (?, ?, ?)", -1, &insert, NULL),
                     SQLITE_OK);
    sqlite3_bind_int64(insert, 1, (1LL << 40) + number);
    sqlite3_bind_blob(insert, 2, bytes, (int)size, free);
    sqlite3_bind_int64(insert, 3, number % 2 == 0 ? (int64_t)number : -(1LL << (number % 60)));
    assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
    sqlite3_finalize(insert);
    model.sizes[model.count++] = size;
}

/* Sizes around every limit of the format: one byte, a full page, chains of pages. */
static void add_many(sqlite3 *db, uint64_t *random, size_t count)
{
    static const size_t edges[] = {4, 5, 200, 4040, 4050, 4060, 4061, 4062, 4070, 8192, 65640};
    for (size_t i = 0; i < count; i++) {
        uint64_t choice = support_random(random) % 20;
        size_t size = choice < 11 ? edges[choice] : 4 + support_random(random) % 6000;
        add(db, size);
    }
}

/* Leave the files as a killed process would: copied, not closed. */
static void copy(const char *from, const char *to)
{
    size_t size;
    if (!support_exists(from))
        return;
    char *bytes = support_read(from, &size);
    support_write(to, bytes, size);
    free(bytes);
}

static void take_files(sqlite3 *db)
{
    copy("a.db", "w.db");
    copy("a.db-wal", "w.db-wal");
    sqlite3_close(db);
}

static void note_row(void *arg, const wreck_row_t *row)
{
    uint32_t number;
    (void)arg;
    if (row->count != 3 || row->columns[1].size < sizeof number)
        return;
    memcpy(&number, row->columns[1].bytes, sizeof number);
    if (number >= model.count || row->columns[1].size != model.sizes[number])
        return;
    uint8_t *expected = fill_row(number, model.sizes[number]);
    if (memcmp(expected, row->columns[1].bytes, model.sizes[number]) == 0) {
        int64_t column = number % 2 == 0 ? (int64_t)number : -(1LL << (number % 60));
        assert_int_equal(row->columns[2].number, column);
        assert_null(row->columns[0].bytes);
        model.found[number]++;
    }
    free(expected);
}

static size_t count_lost(void)
{
    fault_t fault;
    size_t lost = 0;
    memset(model.found, 0, sizeof model.found);
    wreck_t *wreck = wreck_open("w.db", &fault);
    if (wreck == NULL)
        fail_msg("%s", fault.text);
    wreck_each(wreck, note_row, NULL);
    wreck_close(&wreck);
    for (size_t i = 0; i < model.count; i++)
        lost += model.found[i] == 0;
    return lost;
}

static void scribble(const char *path, size_t at, size_t size)
{
    size_t whole;
    char *bytes = support_read(path, &whole);
    assert_true(at + size <= whole);
    for (size_t i = 0; i < size; i++)
        bytes[at + i] = (char)(bytes[at + i] ^ 0x5a);
    support_write(path, bytes, whole);
    free(bytes);
}

static size_t size_of(const char *path)
{
    size_t size;
    free(support_read(path, &size));
    return size;
}

TEST(every_row_of_every_size_is_found_in_the_file_and_in_its_log)
{
    uint64_t random = support_seed();
    sqlite3 *db = make();
    add_many(db, &random, 150);
    run_sql(db, "PRAGMA wal_checkpoint (PASSIVE)");
    add_many(db, &random, 150);
    take_files(db);
    assert_int_equal(count_lost(), 0);
}

static void note_place(void *arg, const wreck_row_t *row)
{
    wreck_row_t *last = arg;
    *last = *row;
}

TEST(a_row_is_found_once_more_by_its_place)
{
    uint64_t random = support_seed();
    sqlite3 *db = make();
    wreck_row_t last = {0};
    wreck_row_t again = {0};
    fault_t fault;
    add_many(db, &random, 20);
    take_files(db);
    wreck_t *wreck = wreck_open("w.db", &fault);
    assert_non_null(wreck);
    wreck_each(wreck, note_place, &last);
    assert_true(wreck_again(wreck, last.place, &again));
    note_row(NULL, &again);
    assert_int_equal(again.columns[2].number, last.columns[2].number);
    assert_int_equal(again.columns[1].size, last.columns[1].size);
    assert_false(wreck_again(wreck, 0, &again));
    assert_false(wreck_again(wreck, 99999ULL << 17, &again));
    wreck_close(&wreck);
}

TEST(without_its_header_page_only_what_stands_on_it_is_lost)
{
    uint64_t random = support_seed();
    sqlite3 *db = make();
    add_many(db, &random, 200);
    run_sql(db, "PRAGMA wal_checkpoint (TRUNCATE)");
    take_files(db);
    scribble("w.db", 0, PAGE_BYTES);
    assert_int_equal(count_lost(), 0); /* the first page holds the schema alone */
}

/* How many rows a page can cost: those on it, or the one whose chain it is part of. */
static size_t rows_on(uint32_t page)
{
    size_t size;
    uint8_t *bytes = (uint8_t *)support_read("w.db", &size);
    const uint8_t *at = bytes + (size_t)(page - 1) * PAGE_BYTES + (page == 1 ? 100 : 0);
    size_t rows = *at == 0x0d ? (size_t)at[3] << 8 | at[4] : 1;
    free(bytes);
    return rows > 0 ? rows : 1;
}

TEST(a_page_of_nonsense_costs_only_the_rows_on_it)
{
    uint64_t random = support_seed();
    sqlite3 *db = make();
    add_many(db, &random, 300);
    run_sql(db, "PRAGMA wal_checkpoint (TRUNCATE)");
    take_files(db);
    uint32_t pages = (uint32_t)(size_of("w.db") / PAGE_BYTES);
    copy("w.db", "whole.db");
    for (int i = 0; i < 60; i++) {
        uint32_t page = 1 + (uint32_t)(support_random(&random) % pages);
        copy("whole.db", "w.db");
        size_t at_stake = rows_on(page);
        scribble("w.db", (size_t)(page - 1) * PAGE_BYTES, PAGE_BYTES);
        assert_in_range(count_lost(), 0, at_stake);
    }
}

TEST(flipped_bits_and_cut_files_never_give_a_row_that_never_was)
{
    uint64_t random = support_seed();
    sqlite3 *db = make();
    add_many(db, &random, 100);
    run_sql(db, "PRAGMA wal_checkpoint (PASSIVE)");
    add_many(db, &random, 100);
    take_files(db);
    copy("w.db", "whole.db");
    copy("w.db-wal", "whole.db-wal");
    for (int i = 0; i < 60; i++) {
        const char *path = support_random(&random) % 2 == 0 ? "w.db" : "w.db-wal";
        copy("whole.db", "w.db");
        copy("whole.db-wal", "w.db-wal");
        for (int j = 0; j < 20; j++)
            scribble(path, support_random(&random) % size_of(path), 1);
        if (i % 4 == 0)
            assert_int_equal(truncate(path, (off_t)(support_random(&random) % size_of(path))), 0);
        count_lost(); /* a row with other bytes would not count; a wild pointer would not return */
    }
}

/* ---- the log ---- */

static bool is_damaged(void)
{
    wal_t *log = wal_open("w.db");
    bool damaged = wal_is_damaged(log);
    wal_close(&log);
    return damaged;
}

static void make_log(int commits)
{
    sqlite3 *db = make();
    for (int i = 0; i < commits; i++)
        add(db, 3000);
    take_files(db);
    copy("w.db-wal", "whole.db-wal");
}

TEST(a_whole_log_and_a_missing_one_are_not_damaged)
{
    assert_false(is_damaged());
    make_log(20);
    assert_false(is_damaged());
    unlink("w.db-wal");
    assert_false(is_damaged());
}

/* Each byte of a frame's header and some of its page: SQLite would pass over all that follows. */
TEST(a_flipped_bit_with_a_commit_behind_it_is_damage)
{
    make_log(20);
    size_t frame = 32 + 3 * (24 + PAGE_BYTES);
    for (size_t at = 0; at < 24 + 64; at++) {
        copy("whole.db-wal", "w.db-wal");
        scribble("w.db-wal", frame + at, 1);
        assert_true(is_damaged());
    }
}

TEST(a_damaged_header_of_the_log_is_damage)
{
    make_log(20);
    for (size_t at = 8; at < 32; at++) { /* before: what it is, not what it holds */
        copy("whole.db-wal", "w.db-wal");
        scribble("w.db-wal", at, 1);
        assert_true(is_damaged());
    }
}

TEST(a_log_that_power_loss_left_torn_is_not_damaged)
{
    make_log(20);
    size_t size = size_of("w.db-wal");
    for (size_t cut = 1; cut < 24 + PAGE_BYTES; cut += 97) {
        copy("whole.db-wal", "w.db-wal");
        assert_int_equal(truncate("w.db-wal", (off_t)(size - cut)), 0);
        assert_false(is_damaged());
        copy("whole.db-wal", "w.db-wal");
        scribble("w.db-wal", size - cut, 1);
        assert_false(is_damaged());
    }
}

TEST(what_an_earlier_round_left_in_the_log_is_not_damaged)
{
    sqlite3 *db = make();
    for (int i = 0; i < 30; i++)
        add(db, 3000);
    run_sql(db, "PRAGMA wal_checkpoint (RESTART)");
    for (int i = 0; i < 5; i++)
        add(db, 3000);
    take_files(db);
    assert_false(is_damaged());
    assert_int_equal(count_lost(), 0);
}

TEST(rows_behind_a_broken_frame_are_found)
{
    make_log(20);
    /* One row a page: the frame of a page is written once for each row that comes onto it. */
    for (size_t frame = 0; frame < 20; frame++) {
        copy("whole.db-wal", "w.db-wal");
        size_t at = 32 + frame * (24 + PAGE_BYTES);
        if (at + 24 + PAGE_BYTES > size_of("w.db-wal"))
            break;
        scribble("w.db-wal", at + 24 + 2000, 1);
        assert_in_range(count_lost(), 0, 1);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(every_row_of_every_size_is_found_in_the_file_and_in_its_log),
        in_directory(a_row_is_found_once_more_by_its_place),
        in_directory(without_its_header_page_only_what_stands_on_it_is_lost),
        in_directory(a_page_of_nonsense_costs_only_the_rows_on_it),
        in_directory(flipped_bits_and_cut_files_never_give_a_row_that_never_was),
        in_directory(a_whole_log_and_a_missing_one_are_not_damaged),
        in_directory(a_flipped_bit_with_a_commit_behind_it_is_damage),
        in_directory(a_damaged_header_of_the_log_is_damage),
        in_directory(a_log_that_power_loss_left_torn_is_not_damaged),
        in_directory(what_an_earlier_round_left_in_the_log_is_not_damaged),
        in_directory(rows_behind_a_broken_frame_are_found),
    };
    return cmocka_run_group_tests_name("wreck", tests, NULL, NULL);
}
