/* sink: what is told becomes true all at once, or not at all. */
#include "sink.h"
#include "tables.h"
#include "world.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

#define BANTIME_S 600

static index_t *index_of_all;
static memo_t *memo;
static sink_t *sink;
static wall_t now;

static int open_sink(void)
{
    fault_t fault;
    index_of_all = index_new();
    memo = memo_new(world.feed, index_of_all, &fault);
    sink = sink_new(world.feed, index_of_all, memo, &world.settings, &fault);
    return sink != NULL ? 0 : -1;
}

static void close_sink(void)
{
    sink_destroy(&sink);
    memo_destroy(&memo);
    index_destroy(&index_of_all);
}

static int start(void **state)
{
    static char log[] = "shared.log";
    static char fail2ban[] = "";
    if (world_start(state) == -1)
        return -1;
    world.settings.shared.log = log;
    world.settings.shared.fail2ban = fail2ban;
    world.settings.shared.bantime_s = BANTIME_S;
    now = wall_now();
    return open_sink();
}

static int end(void **state)
{
    close_sink();
    return world_end(state);
}

#define with_sink(name) cmocka_unit_test_setup_teardown(name, start, end)

static uint32_t slot_of(uint8_t number)
{
    addr_t address = support_addr("45.154.244.7");
    address.bytes[3] = number;
    return index_make(index_of_all, &address);
}

static uint32_t held_until(uint8_t number)
{
    return index_slot(index_of_all, slot_of(number))->held_until_s;
}

static void tell(uint8_t number)
{
    const sink_ban_t ban = {"mx1", "sshd", number, now.ms, now.ms + MS_PER_S * BANTIME_S};
    sink_tell(sink, slot_of(number), &ban, now);
}

static size_t lines(void)
{
    size_t count = 0;
    FILE *file = fopen("shared.log", "re");
    for (int c = 0; file != NULL && c != EOF; count += c == '\n')
        c = fgetc(file);
    if (file != NULL)
        fclose(file);
    return count;
}

static void finish(void)
{
    fault_t fault;
    assert_int_equal(sink_finish(sink, NULL, NULL, &fault), 0);
}

TEST(several_batches_of_a_feed_are_one_move)
{
    world_store(MX1, 3);
    world_store(MX2, 1);
    tell(1);
    sink_move(sink, world_feed(MX1), 1);
    sink_move(sink, world_feed(MX2), 1);
    tell(2);
    sink_move(sink, world_feed(MX1), 2);
    assert_true(sink_takes(sink, world_feed(MX1), 3));
    assert_false(sink_takes(sink, world_feed(MX1), 2));
    assert_true(sink_takes(sink, world_feed(MX2), 2));
    assert_int_equal(world_feed(MX1)->cursor, 0);
    finish();
    assert_int_equal(world_feed(MX1)->cursor, 2);
    assert_int_equal(world_feed(MX2)->cursor, 1);
    assert_true(sink_takes(sink, world_feed(MX1), 3));
    assert_int_equal(lines(), 2);
    assert_int_equal(sink_held(sink), 2);
}

static void note_untold(void *arg, uint32_t slot)
{
    uint32_t **at = arg;
    *(*at)++ = slot;
}

TEST(what_is_taken_back_was_never_told)
{
    uint32_t untold[2];
    uint32_t *at = untold;
    world_store(MX1, 2);
    tell(1);
    sink_move(sink, world_feed(MX1), 1);
    finish();
    tell(2);
    tell(1);
    sink_move(sink, world_feed(MX1), 2);
    assert_true(held_until(2) > 0);
    sink_take_back(sink, note_untold, &at);
    assert_int_equal(at - untold, 2);
    assert_int_equal(untold[1], slot_of(2));
    assert_false(sink_is_begun(sink));
    assert_true(held_until(1) > 0);
    assert_int_equal(held_until(2), 0);
    assert_int_equal(sink_held(sink), 1);
    assert_true(sink_takes(sink, world_feed(MX1), 2));
    assert_int_equal(lines(), 1);
    tell(2);
    sink_move(sink, world_feed(MX1), 2);
    finish();
    assert_int_equal(lines(), 2);
    assert_int_equal(world_feed(MX1)->cursor, 2);
}

TEST(when_the_log_says_no_all_but_the_lines_is_done)
{
    fault_t fault;
    uint32_t untold;
    uint32_t *at = &untold;
    world_store(MX1, 1);
    assert_int_equal(mkdir("shared.log", 0700), 0);
    tell(1);
    sink_move(sink, world_feed(MX1), 1);
    assert_int_equal(sink_finish(sink, note_untold, &at, &fault), -1);
    assert_non_null(strstr(fault.text, "shared.log"));
    assert_int_equal(untold, slot_of(1));
    assert_int_equal(held_until(1), 0);
    assert_int_equal(world_feed(MX1)->cursor, 1);
    assert_false(sink_is_begun(sink));
}

TEST(the_next_run_knows_the_last_line_of_each_address)
{
    tell(1);
    tell(2);
    finish();
    now.ms += 100 * MS_PER_S; /* as if it had waited for so long */
    tell(1);
    finish();
    sink_note_free(sink, slot_of(2));
    assert_int_equal(held_until(2), 0);
    finish();
    uint32_t until_s = held_until(1);
    close_sink();
    assert_int_equal(open_sink(), 0);
    assert_int_equal(held_until(1), until_s);
    assert_int_equal(held_until(2), 0);
    assert_int_equal(sink_held(sink), 1);
}

int main(void)
{
    world_tables = &tables_of_node;
    static const struct CMUnitTest tests[] = {
        with_sink(several_batches_of_a_feed_are_one_move),
        with_sink(what_is_taken_back_was_never_told),
        with_sink(when_the_log_says_no_all_but_the_lines_is_done),
        with_sink(the_next_run_knows_the_last_line_of_each_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
