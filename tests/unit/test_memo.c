/* memo: what was kept comes back, what is of no use goes. */
#include "feed.h"
#include "memo.h"
#include "support.h"
#include "tables.h"

#include <stdio.h>

#define NOW_MS 1795288025123
#define MANY   5000

static const pubkey_t self_key = {{1}};
static const pubkey_t peer_key = {{2}};

typedef struct {
    feed_t *feed;
    index_t *index;
    memo_t *memo;
} open_t;

static open_t open_memo(void)
{
    fault_t fault;
    open_t open = {.feed = feed_open(".", &self_key, &tables_of_node, &fault),
                   .index = index_new()};
    assert_non_null(open.feed);
    open.memo = memo_new(open.feed, open.index, &fault);
    assert_non_null(open.memo);
    return open;
}

static void close_memo(open_t *open)
{
    memo_destroy(&open->memo);
    index_destroy(&open->index);
    feed_close(&open->feed);
}

static void commit(const open_t *open)
{
    db_t *db = feed_peers_db(open->feed);
    assert_int_equal(db_begin(db), 0);
    assert_int_equal(memo_write(open->memo), 0);
    assert_int_equal(db_commit(db), 0);
    memo_written(open->memo);
    assert_false(memo_is_dirty(open->memo));
}

static memo_ban_t numbered(int64_t n)
{
    return (memo_ban_t){n * 0x1234567, n % 2 == 0 ? NOW_MS : 0, n % 2 == 0 ? 0 : NOW_MS - n,
                        NOW_MS + n};
}

static void assert_ban(const open_t *open, int64_t n, bool kept)
{
    memo_ban_t ban = numbered(n);
    const memo_ban_t *found = memo_ban(open->memo, ban.nid);
    if (!kept) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_int_equal(found->lifted_ms, ban.lifted_ms);
    assert_int_equal(found->begin_ms, ban.begin_ms);
    assert_int_equal(found->until_ms, ban.until_ms);
}

TEST(bans_come_back_until_they_are_of_no_use)
{
    open_t open = open_memo();
    for (int64_t n = 1; n <= MANY; n++) {
        memo_ban_t ban = numbered(n);
        memo_set_ban(open.memo, &ban);
    }
    assert_true(memo_is_dirty(open.memo));
    commit(&open);
    for (int round = 0; round < 2; round++) {
        for (int64_t n = 1; n <= MANY + 10; n++)
            assert_ban(&open, n, n <= MANY);
        close_memo(&open);
        open = open_memo();
    }
    assert_int_equal(memo_sweep(open.memo, (wall_t){NOW_MS + 3000}), 0);
    for (int round = 0; round < 2; round++) {
        for (int64_t n = 1; n <= MANY; n++)
            assert_ban(&open, n, n > 3000);
        close_memo(&open);
        open = open_memo();
    }
    close_memo(&open);
}

TEST(what_is_not_committed_stays_to_be_written)
{
    open_t open = open_memo();
    memo_ban_t ban = {77, NOW_MS, 0, NOW_MS + 1000};
    memo_set_ban(open.memo, &ban);
    assert_int_equal(db_begin(feed_peers_db(open.feed)), 0);
    assert_int_equal(memo_write(open.memo), 0);
    db_rollback(feed_peers_db(open.feed));
    assert_true(memo_is_dirty(open.memo));
    commit(&open);
    close_memo(&open);
    open = open_memo();
    assert_non_null(memo_ban(open.memo, 77));
    close_memo(&open);
}

TEST(begins_of_a_wrong_clock_are_forgotten_and_lifts_are_not)
{
    open_t open = open_memo();
    memo_ban_t both = {5, NOW_MS, NOW_MS - 1, NOW_MS + 1000};
    memo_set_ban(open.memo, &both);
    memo_forget_begins(open.memo);
    commit(&open);
    close_memo(&open);
    open = open_memo();
    assert_int_equal(memo_ban(open.memo, 5)->begin_ms, 0);
    assert_int_equal(memo_ban(open.memo, 5)->lifted_ms, NOW_MS);
    close_memo(&open);
}

TEST(an_origin_is_found_by_its_name)
{
    open_t open = open_memo();
    index_origin(open.index, &self_key);
    uint16_t number = index_origin(open.index, &peer_key);
    memo_origin_t *origin = memo_change_origin(open.memo, number);
    snprintf(origin->name, sizeof origin->name, "mx2");
    origin->undone_ms = NOW_MS;
    memo_rate(open.memo, number)->level_milli = 4200;
    commit(&open);
    memo_rate(open.memo, number)->level_milli = 4300;
    assert_false(memo_is_dirty(open.memo));
    memo_keep_rates(open.memo);
    commit(&open);
    close_memo(&open);
    open = open_memo();
    assert_int_equal(memo_find_origin(open.memo, "mx3"), INDEX_NONE);
    uint32_t found = memo_find_origin(open.memo, "mx2");
    assert_true(pubkey_equal(&index_origin_at(open.index, (uint16_t)found)->key, &peer_key));
    assert_int_equal(memo_origin(open.memo, (uint16_t)found)->undone_ms, NOW_MS);
    assert_int_equal(memo_origin(open.memo, (uint16_t)found)->rate.level_milli, 4300);
    close_memo(&open);
}

TEST(a_mark_stays_until_it_is_cleared)
{
    open_t open = open_memo();
    uint64_t place;
    const feed_id_t id = {.origin = peer_key, .epoch = 9};
    const feed_ref_t *feed = feed_add(open.feed, &id);
    assert_false(memo_mark(open.memo, feed, &place));
    memo_set_mark(open.memo, feed, 12345);
    commit(&open);
    close_memo(&open);
    open = open_memo();
    feed = feed_find(open.feed, &id);
    assert_int_equal(memo_mark_count(open.memo), 1);
    assert_true(memo_mark(open.memo, feed, &place));
    assert_int_equal(place, 12345);
    memo_clear_mark(open.memo, feed);
    assert_int_equal(memo_mark_count(open.memo), 0);
    commit(&open);
    close_memo(&open);
    open = open_memo();
    assert_int_equal(memo_mark_count(open.memo), 0);
    close_memo(&open);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(bans_come_back_until_they_are_of_no_use),
        in_directory(what_is_not_committed_stays_to_be_written),
        in_directory(begins_of_a_wrong_clock_are_forgotten_and_lifts_are_not),
        in_directory(an_origin_is_found_by_its_name),
        in_directory(a_mark_stays_until_it_is_cleared),
    };
    return cmocka_run_group_tests_name("memo", tests, NULL, NULL);
}
