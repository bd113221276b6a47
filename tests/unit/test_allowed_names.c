/* allowed_names: what is announced of a name, and when. The clock, the look-ups, the loop and the
 * feed are this test's. */
#include "allowed_names.h"
#include "allowed_rows.h"
#include "lookup.h"
#include "soon.h"
#include "support.h"
#include "ticker.h"

#include <czmq.h>

#define MINUTE_MS (60 * MS_PER_S)
#define OURS      3
#define HOME      "home.example.org"

static allowed_names_t *names;
static graces_t *graces;
static db_t *db;
static event_t announced[64];
static size_t announced_count;
static bool disk_full;

/* ---- what stands in for others ---- */

static int64_t now_ms = 1795288025000;

wall_t wall_now(void)
{
    return (wall_t){now_ms};
}

mono_t mono_now(void)
{
    return (mono_t){now_ms};
}

static const char *answer[300]; /* NULL ends it */
static bool answer_fails;
static int lookups;

lookup_t *lookup_new(const char *endpoint, fault_t *fault)
{
    (void)fault;
    assert_string_equal(endpoint, "tcp://" HOME ":1");
    lookups++;
    return (lookup_t *)&lookups;
}

void lookup_destroy(lookup_t **self_p)
{
    *self_p = NULL;
}

int lookup_each(lookup_t *self, void (*found)(void *arg, const addr_t *address), void *arg,
                fault_t *fault)
{
    (void)self;
    if (answer_fails)
        return fault_set(fault, HOME ": no answer");
    for (size_t i = 0; answer[i] != NULL; i++) {
        addr_t address = support_addr(answer[i]);
        found(arg, &address);
    }
    return 1;
}

static void (*on_tick)(void *);
static void *tick_arg;

ticker_t *ticker_new(zloop_t *loop, int64_t interval_ms, void (*tick)(void *arg), void *arg)
{
    (void)loop;
    (void)interval_ms;
    on_tick = tick;
    tick_arg = arg;
    return (ticker_t *)&tick_arg;
}

void ticker_destroy(ticker_t **self_p)
{
    *self_p = NULL;
}

soon_t *soon_new(zloop_t *loop, void (*call)(void *arg), void *arg)
{
    (void)loop;
    (void)call;
    (void)arg;
    return (soon_t *)&tick_arg;
}

void soon_destroy(soon_t **self_p)
{
    *self_p = NULL;
}

void soon_call(soon_t *self)
{
    (void)self; /* the next tick does the same */
}

zloop_t *service_loop(service_t *self)
{
    (void)self;
    return NULL;
}

feed_t *service_feed(service_t *self)
{
    (void)self;
    return NULL;
}

own_feed_t *service_own_feed(service_t *self)
{
    (void)self;
    return NULL;
}

db_t *feed_own_db(feed_t *self)
{
    (void)self;
    return db;
}

int own_feed_append_grace(own_feed_t *self, event_t *event)
{
    (void)self;
    assert_int_equal(event_check(event), EVENT_OK);
    if (disk_full) {
        errno = ENOSPC;
        return -1;
    }
    announced[announced_count++] = *event;
    return 0;
}

void standing_look_at_clock(standing_t *self)
{
    (void)self;
}

static void put(const addr_t *network, int64_t time_ms, int64_t until_ms, const char *text)
{
    const grace_entry_t entry = {
        .network = *network,
        .kind = EVENT_ALLOW,
        .origin = OURS,
        .time_ms = time_ms,
        .until_ms = until_ms,
        .text = (char *)text,
    };
    assert_int_equal(graces_put(graces, &entry, NULL, 0), GRACES_ADDED);
}

void entries_take_own_grace(entries_t *self, const event_t *event)
{
    (void)self;
    put(&event->grace.network, event->grace.time_ms, event->grace.until_ms, event->grace.text);
}

static void note_done(void *arg)
{
    (void)arg;
}

/* ---- the test's own ---- */

static void open_names(void)
{
    static const allowed_names_parts_t part = {.ours = OURS, .done = note_done};
    allowed_names_parts_t parts = part;
    fault_t fault;
    parts.graces = graces;
    names = allowed_names_new(&parts, &fault);
    assert_non_null(names);
}

static int start(void **state)
{
    static const db_schema_t schema = {1, allowed_rows_table, NULL};
    fault_t fault;
    if (support_enter(state) == -1)
        return -1;
    db = db_open("own.db", &schema, true, &fault);
    graces = graces_new();
    announced_count = 0;
    lookups = 0;
    disk_full = answer_fails = false;
    memset(answer, 0, sizeof answer);
    open_names();
    return 0;
}

static int end(void **state)
{
    allowed_names_destroy(&names);
    graces_destroy(&graces);
    db_destroy(&db);
    return support_leave(state);
}

#define with_names(name) cmocka_unit_test_setup_teardown(name, start, end)

static void tick_after(int64_t ms)
{
    now_ms += ms;
    on_tick(tick_arg);
}

static void allow(int64_t for_ms)
{
    fault_t fault;
    assert_int_equal(allowed_names_put(names, HOME, now_ms + for_ms, "Kim", &fault), 0);
    tick_after(0);
}

static bool is_announced(size_t number, const char *address, int64_t for_ms)
{
    addr_t wanted = support_addr(address);
    return number < announced_count && announced[number].kind == EVENT_ALLOW &&
           addr_equal(&announced[number].grace.network, &wanted) &&
           announced[number].grace.until_ms - now_ms == for_ms;
}

TEST(each_address_is_allowed_for_15_minutes_and_again_after_five)
{
    answer[0] = "45.154.1.1";
    answer[1] = "2a02:4780:11::7";
    answer[2] = "45.154.1.1"; /* twice is once */
    allow(1000 * MINUTE_MS);
    assert_int_equal(announced_count, 2);
    assert_true(is_announced(0, "45.154.1.1", 15 * MINUTE_MS));
    assert_true(is_announced(1, "2a02:4780:11::7", 15 * MINUTE_MS));
    assert_string_equal(announced[0].grace.text, HOME ": Kim");
    tick_after(4 * MINUTE_MS);
    assert_int_equal(announced_count, 2);
    answer[1] = NULL;
    tick_after(MINUTE_MS);
    assert_int_equal(lookups, 2);
    assert_int_equal(announced_count, 3);
    assert_true(is_announced(2, "45.154.1.1", 15 * MINUTE_MS));
}

TEST(nothing_is_announced_beyond_the_end_of_the_name)
{
    answer[0] = "45.154.1.1";
    allow(7 * MINUTE_MS);
    assert_true(is_announced(0, "45.154.1.1", 7 * MINUTE_MS));
    tick_after(5 * MINUTE_MS);
    tick_after(5 * MINUTE_MS);
    assert_int_equal(announced_count, 1);
    assert_int_equal(lookups, 2);
}

TEST(an_old_answer_is_not_renewed_and_a_new_one_counts_again)
{
    answer[0] = "45.154.1.1";
    allow(1000 * MINUTE_MS);
    answer_fails = true;
    for (int i = 0; i < 20; i++)
        tick_after(MINUTE_MS);
    assert_int_equal(announced_count, 1);
    assert_true(lookups > 10); /* it is asked for more often */
    json_t *all = allowed_names_json(names);
    const json_t *name = json_array_get(all, 0);
    assert_int_equal(json_array_size(json_object_get(name, "addresses")), 0);
    assert_string_equal(json_string_value(json_object_get(name, "fault")), HOME ": no answer");
    assert_string_equal(json_string_value(json_object_get(name, "text")), "Kim");
    json_decref(all);
    answer_fails = false;
    tick_after(MINUTE_MS);
    assert_int_equal(announced_count, 2);
}

TEST(seventeen_addresses_are_refused_as_a_whole_and_sixteen_are_not)
{
    static char texts[17][ADDR_TEXT_MAX];
    for (int i = 0; i < 17; i++) {
        snprintf(texts[i], sizeof texts[i], "45.154.1.%d", i);
        answer[i] = texts[i];
    }
    allow(1000 * MINUTE_MS);
    assert_int_equal(announced_count, 0);
    answer[16] = NULL;
    tick_after(MINUTE_MS);
    assert_int_equal(announced_count, 16);
}

TEST(one_special_address_refuses_all)
{
    answer[0] = "45.154.1.1";
    answer[1] = "192.168.1.1";
    allow(1000 * MINUTE_MS);
    assert_int_equal(announced_count, 0);
}

TEST(names_outlive_a_restart_and_what_runs_is_not_said_again)
{
    answer[0] = "45.154.1.1";
    allow(1000 * MINUTE_MS);
    allowed_names_destroy(&names);
    now_ms += MINUTE_MS;
    open_names();
    tick_after(0);
    assert_int_equal(lookups, 2);
    assert_int_equal(announced_count, 1);
    tick_after(5 * MINUTE_MS);
    assert_int_equal(announced_count, 2);
}

TEST(what_ended_long_ago_is_forgotten_and_not_before)
{
    allow(MINUTE_MS);
    for (int i = 0; i < 2; i++) {
        now_ms += 20LL * 24 * 60 * MINUTE_MS;
        allowed_names_destroy(&names);
        open_names();
        fault_t fault;
        if (i == 1)
            assert_int_equal(allowed_names_remove(names, HOME, &fault), 0);
    }
}

TEST(a_longer_allowance_of_ours_stands_and_a_removal_leaves_it)
{
    addr_t address = support_addr("45.154.1.2");
    fault_t fault;
    put(&address, now_ms, now_ms + 1000 * MINUTE_MS, "for itself");
    answer[0] = "45.154.1.1";
    answer[1] = "45.154.1.2";
    allow(1000 * MINUTE_MS);
    assert_int_equal(announced_count, 1);
    assert_int_equal(allowed_names_remove(names, HOME, &fault), 1);
    assert_int_equal(announced_count, 2);
    assert_true(addr_equal(&announced[1].grace.network, &announced[0].grace.network));
    assert_true(announced[1].grace.until_ms == announced[1].grace.time_ms);
    assert_true(announced[1].grace.time_ms > announced[0].grace.time_ms);
    assert_int_equal(allowed_names_remove(names, HOME, &fault), 0);
}

TEST(what_was_withdrawn_by_a_clock_that_was_ahead_is_allowed_again)
{
    addr_t address = support_addr("45.154.1.1");
    put(&address, now_ms + 60 * MINUTE_MS, now_ms + 60 * MINUTE_MS, "withdrawn");
    answer[0] = "45.154.1.1";
    allow(1000 * MINUTE_MS);
    assert_int_equal(announced_count, 1);
    assert_true(announced[0].grace.time_ms > now_ms + 60 * MINUTE_MS);
    assert_true(announced[0].grace.until_ms == announced[0].grace.time_ms + 15 * MINUTE_MS);
}

TEST(with_the_disk_full_it_is_announced_later)
{
    answer[0] = "45.154.1.1";
    disk_full = true;
    allow(1000 * MINUTE_MS);
    tick_after(MS_PER_S);
    assert_int_equal(announced_count, 0);
    disk_full = false;
    tick_after(MS_PER_S);
    assert_int_equal(announced_count, 1);
    assert_int_equal(lookups, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_names(each_address_is_allowed_for_15_minutes_and_again_after_five),
        with_names(nothing_is_announced_beyond_the_end_of_the_name),
        with_names(an_old_answer_is_not_renewed_and_a_new_one_counts_again),
        with_names(seventeen_addresses_are_refused_as_a_whole_and_sixteen_are_not),
        with_names(one_special_address_refuses_all),
        with_names(names_outlive_a_restart_and_what_runs_is_not_said_again),
        with_names(what_ended_long_ago_is_forgotten_and_not_before),
        with_names(a_longer_allowance_of_ours_stands_and_a_removal_leaves_it),
        with_names(what_was_withdrawn_by_a_clock_that_was_ahead_is_allowed_again),
        with_names(with_the_disk_full_it_is_announced_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
