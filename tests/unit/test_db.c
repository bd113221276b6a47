/* db: only databases of ours are opened, and an error says what the caller may do next. */
#include "db.h"
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB_BLOCK 64

/* Version 1 had no text, and there is no way from 0. */
static const char *const upgrades[] = {NULL, "ALTER TABLE thing ADD COLUMN text TEXT", "SELECT 1"};
static const db_schema_t schema = {
    .version = 3,
    .create = "CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT);"
              "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
    .upgrades = upgrades,
};

static db_t *open_ours(bool durable)
{
    fault_t fault;
    db_t *db = db_open("a.db", &schema, durable, &fault);
    if (db == NULL)
        fail_msg("%s", fault.text);
    return db;
}

static const char *open_fault(void)
{
    static fault_t fault;
    db_t *db = db_open("a.db", &schema, true, &fault);
    if (db == NULL)
        return fault.text;
    db_destroy(&db);
    return "no fault";
}

/* Run SQL as an operator would, with a connection of our own. */
static void run_sql(const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open("a.db", &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

static int64_t number(db_t *db, const char *sql)
{
    sqlite3_stmt *statement = db_prepare(db, sql);
    assert_int_equal(db_step(db, statement), 1);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static int insert_block(db_t *db, sqlite3_stmt *insert, int64_t id)
{
    sqlite3_bind_int64(insert, 1, id);
    sqlite3_bind_zeroblob(insert, 2, KIB_BLOCK * 1024);
    return db_step(db, insert);
}

TEST(a_new_file_becomes_a_database_of_ours)
{
    db_t *db = open_ours(true);
    assert_int_equal(number(db, "PRAGMA application_id"), 0x626d7368);
    assert_int_equal(number(db, "PRAGMA user_version"), 3);
    assert_int_equal(number(db, "PRAGMA synchronous"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM thing"), 0);
    db_destroy(&db);
    assert_null(db);
    db = open_ours(false);
    assert_int_equal(number(db, "PRAGMA synchronous"), 1);
    sqlite3_stmt *mode = db_prepare(db, "PRAGMA journal_mode");
    assert_int_equal(db_step(db, mode), 1);
    assert_string_equal((const char *)sqlite3_column_text(mode, 0), "wal");
    db_destroy(&db);
}

TEST(what_was_committed_is_there_after_opening_again)
{
    db_t *db = open_ours(true);
    sqlite3_stmt *insert = db_prepare(db, "INSERT INTO thing VALUES (?, ?)");
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(insert_block(db, insert, 1), 0);
    assert_int_equal(db_commit(db), 0);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(insert_block(db, insert, 2), 0);
    db_rollback(db);
    db_rollback(db);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(insert_block(db, insert, 3), 0);
    db_destroy(&db);
    db = open_ours(true);
    assert_int_equal(number(db, "SELECT count(*) FROM thing"), 1);
    assert_int_equal(number(db, "SELECT max(id) FROM thing"), 1);
    db_destroy(&db);
}

TEST(a_newer_schema_is_refused_in_words)
{
    db_t *db = open_ours(true);
    db_destroy(&db);
    run_sql("PRAGMA user_version = 4");
    assert_string_equal(open_fault(),
                        "a.db: schema version 4 is newer than this program's 3; install the "
                        "banmesh that wrote it, or a later one");
}

TEST(an_older_schema_is_brought_up_to_date)
{
    db_t *db = open_ours(true);
    db_destroy(&db);
    run_sql("ALTER TABLE thing DROP COLUMN text; PRAGMA user_version = 1; "
            "INSERT INTO thing VALUES (7)");
    db = open_ours(true);
    assert_int_equal(number(db, "PRAGMA user_version"), 3);
    assert_int_equal(number(db, "SELECT count(*) FROM thing WHERE text IS NULL"), 1);
    db_destroy(&db);
}

TEST(a_schema_that_there_is_no_way_from_is_refused_in_words)
{
    db_t *db = open_ours(true);
    db_destroy(&db);
    run_sql("PRAGMA user_version = 0");
    assert_string_equal(open_fault(), "a.db: schema version 0, expected 3");
}

TEST(tables_that_are_not_those_of_the_version_are_damage)
{
    fault_t fault;
    db_t *db = open_ours(true);
    db_destroy(&db);
    run_sql("CREATE TABLE more (id INTEGER)"); /* an operator's: no harm */
    assert_string_equal(open_fault(), "no fault");
    run_sql("ALTER TABLE thing RENAME COLUMN text TO tuxt");
    errno = 0;
    assert_null(db_open("a.db", &schema, true, &fault));
    assert_int_equal(errno, EBADMSG);
    assert_string_equal(fault.text, "a.db: its tables are not those that were made");
}

/* One bit in the text of the schema, which SQLite's own checks pass over. */
TEST(a_schema_with_one_other_letter_is_damage)
{
    static const char *const letters[] = {
        "UPDATE sqlite_master SET sql = replace (sql, 'sqlite_sequence', 'sqlite_seQuence')",
        "UPDATE sqlite_master SET sql = replace (sql, 'text TEXT', 'text TEXU')",
        "UPDATE sqlite_master SET sql = replace (sql, 'id INTEGER', 'id INTEGES')",
    };
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        fault_t fault;
        db_t *db = open_ours(true);
        db_destroy(&db);
        sqlite3 *handle;
        assert_int_equal(sqlite3_open("a.db", &handle), SQLITE_OK);
        sqlite3_db_config(handle, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1, NULL);
        assert_int_equal(sqlite3_exec(handle, letters[i], NULL, NULL, NULL), SQLITE_OK);
        assert_in_range(sqlite3_changes(handle), 1, 10);
        sqlite3_close(handle);
        assert_null(db_open("a.db", &schema, true, &fault));
        unlink("a.db");
        unlink("a.db-wal");
        unlink("a.db-shm");
    }
}

TEST(a_header_that_says_foreign_over_tables_of_ours_is_damage)
{
    fault_t fault;
    db_t *db = open_ours(true);
    db_destroy(&db);
    run_sql("PRAGMA application_id = 77");
    assert_null(db_open("a.db", &schema, true, &fault));
    assert_int_equal(errno, EBADMSG);
}

TEST(a_database_that_is_shut_begins_nothing_but_what_frees)
{
    db_t *db = open_ours(true);
    db_freeze(db, true);
    assert_true(db_is_frozen(db));
    assert_int_equal(db_begin(db), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(db_begin_freeing(db), 0);
    assert_int_equal(db_commit(db), 0);
    db_freeze(db, false);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(db_commit(db), 0);
    db_destroy(&db);
}

TEST(deleting_takes_far_less_room_than_it_frees)
{
    struct stat log;
    db_t *db = open_ours(false);
    sqlite3_stmt *insert = db_prepare(db, "INSERT INTO thing VALUES (?, ?)");
    assert_int_equal(db_begin(db), 0);
    for (int64_t id = 1; id <= 500; id++)
        assert_int_equal(insert_block(db, insert, id), 0);
    assert_int_equal(db_commit(db), 0);
    assert_int_equal(db_checkpoint(db), 0);
    assert_int_equal(stat("a.db-wal", &log), 0);
    assert_int_equal(log.st_size, 0);
    sqlite3_stmt *drop = db_prepare(db, "DELETE FROM thing WHERE id > 0");
    assert_int_equal(db_step(db, drop), 0);
    assert_int_equal(stat("a.db-wal", &log), 0);
    assert_in_range(log.st_size, 1, 1024 * 1024); /* of 32 MB */
    db_destroy(&db);
}

TEST(a_foreign_database_is_refused_and_left_as_it_is)
{
    size_t before_size;
    size_t after_size;
    run_sql("CREATE TABLE bans (ip TEXT)");
    char *before = support_read("a.db", &before_size);
    assert_string_equal(open_fault(), "a.db: a SQLite database, but not of banmesh");
    char *after = support_read("a.db", &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    free(before);
    free(after);
}

TEST(what_is_no_database_is_refused)
{
    static const char text[] = "not a database at all, but quite long enough to have a header, "
                               "which SQLite looks at first: a hundred bytes of it, or more";
    support_write_text("a.db", text);
    assert_string_equal(open_fault(), "a.db: file is not a database");
    char *after = support_read("a.db", NULL);
    assert_string_equal(after, text);
    free(after);
}

TEST(a_file_that_cannot_be_opened_is_named)
{
    fault_t fault;
    support_make_directory("a.db");
    assert_string_equal(open_fault(), "a.db: unable to open database file");
    assert_null(db_open("missing/a.db", &schema, true, &fault));
    assert_string_equal(fault.text, "missing/a.db: unable to open database file");
}

TEST(a_full_disk_keeps_nothing_and_can_be_tried_again)
{
    db_t *db = open_ours(true);
    sqlite3_stmt *insert = db_prepare(db, "INSERT INTO thing VALUES (?, ?)");
    assert_int_equal(number(db, "PRAGMA max_page_count = 40"), 40);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(insert_block(db, insert, 1), 0);
    int rc = 0;
    for (int64_t id = 2; rc == 0 && id < 10; id++)
        rc = insert_block(db, insert, id);
    assert_int_equal(rc, -1);
    assert_int_equal(errno, ENOSPC);
    db_rollback(db);
    assert_int_equal(number(db, "SELECT count(*) FROM thing"), 0);
    assert_int_equal(number(db, "PRAGMA max_page_count = 4000"), 4000);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(insert_block(db, insert, 1), 0);
    assert_int_equal(db_commit(db), 0);
    db_destroy(&db);
}

TEST(a_write_that_fails_otherwise_is_an_io_error)
{
    db_t *db = open_ours(true);
    sqlite3_stmt *insert = db_prepare(db, "INSERT INTO thing VALUES (?, ?)");
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(insert_block(db, insert, 1), 0);
    support_limit_files(4096);
    errno = 0;
    int rc = db_commit(db);
    support_limit_files(-1);
    assert_int_equal(rc, -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(number(db, "SELECT count(*) FROM thing"), 0);
    db_destroy(&db);
}

TEST(a_database_that_somebody_else_writes_is_busy)
{
    db_t *db = open_ours(true);
    sqlite3 *other;
    assert_int_equal(sqlite3_open("a.db", &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(db_begin(db), -1);
    assert_int_equal(errno, EBUSY);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(db_commit(db), 0);
    sqlite3_close(other);
    db_destroy(&db);
}

TEST(a_damaged_file_is_a_bad_message)
{
    size_t size;
    db_t *db = open_ours(true);
    sqlite3_stmt *insert = db_prepare(db, "INSERT INTO thing VALUES (?, ?)");
    for (int64_t id = 1; id <= 4; id++)
        assert_int_equal(insert_block(db, insert, id), 0);
    db_destroy(&db);
    char *bytes = support_read("a.db", &size);
    memset(bytes + 4096, 0xa5, size - 4096);
    support_write("a.db", bytes, size);
    free(bytes);
    db = open_ours(true);
    sqlite3_stmt *count = db_prepare(db, "SELECT count(*) FROM thing");
    assert_int_equal(db_step(db, count), -1);
    assert_int_equal(errno, EBADMSG);
    db_destroy(&db);
}

TEST(an_error_leaves_the_statement_ready)
{
    db_t *db = open_ours(true);
    sqlite3_stmt *insert = db_prepare(db, "INSERT INTO thing VALUES (?, ?)");
    assert_int_equal(insert_block(db, insert, 1), 0);
    assert_int_equal(insert_block(db, insert, 1), -1);
    assert_int_equal(insert_block(db, insert, 2), 0);
    db_destroy(&db);
}

static int prepare_nonsense(void *arg)
{
    db_prepare(arg, "SELECT nothing FROM nowhere");
    return 0;
}

TEST(wrong_sql_is_fatal)
{
    db_t *db = open_ours(true);
    assert_int_equal(support_exit_status(prepare_nonsense, db), 1);
    db_destroy(&db);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_new_file_becomes_a_database_of_ours),
        in_directory(what_was_committed_is_there_after_opening_again),
        in_directory(a_newer_schema_is_refused_in_words),
        in_directory(an_older_schema_is_brought_up_to_date),
        in_directory(a_schema_that_there_is_no_way_from_is_refused_in_words),
        in_directory(a_schema_with_one_other_letter_is_damage),
        in_directory(tables_that_are_not_those_of_the_version_are_damage),
        in_directory(a_header_that_says_foreign_over_tables_of_ours_is_damage),
        in_directory(a_database_that_is_shut_begins_nothing_but_what_frees),
        in_directory(deleting_takes_far_less_room_than_it_frees),
        in_directory(a_foreign_database_is_refused_and_left_as_it_is),
        in_directory(what_is_no_database_is_refused),
        in_directory(a_file_that_cannot_be_opened_is_named),
        in_directory(a_full_disk_keeps_nothing_and_can_be_tried_again),
        in_directory(a_write_that_fails_otherwise_is_an_io_error),
        in_directory(a_database_that_somebody_else_writes_is_busy),
        in_directory(a_damaged_file_is_a_bad_message),
        in_directory(an_error_leaves_the_statement_ready),
        in_directory(wrong_sql_is_fatal),
    };
    return cmocka_run_group_tests_name("db", tests, NULL, NULL);
}
