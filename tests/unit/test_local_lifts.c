/* local_lifts: which addresses local jails are asked to let go of, and how often. The jailer, the
 * judge and the clock are this test's. */
#include "local_lifts.h"
#include "support.h"

#include <string.h>

enum { OURS, PEER };

static index_t *all;
static local_lifts_t *lifts;
static settings_t settings;
static bool allowed;
static int64_t now_ms;

static struct {
    bool busy;
    addr_t addresses[JAILER_LIFT_MAX];
    size_t count;
    int times;
    jailer_counted_fn *done;
    void *arg;
} asked;

wall_t wall_now(void)
{
    return (wall_t){now_ms};
}

mono_t mono_now(void)
{
    return (mono_t){now_ms};
}

bool jailer_is_free(const jailer_t *self)
{
    (void)self;
    return !asked.busy;
}

bool jailer_lift_everywhere(jailer_t *self, const addr_t *addresses, size_t count,
                            jailer_counted_fn *done, void *arg)
{
    (void)self;
    assert_true(count > 0 && count <= JAILER_LIFT_MAX);
    memcpy(asked.addresses, addresses, count * sizeof *addresses);
    asked.busy = true;
    asked.count = count;
    asked.times++;
    asked.done = done;
    asked.arg = arg;
    return true;
}

const grace_entry_t *judge_allowance(judge_t *self, const addr_t *address)
{
    static const grace_entry_t entry;
    (void)self;
    (void)address;
    return allowed ? &entry : NULL;
}

static void note_done(void *arg)
{
    (void)arg;
}

static void answer(jailer_status_t status)
{
    uint8_t jails[JAILER_LIFT_MAX];
    memset(jails, 1, sizeof jails);
    asked.busy = false;
    asked.done(asked.arg, status, jails, status == JAILER_OK ? asked.count : 0);
}

static int start(void **state)
{
    (void)state;
    all = index_new();
    const index_limits_t limits = {1000000, 1000000};
    index_set_limits(all, &limits);
    for (uint8_t i = OURS; i <= PEER; i++) {
        pubkey_t key = {.bytes = {i}};
        assert_int_equal(index_origin(all, &key), i);
    }
    settings.guard.local_allow = 1;
    const local_lifts_parts_t parts = {.index = all, .ours = OURS, .done = note_done};
    lifts = local_lifts_new(&parts, &settings);
    memset(&asked, 0, sizeof asked);
    allowed = true;
    now_ms = 1795288025000;
    return 0;
}

static int end(void **state)
{
    (void)state;
    local_lifts_destroy(&lifts);
    index_destroy(&all);
    return 0;
}

#define with_lifts(name) cmocka_unit_test_setup_teardown(name, start, end)

static void push(const char *network)
{
    addr_t address = support_addr(network);
    local_lifts_push(lifts, &address);
}

static void ban(uint16_t origin, const char *text)
{
    static int64_t nid;
    uint32_t slot;
    addr_t address = support_addr(text);
    const index_entry_t entry = {.address = &address,
                                 .jail = "sshd",
                                 .nid = ++nid,
                                 .time_ms = 1795288025000,
                                 .duration_s = 3600,
                                 .origin = origin};
    assert_int_equal(index_put(all, &entry, &slot), INDEX_ADDED);
}

static bool is_asked(const char *text)
{
    addr_t address = support_addr(text);
    for (size_t i = 0; i < asked.count; i++)
        if (addr_equal(&asked.addresses[i], &address))
            return true;
    return false;
}

TEST(an_address_is_asked_for_twice_and_no_more)
{
    push("45.154.1.1");
    local_lifts_step(lifts);
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 1);
    assert_true(is_asked("45.154.1.1"));
    answer(JAILER_OK);
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 1);
    now_ms += 10000;
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 2);
    assert_true(is_asked("45.154.1.1"));
    answer(JAILER_OK);
    now_ms += 10000;
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 2);
    assert_int_equal(local_lifts_waiting(lifts), 0);
    assert_int_equal(local_lifts_done(lifts), 2);
}

TEST(of_a_network_only_our_own_bans_in_it)
{
    ban(OURS, "45.154.1.1");
    ban(PEER, "45.154.1.2");
    ban(OURS, "45.155.1.1");
    ban(OURS, "45.154.2.0/24"); /* the helper lifts no networks */
    push("45.154.0.0/16");
    while (local_lifts_step(lifts))
        continue;
    assert_int_equal(asked.count, 1);
    assert_true(is_asked("45.154.1.1"));
}

TEST(many_are_asked_for_a_hundred_at_a_time)
{
    for (int i = 0; i < 250; i++) {
        char text[ADDR_TEXT_MAX];
        snprintf(text, sizeof text, "45.154.1.%d", i);
        ban(OURS, text);
    }
    push("45.154.1.0/24");
    size_t count = 0;
    for (int i = 0; i < 10; i++) {
        local_lifts_step(lifts);
        if (!asked.busy)
            continue;
        count += asked.count;
        answer(JAILER_OK);
    }
    assert_int_equal(count, 250);
}

TEST(what_fails_is_asked_for_again_unless_it_was_taken_back)
{
    push("45.154.1.1");
    local_lifts_step(lifts);
    answer(JAILER_NO_FAIL2BAN);
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 1);
    now_ms += 10000;
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 2);
    answer(JAILER_NO_HELPER);
    allowed = false;
    now_ms += 10000;
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 2);
    assert_int_equal(local_lifts_waiting(lifts), 0);
}

TEST(switched_off_nothing_is_asked)
{
    push("45.154.1.1");
    settings.guard.local_allow = 0;
    local_lifts_set(lifts, &settings);
    push("45.154.1.2");
    local_lifts_step(lifts);
    assert_int_equal(asked.times, 0);
    assert_int_equal(local_lifts_waiting(lifts), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_lifts(an_address_is_asked_for_twice_and_no_more),
        with_lifts(of_a_network_only_our_own_bans_in_it),
        with_lifts(many_are_asked_for_a_hundred_at_a_time),
        with_lifts(what_fails_is_asked_for_again_unless_it_was_taken_back),
        with_lifts(switched_off_nothing_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
