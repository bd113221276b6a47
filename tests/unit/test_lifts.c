/* lifts: what is asked for, in which order, and what an answer comes to. jailer is this test's. */
#include "lifts.h"
#include "tables.h"
#include "world.h"

#include <stdio.h>

#define BANTIME_S 100000

static index_t *all;
static memo_t *memo;
static sink_t *sink;
static lifts_t *lifts;

/* The request that jailer has. */
static struct {
    bool busy;
    addr_t addresses[JAILER_LIFT_MAX];
    size_t count;
    jailer_lifted_fn *done;
    void *arg;
} asked;

static uint32_t again_s;
static int answers;

bool jailer_is_free(const jailer_t *self)
{
    (void)self;
    return !asked.busy;
}

bool jailer_lift(jailer_t *self, const addr_t *addresses, size_t count, jailer_lifted_fn *done,
                 void *arg)
{
    (void)self;
    assert_false(asked.busy);
    memcpy(asked.addresses, addresses, count * sizeof *addresses);
    asked.busy = true;
    asked.count = count;
    asked.done = done;
    asked.arg = arg;
    return true;
}

static void answer(jailer_status_t status, bool held)
{
    bool all_held[JAILER_LIFT_MAX];
    for (size_t i = 0; i < asked.count; i++)
        all_held[i] = held;
    asked.busy = false;
    asked.done(asked.arg, status, all_held, status == JAILER_OK ? asked.count : 0);
}

static void note_answer(void *arg, uint32_t slot, uint32_t again)
{
    (void)arg;
    (void)slot;
    again_s = again;
    answers++;
}

static void note_done(void *arg)
{
    (void)arg;
}

static int start(void **state)
{
    static char log[] = "shared.log";
    static char fail2ban[] = "";
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    world.settings.shared.log = log;
    world.settings.shared.fail2ban = fail2ban;
    world.settings.shared.bantime_s = BANTIME_S;
    world.settings.shared.pace = 0;
    all = index_new();
    memo = memo_new(world.feed, all, &fault);
    sink = sink_new(world.feed, all, memo, &world.settings, &fault);
    const lifts_parts_t parts = {.index = all,
                                 .sink = sink,
                                 .answered = note_answer,
                                 .done = note_done};
    lifts = lifts_new(&parts, &world.settings);
    asked.busy = false;
    answers = 0;
    return sink != NULL ? 0 : -1;
}

static int end(void **state)
{
    lifts_destroy(&lifts);
    sink_destroy(&sink);
    memo_destroy(&memo);
    index_destroy(&all);
    return world_end(state);
}

#define with_lifts(name) cmocka_unit_test_setup_teardown(name, start, end)

/* A slot that was told some seconds ago. */
static uint32_t told(uint32_t number, int64_t ago_s)
{
    addr_t address = support_addr("45.154.0.0");
    address.bytes[2] = (uint8_t)(number >> 8);
    address.bytes[3] = (uint8_t)number;
    uint32_t slot = index_make(all, &address);
    index_slot(all, slot)->held_until_s = (uint32_t)(wall_now().ms / MS_PER_S - ago_s + BANTIME_S);
    return slot;
}

static uint16_t flags(uint32_t slot)
{
    return index_slot(all, slot)->flags;
}

TEST(what_was_lifted_goes_before_what_has_ended)
{
    uint32_t ended = told(1, 1000);
    uint32_t lifted = told(2, 1000);
    lifts_push(lifts, ended, false);
    lifts_push(lifts, ended, false);
    lifts_push(lifts, lifted, true);
    assert_int_equal(lifts_waiting(lifts), 2);
    lifts_step(lifts);
    assert_int_equal(asked.count, 2);
    assert_true(addr_equal(&asked.addresses[0], &index_slot(all, lifted)->address));
    assert_int_equal(flags(ended), INDEX_ASKED);
    answer(JAILER_OK, true);
    assert_int_equal(answers, 2);
    assert_int_equal(again_s, 0);
    assert_int_equal(flags(ended), 0);
    assert_int_equal(index_slot(all, ended)->held_until_s, 0);
    assert_int_equal(lifts_waiting(lifts), 0);
    assert_int_equal(lifts_done(lifts), 2);
}

TEST(an_address_whose_line_may_be_unread_is_asked_for_again)
{
    uint32_t slot = told(1, 5);
    lifts_push(lifts, slot, true);
    lifts_step(lifts);
    answer(JAILER_OK, false);
    assert_true(index_slot(all, slot)->held_until_s != 0);
    assert_in_range(again_s, wall_now().ms / MS_PER_S, wall_now().ms / MS_PER_S + 5);
    index_slot(all, slot)->held_until_s -= 1000; /* as if that had been long ago */
    lifts_push(lifts, slot, true);
    lifts_step(lifts);
    answer(JAILER_OK, false);
    assert_int_equal(index_slot(all, slot)->held_until_s, 0);
    assert_int_equal(again_s, 0);
    assert_int_equal(lifts_done(lifts), 0);
}

TEST(one_that_was_let_go_at_once_is_looked_for_once_more)
{
    uint32_t slot = told(1, 5);
    lifts_push(lifts, slot, true);
    lifts_step(lifts);
    answer(JAILER_OK, true);
    assert_int_equal(flags(slot), INDEX_RECHECK);
    assert_int_equal(index_slot(all, slot)->held_until_s, 0);
    assert_in_range(again_s, wall_now().ms / MS_PER_S + 50, wall_now().ms / MS_PER_S + 60);
    lifts_push(lifts, slot, true);
    lifts_step(lifts);
    answer(JAILER_OK, false);
    assert_int_equal(flags(slot), 0);
    assert_int_equal(again_s, 0);
}

TEST(what_could_not_be_asked_waits)
{
    uint32_t slot = told(1, 1000);
    lifts_push(lifts, slot, false);
    lifts_step(lifts);
    answer(JAILER_NO_FAIL2BAN, false);
    assert_int_equal(flags(slot), INDEX_LET_GO);
    assert_int_equal(lifts_waiting(lifts), 1);
    lifts_step(lifts); /* not so soon */
    assert_false(asked.busy);
}

TEST(what_is_to_be_held_again_is_not_asked_for)
{
    uint32_t dropped = told(1, 1000);
    uint32_t other = told(2, 1000);
    lifts_push(lifts, dropped, true);
    lifts_push(lifts, other, true);
    lifts_drop(lifts, dropped);
    assert_int_equal(lifts_waiting(lifts), 1);
    lifts_step(lifts);
    assert_int_equal(asked.count, 1);
    assert_true(addr_equal(&asked.addresses[0], &index_slot(all, other)->address));
}

TEST(no_more_than_a_hundred_go_into_a_request)
{
    for (uint32_t i = 0; i < 250; i++)
        lifts_push(lifts, told(i, 1000), false);
    size_t left = 250;
    while (left > 0) {
        lifts_step(lifts);
        assert_int_equal(asked.count, left < 100 ? left : 100);
        left -= asked.count;
        answer(JAILER_OK, true);
    }
    assert_int_equal(lifts_done(lifts), 250);
}

TEST(what_is_pushed_and_dropped_for_ever_is_asked_for_once)
{
    uint32_t stays = told(0, 1000);
    lifts_push(lifts, stays, false);
    for (uint32_t i = 0; i < 50000; i++) {
        uint32_t slot = told(1 + i % 7, 1000);
        lifts_push(lifts, slot, i % 2 == 0);
        lifts_drop(lifts, slot);
    }
    assert_int_equal(lifts_waiting(lifts), 1);
    lifts_step(lifts);
    assert_int_equal(asked.count, 1);
    assert_true(addr_equal(&asked.addresses[0], &index_slot(all, stays)->address));
}

int main(void)
{
    world_tables = &tables_of_node;
    static const struct CMUnitTest tests[] = {
        with_lifts(what_was_lifted_goes_before_what_has_ended),
        with_lifts(an_address_whose_line_may_be_unread_is_asked_for_again),
        with_lifts(one_that_was_let_go_at_once_is_looked_for_once_more),
        with_lifts(what_could_not_be_asked_waits),
        with_lifts(what_is_to_be_held_again_is_not_asked_for),
        with_lifts(no_more_than_a_hundred_go_into_a_request),
        with_lifts(what_is_pushed_and_dropped_for_ever_is_asked_for_once),
    };
    return cmocka_run_group_tests_name("lifts", tests, NULL, NULL);
}
