/* state, check: a database that is damaged is noticed, mended or set aside, and said; nothing that
 * was not stored is ever read. */
#include "damage.h"
#include "feeds.h"
#include "replica.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN_BATCHES  40
#define PEER_BATCHES 300

/* Two epochs of ours, three of peers; the cursor stands at the end of the first. */
static void fill(feed_t *feed)
{
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0));
    for (uint64_t seq = 1; seq <= OWN_BATCHES; seq++) {
        assert_int_equal(db_begin(feed_own_db(feed)), 0);
        assert_int_equal(feeds_store(feed, own, seq), 0);
        assert_int_equal(feed_commit_own(feed), 0);
    }
    assert_int_equal(db_begin(feed_peers_db(feed)), 0);
    for (uint8_t origin = 2; origin <= 4; origin++) {
        const feed_ref_t *peer = feeds_add(feed, origin, FEEDS_T0);
        for (uint64_t seq = 1; seq <= PEER_BATCHES; seq++)
            assert_int_equal(feeds_store(feed, peer, seq), 0);
    }
    assert_int_equal(feed_set_cursor(feed, feeds_find(feed, 2, FEEDS_T0), PEER_BATCHES), 0);
    assert_int_equal(db_commit(feed_peers_db(feed)), 0);
}

/* "state" as a node leaves it that was stopped, or one that was killed. */
static void make_state(bool closed)
{
    feed_t *feed = feeds_open_new();
    fill(feed);
    if (!closed)
        damage_copy_all("state", "copy");
    feed_close(&feed);
    if (!closed)
        damage_copy_all("copy", "state");
}

static const char *notes(feed_t *feed)
{
    static char text[4096];
    const char *note;
    text[0] = '\0';
    for (size_t i = 0; (note = state_note(feed_state(feed), i)) != NULL; i++) {
        strcat(text, note);
        strcat(text, "\n");
    }
    return text;
}

static void assert_note(feed_t *feed, const char *expected)
{
    if (strstr(notes(feed), expected) == NULL)
        fail_msg("expected \"...%s...\", but it says \"%s\"", expected, notes(feed));
}

static const feed_ref_t *own_feed(feed_t *feed)
{
    feed_id_t id = {.epoch = FEEDS_T0};
    id.origin = feeds_self;
    return feed_find(feed, &id);
}

static void assert_holds_all(feed_t *feed, const feed_ref_t *ref, uint64_t have)
{
    assert_int_equal(ref->have, have);
    for (uint64_t seq = 1; seq <= have; seq++)
        feeds_assert_holds(feed, ref, seq);
}

static int read_all(void *arg)
{
    feed_t *feed = feed_open("state", &feeds_self, &replica_tables, NULL);
    const uint8_t *bytes;
    (void)arg;
    if (feed == NULL)
        return 2;
    for (size_t i = 0; i < feed_count(feed); i++)
        for (uint64_t seq = 1; seq <= feed_at(feed, i)->have; seq++)
            feed_read(feed, feed_at(feed, i), seq, &bytes);
    return 0;
}

TEST(what_is_in_order_is_left_alone)
{
    make_state(true);
    feed_t *feed = feeds_open();
    assert_string_equal(notes(feed), "");
    assert_null(state_wreck(feed_state(feed)));
    assert_holds_all(feed, own_feed(feed), OWN_BATCHES);
    damage_copy_all("state", "copy"); /* as if it had been killed */
    feed_close(&feed);
    damage_copy_all("copy", "state");
    feed = feeds_open();
    assert_string_equal(notes(feed), "");
    assert_holds_all(feed, feeds_find(feed, 3, FEEDS_T0), PEER_BATCHES);
    feed_close(&feed);
}

/* SQLite does not notice; the sum does, and the batches from there on are fetched again. */
TEST(a_flipped_bit_in_a_batch_of_a_peer_is_never_read_and_mended_by_the_next_start)
{
    make_state(true);
    damage_text("state/peers.db", "batch 123");
    assert_int_equal(support_exit_status(read_all, NULL), 1);
    feed_t *feed = feeds_open();
    assert_note(feed, "batch 123 of epoch");
    assert_int_equal(feed_count(feed), 4);
    for (uint8_t origin = 2; origin <= 4; origin++) {
        const feed_ref_t *peer = feeds_find(feed, origin, FEEDS_T0);
        bool is_hit = peer->have != PEER_BATCHES;
        assert_holds_all(feed, peer, is_hit ? 122 : PEER_BATCHES);
        assert_int_equal(peer->cursor, origin != 2 ? 0 : is_hit ? 122 : PEER_BATCHES);
        for (uint64_t seq = peer->have + 1; seq <= PEER_BATCHES; seq++)
            assert_int_equal(feeds_store(feed, peer, seq), 0);
    }
    feed_close(&feed);
    assert_int_equal(support_exit_status(read_all, NULL), 0);
    assert_false(support_exists("state/peers.db-check"));
}

TEST(a_flipped_bit_in_a_batch_of_ours_is_never_read_and_leaves_a_wreck)
{
    make_state(true);
    damage_text("state/own.db", "batch 17");
    assert_int_equal(support_exit_status(read_all, NULL), 1);
    feed_t *feed = feeds_open();
    assert_note(feed, "batch 17 of epoch");
    assert_string_equal(state_wreck(feed_state(feed)), "state/own.db.wreck");
    assert_null(own_feed(feed));
    assert_holds_all(feed, feeds_find(feed, 2, FEEDS_T0), PEER_BATCHES);
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

TEST(a_batch_that_is_missing_is_damage)
{
    make_state(true);
    run_sql("state/peers.db", "DELETE FROM batch WHERE (id & 1099511627775) = 50");
    assert_int_equal(support_exit_status(read_all, NULL), 1);
    feed_t *feed = feeds_open();
    assert_note(feed, "batch 50 of epoch");
    assert_note(feed, "and some of other epochs");
    for (uint8_t origin = 2; origin <= 4; origin++)
        assert_holds_all(feed, feeds_find(feed, origin, FEEDS_T0), 49);
    feed_close(&feed);
}

/* A row under another's key, as a flipped bit in the key would have it. */
TEST(a_batch_under_the_number_of_another_is_damage)
{
    make_state(true);
    run_sql("state/own.db", "UPDATE batch SET envelope = (SELECT envelope FROM batch WHERE (id & "
                            "1099511627775) = 8), sum = (SELECT sum FROM batch WHERE (id & "
                            "1099511627775) = 8) WHERE (id & 1099511627775) = 7");
    assert_int_equal(support_exit_status(read_all, NULL), 1);
}

static int64_t ask_sql(const char *file, const char *sql)
{
    sqlite3 *handle;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(file, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return number;
}

TEST(a_page_of_nonsense_in_peers_db_sets_it_aside)
{
    make_state(true);
    /* In the middle: opening reads only where each feed begins and ends. */
    int64_t page =
        ask_sql("state/peers.db", "SELECT pageno FROM dbstat WHERE name = 'batch' "
                                  "AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 2");
    damage_fill("state/peers.db", (size_t)(page - 1) * DAMAGE_PAGE_BYTES, DAMAGE_PAGE_BYTES);
    assert_int_equal(support_exit_status(read_all, NULL), 1);
    feed_t *feed = feeds_open();
    assert_note(feed, "set aside as state/peers.db.damaged-");
    assert_int_equal(feed_count(feed), 1);
    assert_int_equal(damage_count("state", "peers.db.damaged-"), 1);
    assert_holds_all(feed, own_feed(feed), OWN_BATCHES);
    fill(feed);
    feed_close(&feed);
}

TEST(a_database_cut_to_nothing_is_begun_anew_and_said)
{
    make_state(true);
    damage_cut("state/own.db", 0);
    damage_cut("state/peers.db", 0);
    feed_t *feed = feeds_open();
    assert_note(feed, "state/own.db was empty and is made anew");
    assert_note(feed, "state/peers.db was empty and is made anew");
    assert_int_equal(feed_count(feed), 0);
    feed_close(&feed);
}

/* SQLite would remove the log of an empty database without a word. */
TEST(the_log_of_a_database_cut_to_nothing_is_kept)
{
    make_state(false);
    damage_cut("state/own.db", 0);
    damage_cut("state/peers.db", 0);
    feed_t *feed = feeds_open();
    assert_note(feed, "state/own.db: is empty, but its write-ahead log is there");
    assert_true(damage_size("state/own.db.wreck-wal") > 0);
    assert_int_equal(damage_count("state", "peers.db.damaged-"), 2);
    feed_close(&feed);
}

/* SQLite would pass over all later commits without a word. */
TEST(a_flipped_bit_in_our_log_leaves_a_wreck)
{
    make_state(false);
    damage_flip("state/own.db-wal", 32 + 5 * (24 + DAMAGE_PAGE_BYTES) + 100, 1);
    feed_t *feed = feeds_open();
    assert_note(feed, "that were on disk are not in it");
    assert_non_null(state_wreck(feed_state(feed)));
    assert_true(damage_size("state/own.db.wreck-wal") > 0);
    assert_null(own_feed(feed));
    feed_close(&feed);
}

/* As a flipped bit of its header has it, or of its first frame. */
TEST(a_log_that_is_cut_off_leaves_a_wreck)
{
    make_state(false);
    damage_cut("state/own.db-wal", 32 + 30 * (24 + DAMAGE_PAGE_BYTES));
    feed_t *feed = feeds_open();
    assert_note(feed, "that were on disk are not in it");
    assert_non_null(state_wreck(feed_state(feed)));
    feed_close(&feed);
    feed = feeds_open(); /* said once */
    assert_string_equal(notes(feed), "");
    feed_close(&feed);
}

/* An older copy of own.db alone; if the record comes from the same backup, all is in order. */
TEST(an_own_db_that_was_put_back_alone_is_noticed)
{
    make_state(true);
    damage_copy_all("state", "backup");
    feed_t *feed = feeds_open();
    const feed_ref_t *own = feed_own(feed, feeds_at(FEEDS_T0 + 5));
    assert_int_equal(db_begin(feed_own_db(feed)), 0);
    assert_int_equal(feeds_store(feed, own, 1), 0);
    assert_int_equal(feed_commit_own(feed), 0);
    feed_close(&feed);
    damage_copy("backup/own.db", "state/own.db");
    feed = feeds_open();
    assert_note(feed, "1 batches or more that were on disk are not in it");
    assert_non_null(state_wreck(feed_state(feed)));
    feed_close(&feed);
    damage_copy_all("backup", "state");
    feed = feeds_open();
    assert_string_equal(notes(feed), "");
    assert_holds_all(feed, own_feed(feed), OWN_BATCHES);
    feed_close(&feed);
}

TEST(an_own_db_that_is_missing_is_made_anew_and_said_once)
{
    make_state(true);
    unlink("state/own.db");
    feed_t *feed = feeds_open();
    assert_note(feed, "state/own.db was missing and is made anew");
    assert_null(state_wreck(feed_state(feed)));
    feed_close(&feed);
    feed = feeds_open();
    assert_string_equal(notes(feed), "");
    feed_close(&feed);
}

/* SQLite's quick look passes over it, and the feed could not be opened, start after start. */
TEST(a_damaged_index_of_feeds_is_damage)
{
    make_state(true);
    int64_t page = ask_sql("state/own.db", "SELECT pageno FROM dbstat "
                                           "WHERE name = 'sqlite_autoindex_feed_1'");
    size_t size;
    char *bytes = support_read("state/own.db", &size);
    char *at = memmem(bytes + (page - 1) * DAMAGE_PAGE_BYTES, DAMAGE_PAGE_BYTES, feeds_self.bytes,
                      PUBKEY_BYTES);
    assert_non_null(at);
    at[PUBKEY_BYTES + 5] ^= 1; /* of the epoch */
    support_write("state/own.db", bytes, size);
    free(bytes);
    feed_t *feed = feeds_open();
    assert_note(feed, "damaged: state/own.db");
    assert_non_null(state_wreck(feed_state(feed)));
    feed_close(&feed);
}

TEST(an_own_db_that_was_not_closed_is_looked_at)
{
    make_state(false);
    feed_t *feed = feeds_open(); /* brings the log into the file */
    feed_close(&feed);
    damage_text("state/own.db", "batch 31");
    feed = feeds_open(); /* closed: not looked at, nor read */
    assert_string_equal(notes(feed), "");
    assert_int_equal(feeds_store(feed, feed_own(feed, feeds_at(FEEDS_T0 + 9)), 1), 0);
    damage_copy_all("state", "copy");
    feed_close(&feed);
    damage_copy_all("copy", "state");
    feed = feeds_open();
    assert_note(feed, "batch 31 of epoch");
    feed_close(&feed);
}

TEST(setting_aside_that_was_interrupted_goes_on)
{
    make_state(false);
    assert_int_equal(rename("state/own.db", "state/own.db.wreck"), 0);
    feed_t *feed = feeds_open();
    assert_note(feed, "state/own.db: is missing, but its write-ahead log is there");
    assert_true(damage_size("state/own.db.wreck-wal") > 0);
    assert_int_equal(damage_count("state", "own.db.damaged-"), 0);
    feed_close(&feed);
}

/* What is begun from a wreck has nothing that is not in the wreck, until that is taken over. */
TEST(a_wreck_is_not_replaced_by_what_was_begun_from_it)
{
    make_state(true);
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    damage_copy("state/own.db", "first");
    feed_t *feed = feeds_open();
    feed_close(&feed);
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    feed = feeds_open();
    size_t size;
    size_t same;
    char *wreck = support_read("state/own.db.wreck", &size);
    char *first = support_read("first", &same);
    assert_int_equal(size, same);
    assert_memory_equal(wreck, first, size);
    free(wreck);
    free(first);
    assert_int_equal(damage_count("state", "own.db.damaged-"), 1);
    feed_close(&feed);
}

TEST(only_the_newest_two_are_kept)
{
    make_state(true);
    for (int i = 0; i < 5; i++) {
        damage_fill("state/peers.db", 0, DAMAGE_PAGE_BYTES);
        feed_t *feed = feeds_open();
        assert_note(feed, "set aside as");
        fill(feed);
        feed_close(&feed);
    }
    support_write_text("state/peers.db.damaged-mine", "");
    damage_fill("state/peers.db", 0, DAMAGE_PAGE_BYTES);
    feed_t *feed = feeds_open();
    feed_close(&feed);
    assert_int_equal(damage_count("state", "peers.db.damaged-"), 3);
    assert_true(support_exists("state/peers.db.damaged-mine"));
}

/* Open as often as it takes; every start ends in order, or in words, or having said what it did. */
static void assert_comes_up(const char *what)
{
    for (int i = 0; i < 4; i++)
        if (support_exit_status(read_all, NULL) == 0)
            return;
    fail_msg("does not come up again after damage: %s: %s", what, feeds_open_fault());
}

/* What was read is what was stored: checked for every feed that is left. */
static void assert_no_lies(void)
{
    feed_t *feed = feeds_open();
    for (size_t i = 0; i < feed_count(feed); i++)
        assert_holds_all(feed, feed_at(feed, i), feed_at(feed, i)->have);
    feed_close(&feed);
}

/* Of our own nothing goes without a wreck being left, unless nothing was left to keep. */
static void assert_nothing_of_ours_vanished(size_t size_before)
{
    feed_t *feed = feeds_open();
    const feed_ref_t *own = own_feed(feed);
    if (own == NULL || own->have < OWN_BATCHES)
        assert_true(size_before == 0 || state_wreck(feed_state(feed)) != NULL);
    feed_close(&feed);
}

/* Where the version stands, a changed one cannot be told from a newer banmesh's: that is said, and
 * it is left alone. */
static bool is_version(size_t at)
{
    return at >= 60 && at < 64;
}

TEST(every_flipped_bit_of_a_header_is_harmless_or_mended)
{
    make_state(true);
    damage_copy_all("state", "whole");
    for (size_t at = 0; at < 100; at++)
        for (int bit = (int)(at % 4); bit < 8; bit += 4) {
            char what[32];
            const char *path = bit < 4 ? "state/own.db" : "state/peers.db";
            damage_copy_all("whole", "state");
            damage_flip(path, at, (uint8_t)(1U << bit));
            if (is_version(at)) {
                assert_non_null(strstr(feeds_open_fault(), "schema version"));
                continue;
            }
            snprintf(what, sizeof what, "%s byte %zu bit %d", path + 6, at, bit);
            assert_comes_up(what);
            assert_no_lies();
            assert_nothing_of_ours_vanished(1);
        }
}

TEST(any_damage_is_survived_and_nothing_false_is_read)
{
    static const char *const files[] = {"state/own.db", "state/peers.db", "state/own.db-wal",
                                        "state/peers.db-wal"};
    uint64_t random = support_seed();
    make_state(false);
    damage_copy_all("state", "killed");
    feed_t *feed = feeds_open();
    feed_close(&feed);
    damage_copy_all("state", "closed");
    const char *is_long = getenv("BANMESH_LONG");
    int rounds = is_long != NULL && strcmp(is_long, "1") == 0 ? 10000 : 100;
    for (int i = 0; i < rounds; i++) {
        char what[64];
        bool closed = support_random(&random) % 2 == 0;
        damage_copy_all(closed ? "closed" : "killed", "state");
        size_t file = support_random(&random) % (closed ? 2 : 4);
        damage_somehow(files[file], &random);
        snprintf(what, sizeof what, "%s, round %d", files[file], i);
        size_t size = damage_size(files[0]);
        if (strstr(feeds_open_fault(), "schema version") != NULL)
            continue;
        assert_comes_up(what);
        assert_no_lies();
        assert_nothing_of_ours_vanished(size);
    }
}

/* A floor that nobody raised would let all that lies before it be passed over, here and, of a feed
 * of ours, everywhere. */
TEST(a_floor_that_nobody_raised_costs_that_feed_and_it_is_fetched_again)
{
    make_state(true);
    run_sql("state/peers.db", "UPDATE feed SET floor = 4097 WHERE number = 2");
    feed_t *feed = feeds_open();
    assert_note(feed, "state/peers.db: feed 2 is damaged");
    assert_int_equal(feed_count(feed), 3);
    assert_null(feeds_find(feed, 3, FEEDS_T0));
    assert_int_equal(feeds_store(feed, feeds_add(feed, 3, FEEDS_T0), 1), 0);
    feeds_reopen(&feed);
    assert_string_equal(notes(feed), "");
    feed_close(&feed);
    run_sql("state/own.db", "UPDATE feed SET floor = 4097");
    feed = feeds_open();
    assert_note(feed, "state/own.db: feed 1 is damaged");
    assert_non_null(state_wreck(feed_state(feed)));
    feed_close(&feed);
}

TEST(an_epoch_that_was_not_the_feeds_is_noticed)
{
    make_state(true);
    run_sql("state/peers.db", "UPDATE feed SET epoch = epoch + 4096 WHERE number = 1");
    feed_t *feed = feeds_open();
    assert_note(feed, "state/peers.db: feed 1 is damaged");
    feed_close(&feed);
}

/* What was decided is decided again, rather than something passed over. */
TEST(a_cursor_that_nobody_moved_counts_as_none)
{
    make_state(true);
    run_sql("state/peers.db", "UPDATE cursor SET seq = seq - 8");
    feed_t *feed = feeds_open();
    assert_int_equal(feeds_find(feed, 2, FEEDS_T0)->cursor, 0);
    assert_int_equal(feed_set_cursor(feed, feeds_find(feed, 2, FEEDS_T0), 7), 0);
    feeds_reopen(&feed);
    assert_int_equal(feeds_find(feed, 2, FEEDS_T0)->cursor, 7);
    feed_close(&feed);
}

/* One bit in a row's header makes a number NULL, and moves what stands before it. */
TEST(a_row_without_a_sum_is_damage)
{
    make_state(true);
    run_sql("state/peers.db", "UPDATE batch SET sum = NULL WHERE id = (1 << 40 | 70)");
    run_sql("state/peers.db", "UPDATE feed SET sum = NULL WHERE number = 2");
    run_sql("state/peers.db", "UPDATE cursor SET sum = NULL");
    feed_t *feed = feeds_open();
    assert_note(feed, "batch 70 of epoch");
    assert_note(feed, "and some of other epochs");
    assert_holds_all(feed, feeds_find(feed, 2, FEEDS_T0), 69);
    assert_null(feeds_find(feed, 3, FEEDS_T0));
    assert_int_equal(feeds_find(feed, 2, FEEDS_T0)->cursor, 69);
    feed_close(&feed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(what_is_in_order_is_left_alone),
        in_directory(a_flipped_bit_in_a_batch_of_a_peer_is_never_read_and_mended_by_the_next_start),
        in_directory(a_flipped_bit_in_a_batch_of_ours_is_never_read_and_leaves_a_wreck),
        in_directory(a_batch_that_is_missing_is_damage),
        in_directory(a_batch_under_the_number_of_another_is_damage),
        in_directory(a_page_of_nonsense_in_peers_db_sets_it_aside),
        in_directory(a_database_cut_to_nothing_is_begun_anew_and_said),
        in_directory(the_log_of_a_database_cut_to_nothing_is_kept),
        in_directory(a_flipped_bit_in_our_log_leaves_a_wreck),
        in_directory(a_log_that_is_cut_off_leaves_a_wreck),
        in_directory(an_own_db_that_was_put_back_alone_is_noticed),
        in_directory(an_own_db_that_is_missing_is_made_anew_and_said_once),
        in_directory(a_damaged_index_of_feeds_is_damage),
        in_directory(an_own_db_that_was_not_closed_is_looked_at),
        in_directory(setting_aside_that_was_interrupted_goes_on),
        in_directory(a_wreck_is_not_replaced_by_what_was_begun_from_it),
        in_directory(only_the_newest_two_are_kept),
        in_directory(every_flipped_bit_of_a_header_is_harmless_or_mended),
        in_directory(any_damage_is_survived_and_nothing_false_is_read),
        in_directory(a_floor_that_nobody_raised_costs_that_feed_and_it_is_fetched_again),
        in_directory(an_epoch_that_was_not_the_feeds_is_noticed),
        in_directory(a_cursor_that_nobody_moved_counts_as_none),
        in_directory(a_row_without_a_sum_is_damage),
    };
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
