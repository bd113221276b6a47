/* salvage: of a damaged own.db every ban that SQLite can still read is taken over, as a copy that
 * says which it was; no number ever gets two bodies, no nid two bans, and what a peer has fits in.
 */
#include "damage.h"
#include "forge.h"
#include "nid.h"
#include "own_feed.h"
#include "replica.h"
#include "salvage.h"

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
    size_t index;
    bool found;
} record_t;

/* A batch as it was announced. */
typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint8_t *bytes;
    size_t size;
    size_t first; /* its bans among the records */
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
    *body = (body_t){batch.feed.epoch, batch.seq, xmalloc(size), size, 0, 0};
    memcpy(body->bytes, envelope, size);
}

static void open_state(void)
{
    fault_t fault;
    world.feed = feed_open("state", &world.node.public_key, &replica_tables, &fault);
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
        record_t *record = &world.records[world.record_count];
        *record = (record_t){.ban = new_ban(), .index = world.record_count++};
        items[i] = (own_feed_item_t){.ban = &record->ban};
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
    world.records[record->index].found = true;
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

static size_t count_lost_batches(size_t bodies)
{
    size_t lost = 0;
    for (size_t i = 0; i < bodies; i++)
        lost += !world.records[world.bodies[i].first].found;
    return lost;
}

static void mark(void)
{
    support_write_text("state/own.db-check", "");
}

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(file, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(handle));
    sqlite3_close(handle);
}

/* ---- tests ---- */

TEST(without_a_wreck_nothing_is_done)
{
    salvage_result_t result = salvage();
    assert_string_equal(result.name, "");
    assert_int_equal(result.batches, 0);
    assert_null(feed_own_current(world.feed));
    take_stock();
    assert_int_equal(count_lost(), 0);
    close_world();
}

TEST(what_stands_around_a_lost_batch_is_announced_again_as_what_it_was)
{
    const body_t *lost = find_body(world.bodies[0].epoch, 5);
    char text[16];
    memcpy(text, lost->bytes + lost->size - 16, sizeof text); /* of its signature */
    size_t size;
    char *bytes = support_read("state/own.db", &size);
    for (char *at = bytes; (at = memmem(at, size - (size_t)(at - bytes), text, sizeof text));)
        *at = (char)~*at;
    support_write("state/own.db", bytes, size);
    mark();
    free(bytes);
    salvage_result_t result = salvage();
    const feed_ref_t *newest = feed_own_current(world.feed);
    assert_non_null(newest);
    assert_true(newest->id.epoch > world.bodies[world.body_count - 1].epoch);
    assert_int_equal(result.batches, world.body_count - 1);
    assert_int_equal(result.copied, world.record_count - lost->count);
    assert_true(support_exists(result.name));
    assert_null(state_wreck(feed_state(world.feed)));
    take_stock();
    assert_int_equal(count_lost(), lost->count);
    for (size_t i = 0; i < lost->count; i++)
        assert_false(world.records[lost->first + i].found);
    close_world();
    assert_string_equal(salvage().name, "");
    close_world();
}

/* Pardons are copied, too, and the intake knows of them again. */
TEST(what_was_lifted_stays_lifted)
{
    ban_t ban = new_ban();
    own_feed_item_t items[] = {{.ban = &ban}, {.ban = &ban, .is_unban = true}};
    open_world();
    assert_int_equal(own_feed_append(world.origin, items, 2), 0);
    int64_t nid = items[1].nid;
    close_world();
    assert_int_equal(rename("state/own.db", "state/own.db.wreck"), 0);
    salvage_result_t result = salvage();
    assert_int_equal(result.copied, world.record_count + 2);
    assert_int_equal(own_feed_append(world.origin, items, 2), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(items[i].result, OWN_FEED_REPEATED);
        assert_true(items[i].lifted);
        assert_int_equal(items[i].nid, nid);
    }
    close_world();
}

/* A page of rows costs those; one that a large batch goes on, that batch. */
TEST(a_page_of_nonsense_costs_the_batches_on_it_and_no_other)
{
    sqlite3 *handle;
    sqlite3_stmt *page;
    size_t bodies = world.body_count;
    assert_int_equal(sqlite3_open("closed/own.db", &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle,
                                        "SELECT pageno, iif (pagetype = 'leaf', ncell, 1) "
                                        "FROM dbstat WHERE name = 'batch' AND "
                                        "pagetype IN ('leaf', 'overflow')",
                                        -1, &page, NULL),
                     SQLITE_OK);
    int pages = 0;
    for (; sqlite3_step(page) == SQLITE_ROW; pages++) {
        size_t at = (size_t)(sqlite3_column_int64(page, 0) - 1) * DAMAGE_PAGE_BYTES;
        damage_copy_all("closed", "state");
        damage_fill("state/own.db", at, DAMAGE_PAGE_BYTES);
        mark();
        salvage();
        take_stock();
        assert_in_range(count_lost_batches(bodies), 1, sqlite3_column_int64(page, 1));
        close_world();
    }
    assert_true(pages > 10);
    sqlite3_finalize(page);
    sqlite3_close(handle);
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
        /* What stands behind that frame is lost, the earlier epochs are not. */
        for (size_t i = 0; i < (EPOCHS - 1) * APPENDS; i++)
            assert_true(world.records[world.bodies[i].first].found);
        close_world();
    }
}

/* ---- any damage, and what it costs ---- */

/* A peer had the beginning of an epoch; that comes back under its own numbers. */
static void bring_back(const body_t *first, uint64_t count)
{
    feed_id_t id = {.epoch = first->epoch};
    id.origin = world.node.public_key;
    const feed_ref_t *feed = feed_add(world.feed, &id);
    assert_non_null(feed);
    if (feed->own_db) /* that epoch was not damaged at all */
        return;
    assert_int_equal(db_begin(feed_peers_db(world.feed)), 0);
    for (const body_t *body = first; body < first + count; body++)
        assert_int_equal(feed_store(world.feed, feed, body->seq, body->bytes, body->size), 0);
    assert_int_equal(db_commit(feed_peers_db(world.feed)), 0);
}

static void assert_nothing_lost_that_a_peer_has(uint64_t *random)
{
    uint64_t counts[EPOCHS];
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        counts[epoch] = support_random(random) % (APPENDS + 1);
        bring_back(&world.bodies[epoch * APPENDS], counts[epoch]);
    }
    take_stock();
    for (size_t i = 0; i < EPOCHS * APPENDS; i++)
        if (i % APPENDS < counts[i / APPENDS])
            for (size_t k = 0; k < world.bodies[i].count; k++)
                assert_true(world.records[world.bodies[i].first + k].found);
}

/* Life goes on, in an epoch that is later than any. */
static void assert_goes_on(void)
{
    size_t bodies = world.body_count;
    append_some();
    assert_true(world.bodies[bodies].epoch > world.bodies[EPOCHS * APPENDS - 1].epoch);
    world.record_count -= world.bodies[bodies].count;
    free(world.bodies[--world.body_count].bytes);
}

static double share_saved(void)
{
    take_stock();
    return 1 - (double)count_lost() / (double)world.record_count;
}

typedef struct {
    double saved; /* sum of shares */
    int rounds;
} tally_t;

/* The same damage for the same seed and round, whatever became of the rounds before. */
static void damage_and_salvage(uint64_t seed, int round, int damages, tally_t *tally)
{
    uint64_t random = seed + 1000003UL * (uint64_t)round;
    fault_t fault;
    for (int i = 0; i < 4; i++)
        support_random(&random);
    damage_copy_all(round % 2 == 0 ? "killed" : "closed", "state");
    for (int i = 0; i < damages; i++)
        damage_somehow(support_random(&random) % 2 == 0 ? "state/own.db" : "state/own.db-wal",
                       &random);
    mark();
    feed_t *feed = feed_open("state", &world.node.public_key, &replica_tables, &fault);
    if (feed == NULL && strstr(fault.text, "schema version") != NULL)
        return;
    feed_close(&feed);
    salvage();
    tally->rounds++;
    tally->saved += share_saved();
    assert_nothing_lost_that_a_peer_has(&random);
    assert_goes_on();
    close_world();
}

static void damage_often(int damages)
{
    const char *is_long = getenv("BANMESH_LONG");
    int rounds = is_long != NULL && strcmp(is_long, "1") == 0 ? 10000 : 40;
    uint64_t seed = world.random;
    tally_t tally = {0};
    for (int round = 0; round < rounds; round++)
        damage_and_salvage(seed, round, damages, &tally);
    print_message(
        "%d accidents of %d each: of the bans that only this disk had, %.1f %% were taken "
        "over\n",
        tally.rounds, damages, 100 * tally.saved / tally.rounds);
}

TEST(one_damage_leaves_nothing_false_and_nothing_is_lost_that_a_peer_has)
{
    damage_often(1);
}

TEST(any_damage_leaves_nothing_false_and_nothing_is_lost_that_a_peer_has)
{
    damage_often(3);
}

TEST(what_sqlite_refuses_as_a_whole_is_set_aside_and_life_goes_on)
{
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    salvage_result_t result = salvage();
    assert_int_equal(result.batches, 0);
    assert_true(support_exists(result.name));
    assert_null(state_wreck(feed_state(world.feed)));
    take_stock();
    assert_int_equal(count_lost(), world.record_count);
    assert_goes_on();
    close_world();
}

/* As .recover makes it: some rows in their table, some of which it cannot tell the table, and no
 * application_id. */
TEST(what_recover_found_is_taken_over_once)
{
    salvage_result_t result;
    fault_t fault;
    run_sql("new.db", "ATTACH 'closed/own.db' AS old; "
                      "CREATE TABLE batch (id INTEGER PRIMARY KEY, envelope BLOB, sum INTEGER); "
                      "INSERT INTO batch SELECT * FROM old.batch WHERE id % 3 > 0; "
                      "CREATE TABLE lost_and_found (rootpgno INTEGER, pgno INTEGER, "
                      " nfield INTEGER, id INTEGER, c0, c1, c2); "
                      "INSERT INTO lost_and_found SELECT 4, 9, 3, id, NULL, envelope, sum "
                      " FROM old.batch WHERE id % 3 = 0");
    damage_fill("state/own.db", 0, DAMAGE_PAGE_BYTES);
    salvage();
    assert_int_equal(salvage_file(world.feed, world.node.wire, "new.db", &result, &fault), 0);
    assert_int_equal(result.batches, world.body_count);
    assert_int_equal(result.copied, world.record_count);
    take_stock();
    assert_int_equal(count_lost(), 0);
    uint64_t have = feed_own_current(world.feed)->have;
    assert_int_equal(salvage_file(world.feed, world.node.wire, "new.db", &result, &fault), 0);
    assert_int_equal(result.copied, 0);
    assert_int_equal(feed_own_current(world.feed)->have, have);
    close_world();
}

TEST(what_is_no_database_is_refused_in_words)
{
    salvage_result_t result;
    fault_t fault;
    open_world();
    support_write_text("text",
                       "This is not a database, and longer than a header: it goes on and on "
                       "until there are more than a hundred characters in it.");
    assert_int_equal(salvage_file(world.feed, world.node.wire, "text", &result, &fault), -1);
    assert_string_equal(fault.text, "text: file is not a database");
    assert_int_equal(salvage_file(world.feed, world.node.wire, "nothing", &result, &fault), -1);
    assert_string_equal(fault.text, "nothing: unable to open database file");
    assert_false(support_exists("nothing"));
    close_world();
}

TEST(a_request_that_is_repeated_afterwards_is_known)
{
    run_sql("state/own.db", "UPDATE feed SET floor = 5");
    mark();
    assert_int_equal(salvage().copied, world.record_count);
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
    run_sql("state/own.db", "UPDATE feed SET floor = 5");
    mark();
    damage_copy_all("state", "damaged");
    assert_int_equal(salvage().copied, world.record_count);
    take_stock();
    assert_int_equal(count_lost(), 0);
    damage_copy_all("state", "done");
    close_world();
    /* As if it had been killed right before the wreck was renamed. */
    damage_copy_all("done", "state");
    damage_copy("damaged/own.db", "state/own.db.wreck");
    salvage_result_t result = salvage();
    assert_string_not_equal(result.name, "");
    assert_int_equal(result.batches, world.body_count);
    assert_int_equal(result.copied, 0);
    take_stock();
    assert_int_equal(count_lost(), 0);
    close_world();
}

/* Its clock may be behind, and what is there is older than what it told. */
TEST(the_new_epoch_is_later_than_any_that_is_found)
{
    run_sql("state/own.db", "UPDATE feed SET floor = 5");
    mark();
    open_state();
    feed_id_t id = {.epoch = (uint64_t)wall_now().ms + 86400000};
    id.origin = world.node.public_key;
    event_t event = {.kind = EVENT_BAN, .ban = new_ban()};
    static uint8_t bytes[WIRE_ENVELOPE_MAX];
    wire_batch_t batch = {.feed = id, .seq = 1, .event_count = 1};
    size_t size = wire_write_batch(world.node.wire, &batch, &event, bytes);
    sqlite3 *handle;
    sqlite3_stmt *insert;
    assert_int_equal(sqlite3_open("state/own.db.wreck", &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, "INSERT INTO batch VALUES (9000000000000, ?, 1)",
                                        -1, &insert, NULL),
                     SQLITE_OK);
    sqlite3_bind_blob(insert, 1, bytes, (int)size, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
    sqlite3_finalize(insert);
    sqlite3_close(handle);
    feed_close(&world.feed);
    assert_int_equal(salvage().copied, world.record_count + 1);
    assert_int_equal(feed_own_current(world.feed)->id.epoch, id.epoch + 1);
    close_world();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_world(without_a_wreck_nothing_is_done),
        in_world(what_stands_around_a_lost_batch_is_announced_again_as_what_it_was),
        in_world(what_was_lifted_stays_lifted),
        in_world(a_page_of_nonsense_costs_the_batches_on_it_and_no_other),
        in_world(what_a_killed_process_left_is_taken_over_from_file_and_log),
        in_world(one_damage_leaves_nothing_false_and_nothing_is_lost_that_a_peer_has),
        in_world(any_damage_leaves_nothing_false_and_nothing_is_lost_that_a_peer_has),
        in_world(what_sqlite_refuses_as_a_whole_is_set_aside_and_life_goes_on),
        in_world(what_recover_found_is_taken_over_once),
        in_world(what_is_no_database_is_refused_in_words),
        in_world(a_request_that_is_repeated_afterwards_is_known),
        in_world(taking_over_that_was_interrupted_is_done_again),
        in_world(the_new_epoch_is_later_than_any_that_is_found),
    };
    return cmocka_run_group_tests_name("salvage", tests, NULL, NULL);
}
