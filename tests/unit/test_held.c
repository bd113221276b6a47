/* held: rows in any number come back in order. */
#include "feed.h"
#include "held.h"
#include "support.h"
#include "tables.h"

#define NOW_MS 1795288025123

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

/* Row n of the test: of both families, networks among them. */
static held_row_t numbered(size_t n)
{
    uint8_t bytes[16] = {0x20, 1, (uint8_t)(n >> 8), (uint8_t)n};
    held_row_t row = {.until_ms = NOW_MS + (int64_t)n, .nid = INT64_MAX - (int64_t)n};
    static const uint32_t prefixes[] = {32, 128, 64};
    addr_from_bytes(bytes, n % 3 == 0 ? 4 : 16, prefixes[n % 3], &row.address);
    return row;
}

static void put(open_t *open, size_t first, size_t count)
{
    held_row_t rows[200];
    for (size_t i = 0; i < count; i++) {
        rows[i] = numbered(first + i);
        rows[i].id = held_next_id(open->held);
    }
    assert_int_equal(held_put(open->held, rows, count), 0);
}

static void see(void *arg, const held_row_t *found)
{
    size_t *next = arg;
    held_row_t row = numbered(*next);
    assert_int_equal(found->id, *next + 1);
    assert_int_equal(found->nid, row.nid);
    assert_true(addr_equal(&found->address, &row.address));
    assert_int_equal(found->until_ms, row.until_ms);
    ++*next;
}

TEST(rows_in_groups_of_any_size_come_back_in_order)
{
    open_t open = open_held();
    size_t total = 0;
    for (size_t count = 0; count < 100; count++) {
        put(&open, total, count);
        total += count;
    }
    close_held(&open);
    open = open_held();
    size_t next = 0;
    assert_int_equal(held_each(open.held, see, &next), 0);
    assert_int_equal(next, total);
    close_held(&open);
}

static void see_newest(void *arg, int64_t id, int64_t nid, int64_t until_ms)
{
    size_t *next = arg;
    held_row_t row = numbered(--*next);
    assert_int_equal(id, *next + 1);
    assert_int_equal(nid, row.nid);
    assert_int_equal(until_ms, row.until_ms);
}

TEST(the_newest_rows_come_newest_first)
{
    open_t open = open_held();
    put(&open, 0, 150);
    size_t next = 150;
    assert_int_equal(held_newest(open.held, 40, see_newest, &next), 0);
    assert_int_equal(next, 110);
    assert_int_equal(held_newest(open.held, 0, see_newest, &next), 0);
    assert_int_equal(next, 110);
    close_held(&open);
}

TEST(one_row_is_removed)
{
    open_t open = open_held();
    put(&open, 0, 3);
    assert_int_equal(held_remove(open.held, 3), 0);
    size_t next = 2;
    assert_int_equal(held_newest(open.held, 3, see_newest, &next), 0);
    assert_int_equal(next, 0);
    close_held(&open);
}

TEST(what_was_let_go_of_is_known_for_a_while)
{
    open_t open = open_held();
    size_t next = 3;
    put(&open, 0, 3);
    addr_t let_go = numbered(1).address;
    addr_t held = numbered(2).address;
    assert_false(held_was_let_go(open.held, &let_go));
    assert_int_equal(held_let_go(open.held, 2, (wall_t){NOW_MS}), 0);
    assert_true(held_was_let_go(open.held, &let_go));
    assert_false(held_was_let_go(open.held, &held));
    assert_int_equal(held_newest(open.held, 1, see_newest, &next), 0);
    assert_int_equal(held_drop_ended(open.held, (wall_t){NOW_MS - 1 + HELD_GONE_MS}), 0);
    assert_true(held_was_let_go(open.held, &let_go));
    assert_int_equal(held_drop_ended(open.held, (wall_t){NOW_MS + HELD_GONE_MS}), 0);
    assert_false(held_was_let_go(open.held, &let_go));
    close_held(&open);
}

TEST(ids_begin_anew_before_they_are_too_large)
{
    open_t open = open_held();
    size_t next = 0;
    put(&open, 0, 3);
    assert_int_equal(db_step(feed_peers_db(open.feed),
                             db_prepare(feed_peers_db(open.feed),
                                        "UPDATE held SET id = id + 2147483647")),
                     0);
    close_held(&open);
    open = open_held();
    assert_int_equal(held_each(open.held, see, &next), 0);
    assert_int_equal(next, 3);
    assert_int_equal(held_next_id(open.held), 4);
    close_held(&open);
}

TEST(the_last_holder_is_remembered)
{
    open_t open = open_held();
    fail2ban_id_t one = {1, 2, INT64_MAX};
    fail2ban_id_t found;
    assert_int_equal(held_holder(open.held, &found), 0);
    assert_int_equal(found.inode, 0);
    assert_int_equal(held_set_holder(open.held, &one), 0);
    one.device = -7;
    assert_int_equal(held_set_holder(open.held, &one), 0);
    close_held(&open);
    open = open_held();
    assert_int_equal(held_holder(open.held, &found), 0);
    assert_true(fail2ban_id_equal(&found, &one));
    close_held(&open);
}

TEST(what_has_ended_is_forgotten)
{
    open_t open = open_held();
    put(&open, 0, 150);
    assert_int_equal(held_drop_ended(open.held, (wall_t){NOW_MS + 99}), 0);
    size_t next = 100;
    assert_int_equal(held_each(open.held, see, &next), 0);
    assert_int_equal(next, 150);
    close_held(&open);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(rows_in_groups_of_any_size_come_back_in_order),
        in_directory(the_newest_rows_come_newest_first),
        in_directory(one_row_is_removed),
        in_directory(what_was_let_go_of_is_known_for_a_while),
        in_directory(ids_begin_anew_before_they_are_too_large),
        in_directory(the_last_holder_is_remembered),
        in_directory(what_has_ended_is_forgotten),
    };
    return cmocka_run_group_tests_name("held", tests, NULL, NULL);
}
