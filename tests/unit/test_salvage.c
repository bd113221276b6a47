/* salvage: of a damaged own.db every ban whose bytes are whole is taken over, under its number or
 * as a copy that says which it was; no number ever gets two bodies, no nid two bans. */
#include "damage.h"
#include "forge.h"
#include "nid.h"
#include "own_feed.h"
#include "salvage.h"
#include "wreck.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCHS     3
#define APPENDS    30
#define BANS_MAX   20000
#define GROUP_MAX  200
#define BODIES_MAX (EPOCHS * APPENDS * 2)

/* A ban as it was acknowledged. */
typedef struct {
    ban_t ban;
    int64_t nid;
    bool found;
} record_t;

/* A batch as it was announced. */
typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint8_t *bytes;
    size_t size;
    uint32_t page; /* of the row in the closed file; 0: not looked for, or in the log */
    size_t first;  /* its bans among the records */
    size_t count;
} body_t;

typedef struct {
    forge_node_t node;
    feed_t *feed;
    own_feed_t *origin;
    record_t records[BANS_MAX];
    size_t record_count;
    body_t bodies[BODIES_MAX];
    size_t body_count;
    uint64_t random;
} world_t;

static world_t world;

static void note_published(void *arg, const uint8_t *envelope, size_t size)
{
    wire_batch_t batch;
    (void)arg;
    wire_t *reader = wire_new(NULL);
    assert_int_equal(wire_read_batch(reader, forge_envelope(envelope, size), &batch), WIRE_OK);
    wire_destroy(&reader);
    body_t *body = &world.bodies[world.body_count++];
    *body = (body_t){batch.feed.epoch, batch.seq, xmalloc(size), size, 0, 0, 0};
    memcpy(body->bytes, envelope, size);
}

static void open_state(void)
{
    fault_t fault;
    world.feed = feed_open("state", &world.node.public_key, &fault);
    if (world.feed == NULL)
        fail_msg("%s", fault.text);
}

static void open_world(void)
{
    open_state();
    world.origin = own_feed_new(world.feed, world.node.wire, note_published, NULL);
}

static void close_world(void)
{
    own_feed_destroy(&world.origin);
    feed_close(&world.feed);
}

static ban_t new_ban(void)
{
    char ip[ADDR_TEXT_MAX];
    size_t number = world.record_count;
    snprintf(ip, sizeof ip, "45.154.%zu.%zu", number / 250 + 1, number % 250 + 1);
    ban_t ban = support_ban(ip);
    ban.time_ms = wall_now().ms - (int64_t)(number % 1000) * 1000;
    return ban;
}

/* Mostly one ban, sometimes a group so large that its batch goes over several pages. */
static void append_some(void)
{
    static own_feed_item_t items[GROUP_MAX];
    size_t count =
        support_random(&world.random) % 8 == 0 ? 1 + support_random(&world.random) % GROUP_MAX : 1;
    size_t first = world.record_count;
    for (size_t i = 0; i < count; i++) {
        world.records[world.record_count].ban = new_ban();
        items[i] = (own_feed_item_t){.ban = &world.records[world.record_count].ban};
        world.record_count++;
    }
    size_t bodies = world.body_count;
    assert_int_equal(own_feed_append(world.origin, items, count), 0);
    assert_int_equal(world.body_count, bodies + 1);
    world.bodies[bodies].first = first;
    world.bodies[bodies].count = count;
    for (size_t i = 0; i < count; i++)
        world.records[first + i].nid = items[i].nid;
}

static int start(void **state)
{
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    memset(&world, 0, sizeof world);
    world.node = forge_node(7);
    world.random = support_seed();
    support_make_directory("state");
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        open_world();
        for (int i = 0; i < APPENDS; i++)
            append_some();
        if (epoch == EPOCHS - 1)
            damage_copy_all("state", "killed");
        close_world();
    }
    damage_copy_all("state", "closed");
    return 0;
}

static int end(void **state)
{
    for (size_t i = 0; i < world.body_count; i++)
        free(world.bodies[i].bytes);
    forge_end(&world.node);
    return support_leave(state);
}

#define in_world(name) cmocka_unit_test_setup_teardown(name, start, end)

static salvage_result_t salvage(void)
{
    salvage_result_t result;
    fault_t fault;
    open_world();
    if (salvage_run(world.feed, world.node.wire, &result, &fault) == -1)
        fail_msg("%s", fault.text);
    return result;
}

/* ---- what is there afterwards ---- */

static const body_t *find_body(uint64_t epoch, uint64_t seq)
{
    for (size_t i = 0; i < world.body_count; i++)
        if (world.bodies[i].epoch == epoch && world.bodies[i].seq == seq)
            return &world.bodies[i];
    return NULL;
}

static int by_nid(const void *one, const void *other)
{
    int64_t a = ((const record_t *)one)->nid;
    int64_t b = ((const record_t *)other)->nid;
    return (a > b) - (a < b);
}

static void note_event(wire_t *reader, size_t index, const record_t *sorted)
{
    event_t event;
    assert_int_equal(wire_event(reader, index, &event), EVENT_OK);
    record_t key = {.nid = nid_of(&world.node.public_key, &event.original)};
    const record_t *record = bsearch(&key, sorted, world.record_count, sizeof *sorted, by_nid);
    assert_non_null(record);
    support_assert_same_ban(&event.ban, &record->ban);
    for (size_t i = 0; i < world.record_count; i++)
        if (world.records[i].nid == key.nid)
            world.records[i].found = true;
}

/* Read everything; each batch is the one that was announced, or holds copies. */
static void take_stock(void)
{
    wire_t *reader = wire_new(NULL);
    record_t *sorted = xcalloc(world.record_count, sizeof *sorted);
    memcpy(sorted, world.records, world.record_count * sizeof *sorted);
    qsort(sorted, world.record_count, sizeof *sorted, by_nid);
    for (size_t i = 0; i < world.record_count; i++)
        world.records[i].found = false;
    for (size_t i = 0; i < feed_count(world.feed); i++) {
        const feed_ref_t *feed = feed_at(world.feed, i);
        for (uint64_t seq = feed->floor; seq <= feed->have; seq++) {
            const uint8_t *bytes;
            wire_batch_t batch;
            size_t size = feed_read(world.feed, feed, seq, &bytes);
            const body_t *body = find_body(feed->id.epoch, seq);
            assert_int_equal(wire_verify(reader, forge_envelope(bytes, size)), WIRE_OK);
            if (body != NULL) {
                assert_int_equal(size, body->size);
                assert_memory_equal(bytes, body->bytes, size);
            }
            assert_int_equal(wire_read_batch(reader, forge_envelope(bytes, size), &batch), WIRE_OK);
            assert_int_equal(batch.seq, seq);
            for (size_t k = 0; k < batch.event_count; k++)
                note_event(reader, k, sorted);
        }
    }
    free(sorted);
    wire_destroy(&reader);
}

static size_t count_lost(void)
{
    size_t lost = 0;
    for (size_t i = 0; i < world.record_count; i++)
        lost += !world.records[i].found;
    return lost;
}

/* On which page each batch of the closed file begins. */
static void note_page(void *arg, const wreck_row_t *row)
{
    (void)arg;
    if (row->count < 2 || row->columns[1].bytes == NULL)
        return;
    for (size_t i = 0; i < world.body_count; i++)
        if (world.bodies[i].size == row->columns[1].size &&
            memcmp(world.bodies[i].bytes, row->columns[1].bytes, row->columns[1].size) == 0)
            world.bodies[i].page = (uint32_t)(row->place >> 17);
}

static void note_pages(void)
{
    wreck_t *wreck = wreck_open("closed/own.db", NULL);
    wreck_each(wreck, note_page, NULL);
    wreck_close(&wreck);
}

/* ---- tests ---- */

TEST(without_a_wreck_nothing_is_done)
{
    salvage_result_t result = salvage();
    assert_string_equal(result.name, "");
    assert_int_equal(result.kept, 0);
    take_stock();
    assert_int_equal(count_lost(), 0);
    close_world();
}

TEST(with_its_header_gone_everything_is_taken_over_under_its_number)
{
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    salvage_result_t result = salvage();
    assert_int_equal(result.kept, world.body_count);
    assert_int_equal(result.copied, 0);
    assert_true(support_exists(result.name));
    assert_null(state_wreck(feed_state(world.feed)));
    take_stock();
    assert_int_equal(count_lost(), 0);
    assert_null(feed_own_current(world.feed));
    close_world();
    assert_string_equal(salvage().name, "");
    close_world();
}

TEST(what_stands_behind_a_lost_batch_is_announced_again_as_what_it_was)
{
    const body_t *lost = find_body(world.bodies[0].epoch, 5);
    char text[16];
    memcpy(text, lost->bytes + lost->size - 16, sizeof text); /* of its signature */
    size_t size;
    char *bytes = support_read("state/own.db", &size);
    for (char *at = bytes; (at = memmem(at, size - (size_t)(at - bytes), text, sizeof text));)
        *at = (char)~*at;
    support_write("state/own.db", bytes, size);
    support_write_text("state/own.db-check", "");
    free(bytes);
    salvage_result_t result = salvage();
    const feed_ref_t *newest = feed_own_current(world.feed);
    assert_non_null(newest);
    assert_true(newest->id.epoch > world.bodies[world.body_count - 1].epoch);
    assert_int_equal(result.kept, world.body_count - APPENDS + 4);
    take_stock();
    assert_int_equal(count_lost(), lost->count);
    for (size_t i = 0; i < lost->count; i++)
        assert_false(world.records[lost->first + i].found);
    close_world();
}

TEST(a_page_of_nonsense_costs_the_batches_on_it_and_no_other)
{
    note_pages();
    size_t pages = damage_size("closed/own.db") / DAMAGE_PAGE_BYTES;
    for (int round = 0; round < 25; round++) {
        uint32_t page = 1 + (uint32_t)(support_random(&world.random) % pages);
        damage_copy_all("closed", "state");
        damage_fill("state/own.db", (page - 1) * DAMAGE_PAGE_BYTES, DAMAGE_PAGE_BYTES);
        support_write_text("state/own.db-check", "");
        size_t bodies = world.body_count;
        salvage();
        take_stock();
        size_t lost_elsewhere = 0; /* it may be one of the pages that a large batch goes on */
        for (size_t i = 0; i < bodies; i++)
            lost_elsewhere +=
                world.bodies[i].page != page && !world.records[world.bodies[i].first].found;
        assert_in_range(lost_elsewhere, 0, 1);
        close_world();
    }
}

TEST(what_a_killed_process_left_is_taken_over_from_file_and_log)
{
    for (size_t at = 0; at < 10; at++) {
        damage_copy_all("killed", "state");
        size_t frames = (damage_size("state/own.db-wal") - 32) / (24 + DAMAGE_PAGE_BYTES);
        size_t frame = support_random(&world.random) % (frames / 2);
        damage_flip("state/own.db-wal", 32 + frame * (24 + DAMAGE_PAGE_BYTES) + 1000, 4);
        salvage_result_t result = salvage();
        assert_string_not_equal(result.name, "");
        take_stock();
        /* A page is in the log once for each commit that touched it: a later image has it all, or
         * an earlier one all but the newest rows. */
        assert_in_range(count_lost(), 0, GROUP_MAX + 16);
        close_world();
    }
}

TEST(any_damage_leaves_nothing_false_and_it_starts_again)
{
    for (int round = 0; round < 40; round++) {
        bool killed = round % 2 == 0;
        damage_copy_all(killed ? "killed" : "closed", "state");
        for (int i = 0; i < 3; i++)
            damage_somehow(support_random(&world.random) % 2 == 0 ? "state/own.db"
                                                                  : "state/own.db-wal",
                           &world.random);
        support_write_text("state/own.db-check", "");
        fault_t fault;
        feed_t *feed = feed_open("state", &world.node.public_key, &fault);
        if (feed == NULL && strstr(fault.text, "schema version") != NULL)
            continue;
        feed_close(&feed);
        salvage();
        take_stock();
        size_t bodies = world.body_count;
        append_some(); /* and life goes on */
        assert_true(world.bodies[bodies].epoch > world.bodies[EPOCHS * APPENDS - 1].epoch);
        world.record_count -= world.bodies[bodies].count;
        free(world.bodies[--world.body_count].bytes);
        close_world();
    }
}

TEST(a_request_that_is_repeated_afterwards_is_known)
{
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    salvage();
    for (size_t i = 0; i < world.record_count; i += 17) {
        own_feed_item_t item = {.ban = &world.records[i].ban};
        assert_int_equal(own_feed_append(world.origin, &item, 1), 0);
        assert_int_equal(item.result, OWN_FEED_REPEATED);
        assert_int_equal(item.nid, world.records[i].nid);
    }
    close_world();
}

TEST(taking_over_that_was_interrupted_is_done_again)
{
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    damage_copy_all("state", "damaged");
    salvage();
    take_stock();
    assert_int_equal(count_lost(), 0);
    damage_copy_all("state", "done");
    close_world();
    /* As if it had been killed right before the wreck was renamed. */
    damage_copy_all("done", "state");
    damage_copy("damaged/own.db", "state/own.db.wreck");
    salvage_result_t result = salvage();
    assert_string_not_equal(result.name, "");
    assert_int_equal(result.kept, 0);
    take_stock();
    assert_int_equal(count_lost(), 0);
    close_world();
}

TEST(a_feed_that_begins_above_a_floor_stays_one)
{
    open_state();
    feed_ref_t *first = feed_at(world.feed, 0);
    assert_int_equal(feed_keep_head(world.feed, first, first->have, 21, (const uint8_t *)"h", 1),
                     1);
    sqlite3_stmt *drop =
        db_prepare(feed_own_db(world.feed), "DELETE FROM batch WHERE id BETWEEN ? AND ?");
    sqlite3_bind_int64(drop, 1, first->number << 40);
    sqlite3_bind_int64(drop, 2, first->number << 40 | 20);
    assert_int_equal(db_step(feed_own_db(world.feed), drop), 0);
    uint64_t epoch = first->id.epoch;
    feed_close(&world.feed);
    /* The row of the feed and the batches are whole, the header is not. */
    damage_fill("state/own.db", 0, 100);
    salvage_result_t result = salvage();
    feed_ref_t *again = feed_add_own(world.feed, epoch, 0);
    assert_int_equal(again->floor, 21);
    assert_int_equal(again->have, APPENDS);
    assert_int_equal(result.copied, 0);
    take_stock();
    close_world();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_world(without_a_wreck_nothing_is_done),
        in_world(with_its_header_gone_everything_is_taken_over_under_its_number),
        in_world(what_stands_behind_a_lost_batch_is_announced_again_as_what_it_was),
        in_world(a_page_of_nonsense_costs_the_batches_on_it_and_no_other),
        in_world(what_a_killed_process_left_is_taken_over_from_file_and_log),
        in_world(any_damage_leaves_nothing_false_and_it_starts_again),
        in_world(a_request_that_is_repeated_afterwards_is_known),
        in_world(taking_over_that_was_interrupted_is_done_again),
        in_world(a_feed_that_begins_above_a_floor_stays_one),
    };
    return cmocka_run_group_tests_name("salvage", tests, NULL, NULL);
}
