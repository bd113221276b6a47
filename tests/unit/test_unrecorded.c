/* written: which lines of a log have no row, and for how long that counts. */
#include "feed.h"
#include "shared_line.h"
#include "support.h"
#include "tables.h"
#include "unrecorded.h"

#include <stdio.h>

#define LOG        "shared.log"
#define STAMP_MS   1795288025000
#define BANTIME_MS 100000

static const wall_t starts = {STAMP_MS + 1000};
static const pubkey_t self_key = {{1}};

typedef struct {
    feed_t *feed;
    held_t *held;
} open_t;

static open_t open_held(void)
{
    fault_t fault;
    open_t open = {.feed = feed_open(".", &self_key, &tables_of_node, &fault)};
    assert_non_null(open.feed);
    open.held = held_new(feed_peers_db(open.feed));
    return open;
}

static void close_held(open_t *open)
{
    held_destroy(&open->held);
    feed_close(&open->feed);
}

static void add_line(int64_t nid, int64_t stamp_ms)
{
    char text[SHARED_LINE_MAX];
    addr_t address = support_addr("45.154.244.193");
    shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, nid};
    size_t size = shared_line_format(&line, (wall_t){stamp_ms}, text);
    FILE *file = fopen(LOG, "a");
    assert_int_equal(fwrite(text, 1, size, file), size);
    fclose(file);
}

static void add_row(open_t *open, int64_t nid, int64_t stamp_ms)
{
    held_row_t row = {held_next_id(open->held), support_addr("45.154.244.193"),
                      stamp_ms + BANTIME_MS, nid};
    assert_int_equal(held_put(open->held, &row, 1), 0);
}

static int64_t take(unrecorded_t *written, int64_t nid)
{
    return unrecorded_take(written, nid, BANTIME_MS, (wall_t){STAMP_MS + 1000});
}

static size_t lost_rows(open_t *open, int64_t *first)
{
    size_t count;
    unrecorded_t *written = unrecorded_new(LOG, open->held, BANTIME_MS, starts);
    const int64_t *ids = unrecorded_lost(written, &count);
    *first = count > 0 ? ids[count - 1] : 0;
    assert_int_equal(unrecorded_newest(written).ms, STAMP_MS + 90000);
    unrecorded_destroy(&written);
    return count;
}

TEST(a_row_of_the_last_minute_without_its_line_is_told)
{
    open_t open = open_held();
    int64_t first;
    for (int64_t nid = 1; nid <= 90; nid++) {
        add_row(&open, nid, STAMP_MS + nid * 1000);
        if (nid % 10 == 0)
            add_line(nid, STAMP_MS + nid * 1000);
    }
    assert_int_equal(lost_rows(&open, &first), 59 - 5);
    assert_int_equal(first, 31);
    close_held(&open);
}

TEST(a_log_that_is_gone_has_none_of_the_lines)
{
    open_t open = open_held();
    size_t count;
    for (int64_t nid = 1; nid <= 3; nid++)
        add_row(&open, nid, STAMP_MS + nid);
    unrecorded_t *written = unrecorded_new("nowhere.log", open.held, BANTIME_MS, starts);
    unrecorded_lost(written, &count);
    assert_int_equal(count, 3);
    unrecorded_destroy(&written);
    written = unrecorded_new(".", open.held, BANTIME_MS, starts); /* cannot be read */
    unrecorded_lost(written, &count);
    assert_int_equal(count, 0);
    unrecorded_destroy(&written);
    close_held(&open);
}

TEST(a_line_with_its_row_is_forgotten_and_one_without_is_told_once)
{
    open_t open = open_held();
    for (int64_t nid = 1; nid <= 9; nid++)
        add_line(nid, STAMP_MS + nid);
    for (int64_t nid = 1; nid <= 6; nid++)
        add_row(&open, nid, STAMP_MS + nid);
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 3);
    assert_int_equal(take(written, 6), 0);
    assert_int_equal(take(written, 10), 0);
    assert_int_equal(take(written, 7), STAMP_MS + 7);
    assert_int_equal(take(written, 7), 0);
    unrecorded_commit(written);
    assert_int_equal(take(written, 7), 0);
    assert_int_equal(take(written, 8), STAMP_MS + 8);
    assert_int_equal(take(written, 9), STAMP_MS + 9);
    unrecorded_commit(written);
    assert_int_equal(unrecorded_count(written), 0);
    assert_int_equal(take(written, 9), 0);
    unrecorded_destroy(&written);
    assert_null(written);
    close_held(&open);
}

TEST(what_was_taken_in_vain_may_be_taken_again)
{
    open_t open = open_held();
    add_line(1, STAMP_MS);
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(take(written, 1), STAMP_MS);
    unrecorded_take_back(written);
    assert_int_equal(take(written, 1), STAMP_MS);
    unrecorded_commit(written);
    unrecorded_take_back(written);
    assert_int_equal(take(written, 1), 0);
    unrecorded_destroy(&written);
    close_held(&open);
}

TEST(a_line_counts_only_as_long_as_fail2ban_holds_the_address_because_of_it)
{
    static const struct {
        int64_t after_ms;
        int64_t told;
    } cases[] = {{-1, 0}, {0, STAMP_MS}, {BANTIME_MS - 1, STAMP_MS}, {BANTIME_MS, 0}};
    open_t open = open_held();
    add_line(1, STAMP_MS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
        wall_t asked = {STAMP_MS + cases[i].after_ms};
        assert_int_equal(unrecorded_take(written, 1, BANTIME_MS, asked), cases[i].told);
        unrecorded_destroy(&written);
    }
    close_held(&open);
}

/* The row of a ban's first hold says nothing of its second line. */
TEST(a_line_written_again_when_its_first_hold_had_ended_is_one_of_its_own)
{
    open_t open = open_held();
    add_line(1, STAMP_MS - BANTIME_MS);
    add_row(&open, 1, STAMP_MS - BANTIME_MS);
    add_line(1, STAMP_MS);
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 1);
    assert_int_equal(take(written, 1), STAMP_MS);
    unrecorded_destroy(&written);
    add_row(&open, 1, STAMP_MS);
    written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 0);
    unrecorded_destroy(&written);
    close_held(&open);
}

TEST(a_line_that_stands_twice_is_one_ban)
{
    open_t open = open_held();
    add_line(1, STAMP_MS);
    add_line(1, STAMP_MS + 10);
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(take(written, 1), STAMP_MS + 10);
    assert_int_equal(take(written, 1), 0);
    unrecorded_commit(written);
    assert_int_equal(unrecorded_count(written), 0);
    unrecorded_destroy(&written);
    close_held(&open);
}

/* The jail was told to let go: the ban may be told again, and gets a line of its own. */
TEST(a_line_of_what_was_let_go_of_lacks_nothing)
{
    size_t lost;
    open_t open = open_held();
    add_line(7, STAMP_MS);
    add_line(8, STAMP_MS);
    add_row(&open, 7, STAMP_MS);
    add_row(&open, 8, STAMP_MS);
    assert_int_equal(held_let_go(open.held, 1, starts), 0);
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 0);
    assert_int_equal(take(written, 7), 0);
    unrecorded_lost(written, &lost);
    assert_int_equal(lost, 0);
    unrecorded_destroy(&written);
    close_held(&open);
}

/* What was let go of is not known for ever, and no daemon was killed so long ago. */
TEST(a_line_from_long_ago_lacks_nothing)
{
    open_t open = open_held();
    add_line(7, STAMP_MS - HELD_GONE_MS);
    add_line(8, STAMP_MS);
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 1);
    unrecorded_destroy(&written);
    close_held(&open);
}

TEST(without_a_log_there_is_nothing)
{
    open_t open = open_held();
    unrecorded_t *written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 0);
    assert_int_equal(take(written, 1), 0);
    unrecorded_commit(written);
    unrecorded_destroy(&written);
    support_make_directory(LOG);
    written = unrecorded_new(LOG, open.held, BANTIME_MS, starts);
    assert_int_equal(unrecorded_count(written), 0);
    unrecorded_destroy(&written);
    close_held(&open);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_row_of_the_last_minute_without_its_line_is_told),
        in_directory(a_log_that_is_gone_has_none_of_the_lines),
        in_directory(a_line_with_its_row_is_forgotten_and_one_without_is_told_once),
        in_directory(what_was_taken_in_vain_may_be_taken_again),
        in_directory(a_line_counts_only_as_long_as_fail2ban_holds_the_address_because_of_it),
        in_directory(a_line_written_again_when_its_first_hold_had_ended_is_one_of_its_own),
        in_directory(a_line_that_stands_twice_is_one_ban),
        in_directory(a_line_of_what_was_let_go_of_lacks_nothing),
        in_directory(a_line_from_long_ago_lacks_nothing),
        in_directory(without_a_log_there_is_nothing),
    };
    return cmocka_run_group_tests_name("written", tests, NULL, NULL);
}
