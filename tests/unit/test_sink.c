/* sink: what is decided becomes true all at once, or not at all. */
#include "sink.h"
#include "tables.h"
#include "world.h"

#include <stdio.h>
#include <string.h>

#define BANTIME_S 600

static sink_t *sink;
static guard_verdict_t applied = {.outcome = GUARD_APPLY};

static int start(void **state)
{
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    world.settings.shared.log = (char[]){"shared.log"};
    world.settings.shared.fail2ban = (char[]){""};
    world.settings.shared.bantime_s = BANTIME_S;
    sink = sink_new(world.feed, &world.settings, &fault);
    return sink != NULL ? 0 : -1;
}

static int end(void **state)
{
    sink_destroy(&sink);
    return world_end(state);
}

#define with_sink(name) cmocka_unit_test_setup_teardown(name, start, end)

/* As the ban of batch seq of MX1 is let through. */
static addr_t decide(uint64_t seq)
{
    pending_row_t row = {.nid = (int64_t)seq, .ban = support_ban_event("45.154.244.7").ban};
    wall_t now = wall_now();
    row.ban.address.bytes[3] = (uint8_t)seq;
    row.ban.time_ms = now.ms;
    sink_count(sink, &applied);
    sink_write(sink, &row, "mx1", now.ms + MS_PER_S * BANTIME_S, now);
    sink_move(sink, world_feed(MX1), seq);
    return row.ban.address;
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

TEST(several_batches_of_a_feed_are_one_move)
{
    fault_t fault;
    world_store(MX1, 3);
    world_store(MX2, 1);
    decide(1);
    sink_move(sink, world_feed(MX2), 1);
    decide(2);
    assert_true(sink_takes(sink, world_feed(MX1), 3));
    assert_false(sink_takes(sink, world_feed(MX1), 2));
    assert_true(sink_takes(sink, world_feed(MX2), 2));
    assert_int_equal(world_feed(MX1)->cursor, 0);
    assert_int_equal(sink_finish(sink, &fault), 0);
    assert_int_equal(world_feed(MX1)->cursor, 2);
    assert_int_equal(world_feed(MX2)->cursor, 1);
    assert_true(sink_takes(sink, world_feed(MX1), 3));
    assert_int_equal(lines(), 2);
}

TEST(what_is_taken_back_was_never_decided)
{
    fault_t fault;
    world_store(MX1, 2);
    addr_t first = decide(1);
    assert_int_equal(sink_finish(sink, &fault), 0);
    int64_t held_ms = sink_held_until(sink, &first);
    addr_t second = decide(2);
    assert_true(sink_held_until(sink, &second) > 0);
    sink_take_back(sink);
    assert_false(sink_is_begun(sink));
    assert_int_equal(sink_held_until(sink, &first), held_ms);
    assert_int_equal(sink_held_until(sink, &second), 0);
    assert_true(sink_takes(sink, world_feed(MX1), 2));
    assert_int_equal(sink_finish(sink, &fault), 0);
    assert_int_equal(lines(), 1);
    assert_int_equal(world_feed(MX1)->cursor, 1);
    assert_int_equal(sink_outcome(sink, GUARD_APPLY), 1);
    decide(2);
    assert_int_equal(sink_finish(sink, &fault), 0);
    assert_int_equal(lines(), 2);
    assert_int_equal(world_feed(MX1)->cursor, 2);
}

int main(void)
{
    world_tables = &tables_of_node;
    static const struct CMUnitTest tests[] = {
        with_sink(several_batches_of_a_feed_are_one_move),
        with_sink(what_is_taken_back_was_never_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
