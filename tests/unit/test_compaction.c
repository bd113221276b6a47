/* compaction: whatever was appended, prolonged and copied, however often the node was started anew,
 * and whatever its clock did meanwhile, the log holds every running event under its identity, and
 * not much else. */
#include "forge.h"
#include "nid.h"
#include "own_feed.h"
#include "replica.h"
#include "steady.h"
#include "stored.h"
#include "trimmer.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS  6000
#define MINUTE_MS (60LL * 1000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)
#define RUNNING_S 1000000
#define LASTING_S 8000000 /* three months */
#define LONGER_S  16000000
#define ENDED_S   60
#define DEAD      2048 /* many that ended */

typedef struct {
    ban_t ban;
    int64_t nid;
    bool runs;
} attempt_model_t;

typedef struct {
    forge_node_t node;
    feed_t *feed;
    own_feed_t *own_feed;
    steady_t steady;
    attempt_model_t attempts[ATTEMPTS];
    size_t count;
    size_t forgotten; /* bans that ended, and have no model */
    uint64_t seed;
    int64_t passed_ms;      /* while nobody waited */
    int64_t ahead_ms;       /* the wall clock, of the right time */
    int64_t jumped_when_ms; /* passed_ms then */
} world_t;

static world_t world;

/* ---- the clocks of the room ---- */

int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = __real_clock_gettime(id, out);
    int64_t ms = world.passed_ms + (id == CLOCK_REALTIME ? world.ahead_ms : 0);
    out->tv_sec += ms / MS_PER_S;
    return rc;
}

static void jump(int64_t ahead_ms)
{
    world.ahead_ms = ahead_ms;
    world.jumped_when_ms = world.passed_ms;
}

static int64_t right_now_ms(void)
{
    return wall_now().ms - world.ahead_ms;
}

/* ---- the node ---- */

static void ignore(void *arg, const uint8_t *envelope, size_t size)
{
    (void)arg;
    (void)envelope;
    (void)size;
}

static void open_world(void)
{
    fault_t fault;
    world.feed = feed_open(".", &world.node.public_key, &replica_tables, &fault);
    if (world.feed == NULL)
        fail_msg("%s", fault.text);
    world.own_feed = own_feed_new(world.feed, world.node.wire, ignore, NULL);
    world.steady = steady_begin(wall_now(), mono_now());
}

static void close_world(void)
{
    own_feed_destroy(&world.own_feed);
    feed_close(&world.feed);
}

static int start(void **state)
{
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    memset(&world, 0, sizeof world);
    world.node = forge_node(7);
    open_world();
    return 0;
}

static int end(void **state)
{
    close_world();
    forge_end(&world.node);
    return support_leave(state);
}

#define in_world(name) cmocka_unit_test_setup_teardown(name, start, end)

static uint64_t next_random(void)
{
    return support_random(&world.seed);
}

static void append(attempt_model_t *attempt)
{
    own_feed_item_t item = {.ban = &attempt->ban};
    assert_int_equal(own_feed_append(world.own_feed, &item, 1), 0);
    attempt->nid = item.nid;
}

/* A ban of three days ago. */
static void append_lasting(int64_t duration_s, bool runs)
{
    char ip[ADDR_TEXT_MAX];
    attempt_model_t *attempt = &world.attempts[world.count];
    snprintf(ip, sizeof ip, "45.%zu.%zu.7", world.count / 250, world.count % 250);
    world.count++;
    attempt->ban = support_ban(ip);
    attempt->ban.time_ms = right_now_ms() - 3 * DAY_MS;
    attempt->ban.duration_s = duration_s;
    attempt->runs = runs;
    append(attempt);
}

static void append_new(bool runs)
{
    append_lasting(runs ? RUNNING_S : ENDED_S, runs);
}

/* One that is not remembered: there may be very many. */
static void append_ended(void)
{
    ban_t ban = support_ban("80.94.95.112");
    ban.time_ms = right_now_ms() - 3 * DAY_MS - (int64_t)world.forgotten++;
    ban.duration_s = ENDED_S;
    own_feed_item_t item = {.ban = &ban};
    assert_int_equal(own_feed_append(world.own_feed, &item, 1), 0);
}

static void prolong(attempt_model_t *attempt)
{
    int64_t nid = attempt->nid;
    attempt->ban.duration_s = LONGER_S;
    attempt->runs = true;
    append(attempt);
    assert_int_equal(attempt->nid, nid);
}

static bool compact_once(void)
{
    wall_t wall = wall_now();
    mono_t mono = mono_now();
    steady_look(&world.steady, wall, mono);
    return own_feed_compact(world.own_feed, steady_time(&world.steady, wall, mono)) == 1;
}

/* By the time that the housekeeper judges by. Where it found nothing, it looks again after a
 * minute. */
static bool compact(void)
{
    if (compact_once())
        return true;
    world.passed_ms += MINUTE_MS;
    return compact_once();
}

/* It comes to an end. */
static void compact_all(void)
{
    int steps = 0;
    while (compact())
        assert_true(++steps < ATTEMPTS);
}

static attempt_model_t *model_of(int64_t nid)
{
    for (size_t i = 0; i < world.count; i++)
        if (world.attempts[i].nid == nid)
            return &world.attempts[i];
    return NULL;
}

/* Check an event of our log; mark its attempt as found if it says how long it runs. */
static void check_event(const event_t *event, bool *found)
{
    const attempt_model_t *attempt = model_of(nid_of(&world.node.public_key, &event->original));
    if (attempt == NULL && world.forgotten > 0)
        return;
    assert_non_null(attempt); /* nothing is invented */
    assert_true(memcmp(&attempt->ban.address, &event->ban.address, sizeof(addr_t)) == 0);
    assert_int_equal(attempt->ban.time_ms, event->ban.time_ms);
    if (attempt->ban.duration_s == event->ban.duration_s)
        found[attempt - world.attempts] = true;
}

static size_t check_feed(const feed_ref_t *ref, bool *found)
{
    size_t events = 0;
    for (uint64_t seq = ref->floor; seq <= ref->have; seq++) {
        wire_batch_t batch;
        event_t event;
        assert_int_equal(stored_batch(world.feed, world.node.wire, ref, seq, &batch), STORED_BATCH);
        for (size_t i = 0; i < batch.event_count; i++, events++) {
            assert_int_equal(wire_event(world.node.wire, i, &event), EVENT_OK);
            check_event(&event, found);
        }
    }
    return events;
}

/* Every running attempt is in the log with its longest time. Returns the events in it. */
static size_t check_log(void)
{
    static bool found[ATTEMPTS];
    size_t events = 0;
    memset(found, 0, sizeof found);
    for (size_t i = 0; i < feed_count(world.feed); i++)
        events += check_feed(feed_at(world.feed, i), found);
    for (size_t i = 0; i < world.count; i++)
        if (world.attempts[i].runs && !found[i])
            fail_msg("attempt %zu runs and is not in the log", i);
    return events;
}

static size_t count_running(void)
{
    size_t running = 0;
    for (size_t i = 0; i < world.count; i++)
        running += world.attempts[i].runs;
    return running;
}

/* A clock goes wrong by days for less than an hour, and comes back; time passes. */
static void disturb_clock(void)
{
    uint64_t choice = next_random() % 3;
    int64_t some_ms = (int64_t)(next_random() % (80 * 24)) * HOUR_MS;
    if (choice == 0)
        jump(10 * (some_ms - 40 * DAY_MS));
    else if (choice == 1)
        jump(0);
    world.passed_ms += some_ms / 80 / 24 / 3; /* up to 20 minutes */
    if (world.passed_ms - world.jumped_when_ms > HOUR_MS / 2)
        jump(0);
    compact();
}

/* By what a clock says when the node starts it has to go, within what bans are kept beyond their
 * end. */
static void restart(void)
{
    if (world.ahead_ms > COMPACTION_LINGER_MS)
        jump(0);
    close_world();
    open_world();
}

/* The clock is right, and counts again. */
static void calm_clock(void)
{
    jump(0);
    compact();
    world.passed_ms += HOUR_MS + MINUTE_MS;
    compact();
}

static void append_some(bool runs)
{
    append_lasting(runs ? LASTING_S : ENDED_S, runs);
}

/* What stood between others that run is let go of as well, once it is old. That of a wrong clock is
 * so a little later. */
static size_t let_all_grow_old(size_t most)
{
    size_t events = SIZE_MAX;
    for (int i = 0; i < 5 && events > most; i++) {
        world.passed_ms += COMPACTION_AGE_MS + HOUR_MS;
        compact_all();
        events = check_log();
    }
    return events;
}

TEST(whatever_happens_what_runs_is_in_the_log_and_the_log_is_bounded)
{
    world.seed = getenv("BANMESH_TEST_SEED") != NULL ? support_seed() : (uint64_t)time(NULL);
    printf("seed %llu (repeat with BANMESH_TEST_SEED)\n", (unsigned long long)world.seed);
    while (world.count < ATTEMPTS) {
        uint64_t choice = next_random() % 1000;
        if (choice < 900)
            append_some(next_random() % 10 == 0);
        else if (choice < 980 && world.count > 0)
            prolong(&world.attempts[next_random() % world.count]);
        else if (choice < 992)
            compact();
        else if (choice < 998)
            disturb_clock();
        else
            restart();
    }
    check_log();
    calm_clock();
    compact_all();
    check_log();
    size_t running = count_running();
    size_t events = let_all_grow_old(running + COMPACTION_STEP_BATCHES);
    if (events > running + COMPACTION_STEP_BATCHES)
        fail_msg("%zu events in the log, %zu run", events, running);
}

TEST(a_small_log_is_left_alone)
{
    for (int i = 1; i < COMPACTION_STEP_BATCHES; i++)
        append_new(false);
    compact_all();
    assert_int_equal(feed_own_current(world.feed)->floor, 1);
    append_new(false);
    compact_all();
    assert_int_equal(feed_own_current(world.feed)->floor, COMPACTION_STEP_BATCHES + 1);
}

/* ---- clocks that are wrong ---- */

static void append_many(size_t count, bool runs)
{
    for (size_t i = 0; i < count; i++)
        append_new(runs);
}

/* For two seconds nothing seemed to run: the floor rose above all that did. */
TEST(a_clock_that_jumps_for_a_moment_takes_no_ban_out_of_the_log)
{
    append_many(3000, true);
    jump(40 * DAY_MS);
    compact_all();
    append_new(true);
    compact_all();
    check_log();
    jump(0);
    append_new(true);
    compact_all();
    check_log();
    assert_int_equal(feed_own_current(world.feed)->floor, 1);
}

/* Its log would grow for ever otherwise. */
TEST(a_clock_that_was_corrected_ends_bans_after_an_hour)
{
    append_many(3000, true);
    jump(40 * DAY_MS);
    compact_all();
    world.passed_ms += HOUR_MS + MINUTE_MS;
    compact_all();
    assert_true(feed_own_current(world.feed)->floor > 1000);
}

TEST(a_clock_that_is_ahead_by_hours_at_the_start_takes_no_ban_out_of_the_log)
{
    close_world();
    jump(14 * HOUR_MS);
    open_world();
    for (int i = 0; i < 3000; i++)
        append_lasting((3 * DAY_MS + HOUR_MS) / MS_PER_S, true);
    compact_all();
    check_log();
    assert_int_equal(feed_own_current(world.feed)->floor, 1);
}

static size_t count_in_log(void)
{
    const feed_ref_t *own = feed_own_current(world.feed);
    return own->have + 1 - own->floor;
}

/* A log that does nothing but run is left alone, and once it is old it is written again, once. */
TEST(what_runs_is_copied_once_in_eight_days)
{
    for (int i = 0; i < 300; i++)
        append_lasting(100 * DAY_MS / MS_PER_S, true);
    compact_all();
    assert_int_equal(count_in_log(), 300);
    world.passed_ms += COMPACTION_AGE_MS + HOUR_MS;
    compact_all();
    assert_int_equal(check_log(), 300);
    uint64_t have = feed_own_current(world.feed)->have;
    assert_in_range(have, 301, 300 + 300 / COMPACTION_STEP_BATCHES + 1); /* copies share batches */
    world.passed_ms += COMPACTION_AGE_MS / 2;
    compact_all();
    assert_int_equal(feed_own_current(world.feed)->have, have);
}

/* ---- epochs ---- */

static size_t count_own(bool ended)
{
    const feed_ref_t *feed;
    size_t count = 0;
    for (size_t i = 0; (feed = feed_own_at(world.feed, i)) != NULL; i++)
        count += feed->ended == ended;
    return count;
}

static void trim_all(int64_t kept_ms)
{
    trimmer_t *trimmer = trimmer_new(world.feed, world.node.wire);
    trimmer_set_kept(trimmer, kept_ms);
    while (trimmer_step(trimmer, wall_now()) == 1)
        ;
    trimmer_destroy(&trimmer);
}

/* It used to be that no feed ever went: after 10,000 starts nobody heard of a node any more. */
TEST(however_often_a_node_starts_few_epochs_of_it_remain)
{
    int starts = support_long() ? 100000 : 500;
    for (int start_number = 0; start_number < starts; start_number++) {
        close_world();
        open_world();
        if (start_number % 100 == 0)
            append_new(true);
        else
            append_ended();
        compact_once();
        compact_once();
        trim_all(30 * DAY_MS);
        assert_in_range(count_own(false), 1, COMPACTION_EPOCHS_MAX + 1);
        assert_in_range(feed_count(world.feed), 1, 16 + 1);
    }
    compact_all();
    trim_all(30 * DAY_MS);
    assert_in_range(feed_count(world.feed), 1, 16);
    check_log();
}

TEST(a_few_epochs_are_left_alone)
{
    for (int i = 0; i < COMPACTION_EPOCHS_MAX; i++) {
        close_world();
        open_world();
        append_new(true);
        compact_all();
    }
    assert_int_equal(count_own(false), COMPACTION_EPOCHS_MAX);
    assert_int_equal(count_own(true), 0);
}

/* Its disk was lost and its clock stood in 1970 when it began; then it hears from peers what it had
 * signed before. What it wrote meanwhile nobody takes in: it is copied. */
TEST(what_was_written_below_our_own_floor_is_copied_above_it)
{
    world.ahead_ms = -right_now_ms() + HOUR_MS;
    append_new(true);
    uint64_t first = feed_own_current(world.feed)->id.epoch;
    pubkey_t own = world.node.public_key;
    feed_raise_epoch_floor(world.feed, &own, FORGE_EPOCH);
    assert_null(feed_own_current(world.feed));
    compact_all();
    assert_true(feed_own_current(world.feed)->id.epoch > FORGE_EPOCH);
    assert_int_equal(check_log(), 1);
    jump(0);
    trim_all(0);
    assert_true(feed_own_at(world.feed, 0)->id.epoch > first);
}

/* Put a batch of ours into the other database, as one that came back from peers. */
static const feed_ref_t *recover(uint64_t epoch, const event_t *events, size_t count)
{
    static forged_t envelope;
    feed_id_t id = {.epoch = epoch};
    id.origin = world.node.public_key;
    const feed_ref_t *ref = feed_add(world.feed, &id);
    wire_batch_t batch = {.feed = id, .seq = ref->have + 1, .event_count = count};
    envelope.size = wire_write_batch(world.node.wire, &batch, events, envelope.bytes);
    assert_int_equal(feed_store(world.feed, ref, batch.seq, envelope.bytes, envelope.size), 0);
    return ref;
}

TEST(an_epoch_that_came_back_from_peers_is_emptied_as_well)
{
    event_t events[2] = {support_ban_event("80.94.95.1"), support_ban_event("80.94.95.2")};
    events[0].ban.time_ms = events[1].ban.time_ms = wall_now().ms - 3 * DAY_MS;
    events[0].ban.duration_s = -1;
    const feed_ref_t *ref = recover(FORGE_EPOCH - 1000, events, 2);
    for (int i = 0; i < DEAD; i++)
        append_new(false);
    compact_all();
    assert_false(ref->own_db);
    assert_true(ref->ended);
    assert_int_equal(ref->floor, 2);
    const feed_ref_t *own = feed_own_current(world.feed);
    wire_batch_t batch;
    event_t event;
    assert_int_equal(stored_batch(world.feed, world.node.wire, own, DEAD + 1, &batch),
                     STORED_BATCH);
    assert_int_equal(batch.event_count, 1);
    assert_int_equal(wire_event(world.node.wire, 0, &event), EVENT_OK);
    assert_true(event.has_original);
    assert_int_equal(event.original.epoch, FORGE_EPOCH - 1000);
    assert_int_equal(event.original.index, 0);
}

TEST(a_pardon_lives_as_long_as_what_it_may_void)
{
    event_t events[2] = {support_grace_event(EVENT_PARDON, "80.94.95.0/24", "mistake"),
                         support_ban_event("80.94.95.2")};
    events[0].grace.time_ms = events[1].ban.time_ms = wall_now().ms - 3 * DAY_MS;
    events[0].grace.until_ms = 0;
    recover(FORGE_EPOCH - 1000, events, 2);
    for (int i = 0; i < DEAD; i++)
        append_new(false);
    compact_all();
    wire_batch_t batch;
    event_t event;
    assert_int_equal(stored_batch(world.feed, world.node.wire, feed_own_current(world.feed),
                                  DEAD + 1, &batch),
                     STORED_BATCH);
    assert_int_equal(batch.event_count, 1);
    assert_int_equal(wire_event(world.node.wire, 0, &event), EVENT_OK);
    assert_int_equal(event.kind, EVENT_PARDON);
}

/* Events of a kind in what our log holds now. */
static size_t count_kind(event_kind_t kind)
{
    const feed_ref_t *feed;
    size_t count = 0;
    for (size_t i = 0; (feed = feed_own_at(world.feed, i)) != NULL; i++)
        for (uint64_t seq = feed->floor; seq <= feed->have; seq++) {
            wire_batch_t batch;
            event_t event;
            assert_int_equal(stored_batch(world.feed, world.node.wire, feed, seq, &batch),
                             STORED_BATCH);
            for (size_t k = 0; k < batch.event_count; k++)
                if (wire_event(world.node.wire, k, &event) == EVENT_OK)
                    count += event.kind == kind;
        }
    return count;
}

static void grow_old(int64_t ms)
{
    world.passed_ms += ms;
    compact_all();
}

/* Its clock counts again after the hour that it jumped in. */
static void pass_years(int64_t years)
{
    jump(years * 365 * DAY_MS);
    grow_old(COMPACTION_AGE_MS + HOUR_MS);
    grow_old(COMPACTION_AGE_MS + HOUR_MS);
    grow_old(COMPACTION_AGE_MS + HOUR_MS);
}

/* Where it goes, so does its ban, whatever that one's time: the pardon alone must last. */
TEST(a_ban_that_was_lifted_is_not_copied_and_its_pardon_is)
{
    ban_t ban = support_ban("80.94.95.2");
    ban.duration_s = -1;
    own_feed_item_t items[] = {{.ban = &ban}, {.ban = &ban, .is_unban = true}};
    items[1].at_ms = ban.time_ms = wall_now().ms;
    assert_int_equal(own_feed_append(world.own_feed, items, 2), 0);
    assert_int_equal(count_kind(EVENT_BAN), 1);
    grow_old(COMPACTION_AGE_MS + HOUR_MS);
    assert_int_equal(count_kind(EVENT_BAN), 0);
    assert_int_equal(count_kind(EVENT_PARDON), 1);
    pass_years(9);
    assert_int_equal(count_kind(EVENT_PARDON), 1);
    pass_years(11);
    assert_int_equal(count_kind(EVENT_PARDON), 0);
}

/* A withdrawal that went before what it withdraws would bring that back. */
TEST(an_allowance_lives_until_its_end_and_its_withdrawal_as_long_as_any)
{
    event_t events[3] = {support_grace_event(EVENT_ALLOW, "80.94.95.0/24", "a month"),
                         support_grace_event(EVENT_ALLOW, "80.94.96.0/24", "in 9999"),
                         support_grace_event(EVENT_ALLOW, "80.94.97.0/24", "withdrawn")};
    for (size_t i = 0; i < 3; i++)
        events[i].grace.time_ms = wall_now().ms;
    events[0].grace.until_ms = wall_now().ms + 30 * DAY_MS;
    events[1].grace.until_ms = EVENT_TIME_MAX_MS;
    events[2].grace.until_ms = events[2].grace.time_ms;
    recover(FORGE_EPOCH - 1000, events, 3);
    append_new(true); /* an epoch of this run, to copy into */
    grow_old(20 * DAY_MS);
    assert_int_equal(count_kind(EVENT_ALLOW), 3);
    grow_old(12 * DAY_MS);
    assert_int_equal(count_kind(EVENT_ALLOW), 2);
    pass_years(9);
    assert_int_equal(count_kind(EVENT_ALLOW), 2);
    pass_years(11);
    assert_int_equal(count_kind(EVENT_ALLOW), 0);
}

/* ---- what lies under a floor ---- */

TEST(our_own_batches_stay_for_aggregators_and_go_in_time)
{
    for (int i = 0; i < DEAD; i++)
        append_new(false);
    compact_all();
    const feed_ref_t *own = feed_own_current(world.feed);
    assert_true(own->floor > 100);
    trim_all(4 * DAY_MS);
    assert_int_equal(own->oldest, 1);
    trim_all(DAY_MS);
    assert_int_equal(own->oldest, own->floor < own->have ? own->floor : own->have);
    check_log();
}

TEST(copies_of_others_go_at_once_unless_the_history_is_kept)
{
    forge_node_t other = forge_node(9);
    forged_t envelope;
    feed_id_t id = forge_feed(&other);
    const feed_ref_t *ref = feed_add(world.feed, &id);
    for (uint64_t seq = 1; seq <= 500; seq++) {
        forge_batch(&other, seq, &envelope);
        assert_int_equal(feed_store(world.feed, ref, seq, envelope.bytes, envelope.size), 0);
    }
    forge_head(&other, 500, 400, &envelope);
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){500, 400, 0}, envelope.bytes,
                                    envelope.size),
                     1);
    feed_keep_history(world.feed);
    trim_all(INT64_MAX / 4);
    assert_int_equal(ref->oldest, 1);
    close_world();
    open_world();
    ref = feed_find(world.feed, &id);
    trim_all(INT64_MAX / 4);
    assert_int_equal(ref->oldest, 400);
    assert_int_equal(ref->have, 500);
    forge_end(&other);
}

static const feed_ref_t *store_batches(const forge_node_t *node, uint64_t epoch, uint64_t first,
                                       uint64_t last)
{
    static forged_t envelope;
    feed_id_t id = forge_feed(node);
    id.epoch = epoch;
    const feed_ref_t *ref = feed_add(world.feed, &id);
    for (uint64_t seq = first; seq <= last; seq++) {
        forge_batch(node, seq, &envelope);
        assert_int_equal(feed_store(world.feed, ref, seq, envelope.bytes, envelope.size), 0);
    }
    return ref;
}

static void keep_head(const feed_ref_t *ref, uint64_t seq, uint64_t floor)
{
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){seq, floor, 0},
                                    (const uint8_t *)"head", 4),
                     1);
}

/* The head came, the batch with the copies did not, and the origin died: what lay under the floor
 * was gone, and nobody had it any more. */
TEST(what_lies_under_a_floor_stays_until_its_copies_are_here)
{
    forge_node_t other = forge_node(9);
    const feed_ref_t *ref = store_batches(&other, FORGE_EPOCH, 1, 100);
    keep_head(ref, 101, 90);
    trim_all(0);
    assert_int_equal(ref->oldest, 1);
    store_batches(&other, FORGE_EPOCH, 101, 101);
    trim_all(0);
    assert_int_equal(ref->oldest, 90);
    forge_end(&other);
}

TEST(an_epoch_is_emptied_only_once_its_copies_in_a_later_one_are_here)
{
    forge_node_t other = forge_node(9);
    const feed_ref_t *ref = store_batches(&other, FORGE_EPOCH, 1, 100);
    const feed_ref_t *later = store_batches(&other, FORGE_EPOCH + 1, 1, 3);
    keep_head(later, 4, 1);
    keep_head(ref, 100, 101);
    trim_all(0);
    assert_int_equal(ref->oldest, 1);
    store_batches(&other, FORGE_EPOCH + 1, 4, 4);
    trim_all(0);
    assert_int_equal(ref->oldest, 100); /* the newest stays */
    forge_end(&other);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_world(whatever_happens_what_runs_is_in_the_log_and_the_log_is_bounded),
        in_world(a_small_log_is_left_alone),
        in_world(a_clock_that_jumps_for_a_moment_takes_no_ban_out_of_the_log),
        in_world(a_clock_that_was_corrected_ends_bans_after_an_hour),
        in_world(a_clock_that_is_ahead_by_hours_at_the_start_takes_no_ban_out_of_the_log),
        in_world(what_runs_is_copied_once_in_eight_days),
        in_world(however_often_a_node_starts_few_epochs_of_it_remain),
        in_world(a_few_epochs_are_left_alone),
        in_world(what_was_written_below_our_own_floor_is_copied_above_it),
        in_world(an_epoch_that_came_back_from_peers_is_emptied_as_well),
        in_world(a_pardon_lives_as_long_as_what_it_may_void),
        in_world(a_ban_that_was_lifted_is_not_copied_and_its_pardon_is),
        in_world(an_allowance_lives_until_its_end_and_its_withdrawal_as_long_as_any),
        in_world(our_own_batches_stay_for_aggregators_and_go_in_time),
        in_world(copies_of_others_go_at_once_unless_the_history_is_kept),
        in_world(what_lies_under_a_floor_stays_until_its_copies_are_here),
        in_world(an_epoch_is_emptied_only_once_its_copies_in_a_later_one_are_here),
    };
    return cmocka_run_group_tests_name("compaction", tests, NULL, NULL);
}
