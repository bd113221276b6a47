/* origin: what the hook handed in is on disk, signed, numbered and announced, exactly once. */
#include "forge.h"
#include "nid.h"
#include "own_feed.h"
#include "replica.h"
#include "stored.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    forge_node_t node;
    feed_t *feed;
    own_feed_t *origin;
    size_t published;   /* batches */
    uint64_t last_seq;  /* of the last of them */
    size_t last_events; /* in it */
} world_t;

static world_t world;

/* Everything published is a batch of ours that everybody can verify, and is on disk already. */
static void note_published(void *arg, const uint8_t *envelope, size_t size)
{
    world_t *self = arg;
    wire_t *reader = wire_new(NULL);
    wire_batch_t batch;
    const uint8_t *stored;
    assert_int_equal(wire_verify(reader, forge_envelope(envelope, size)), WIRE_OK);
    assert_int_equal(wire_read_batch(reader, forge_envelope(envelope, size), &batch), WIRE_OK);
    assert_memory_equal(batch.feed.origin.bytes, self->node.public_key.bytes, PUBKEY_BYTES);
    assert_int_equal(feed_read(self->feed, feed_own_current(self->feed), batch.seq, &stored), size);
    assert_memory_equal(stored, envelope, size);
    self->published++;
    self->last_seq = batch.seq;
    self->last_events = batch.event_count;
    wire_destroy(&reader);
}

static void open_world(void)
{
    fault_t fault;
    world.feed = feed_open(".", &world.node.public_key, &replica_tables, &fault);
    if (world.feed == NULL)
        fail_msg("%s", fault.text);
    world.origin = own_feed_new(world.feed, world.node.wire, note_published, &world);
}

static void close_world(void)
{
    own_feed_destroy(&world.origin);
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

static own_feed_item_t append(const ban_t *ban)
{
    own_feed_item_t item = {.ban = ban};
    assert_int_equal(own_feed_append(world.origin, &item, 1), 0);
    return item;
}

/* The event at a place of our current feed. */
static event_t stored_event(uint64_t seq, size_t index)
{
    wire_batch_t batch;
    event_t event;
    wire_t *reader = wire_new(NULL);
    assert_int_equal(stored_batch(world.feed, reader, feed_own_newest(world.feed), seq, &batch),
                     STORED_BATCH);
    assert_int_equal(wire_event(reader, index, &event), EVENT_OK);
    wire_destroy(&reader);
    return event;
}

TEST(a_ban_becomes_an_event_of_its_own)
{
    ban_t ban = support_ban("45.154.244.193");
    own_feed_item_t item = append(&ban);
    event_position_t position = {.epoch = feed_own_current(world.feed)->id.epoch, .seq = 1};
    assert_int_equal(item.result, OWN_FEED_NEW);
    assert_int_equal(item.nid, nid_of(&world.node.public_key, &position));
    assert_int_equal(world.published, 1);
    event_t event = stored_event(1, 0);
    event_t expected = support_ban_event("45.154.244.193");
    support_assert_same_event(&event, &expected);
}

TEST(a_repeated_request_makes_no_event)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t shorter = ban;
    shorter.duration_s = ban.duration_s - 1;
    own_feed_item_t first = append(&ban);
    own_feed_item_t again = append(&ban);
    assert_int_equal(again.result, OWN_FEED_REPEATED);
    assert_int_equal(again.nid, first.nid);
    assert_int_equal(append(&shorter).result, OWN_FEED_REPEATED);
    assert_int_equal(world.published, 1);
    assert_int_equal(feed_own_current(world.feed)->have, 1);
}

TEST(a_longer_ban_of_the_same_time_prolongs_under_the_first_nid)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t longer = ban;
    longer.duration_s = 3600;
    own_feed_item_t first = append(&ban);
    own_feed_item_t second = append(&longer);
    assert_int_equal(second.result, OWN_FEED_PROLONGED);
    assert_int_equal(second.nid, first.nid);
    event_t event = stored_event(2, 0);
    assert_true(event.has_original);
    assert_int_equal(event.original.epoch, feed_own_current(world.feed)->id.epoch);
    assert_int_equal(event.original.seq, 1);
    assert_int_equal(event.ban.duration_s, 3600);
    assert_int_equal(append(&longer).result, OWN_FEED_REPEATED);
    assert_int_equal(append(&ban).result, OWN_FEED_REPEATED);
}

TEST(the_event_that_carries_a_ban_now_is_found)
{
    ban_t ban = support_ban("45.154.244.193");
    event_t event;
    assert_int_equal(own_feed_find(world.origin, &ban, &event), 0);
    snprintf(ban.reason, sizeof ban.reason, "floods the form");
    append(&ban);
    assert_int_equal(own_feed_find(world.origin, &ban, &event), 1);
    assert_string_equal(event.ban.reason, "floods the form");
    ban.duration_s *= 2;
    append(&ban);
    assert_int_equal(own_feed_find(world.origin, &ban, &event), 1);
    assert_int_equal(event.ban.duration_s, ban.duration_s);
    ban.time_ms++;
    assert_int_equal(own_feed_find(world.origin, &ban, &event), 0);
}

TEST(for_ever_is_longer_than_anything)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t for_ever = ban;
    for_ever.duration_s = -1;
    append(&ban);
    assert_int_equal(append(&for_ever).result, OWN_FEED_PROLONGED);
    assert_int_equal(append(&for_ever).result, OWN_FEED_REPEATED);
    ban.duration_s = EVENT_TIME_MAX_MS / 1000;
    assert_int_equal(append(&ban).result, OWN_FEED_REPEATED);
}

TEST(the_second_prolongation_names_the_first_event_too)
{
    ban_t ban = support_ban("45.154.244.193");
    own_feed_item_t first = append(&ban);
    ban.duration_s = 3600;
    append(&ban);
    ban.duration_s = 86400;
    assert_int_equal(append(&ban).nid, first.nid);
    event_t event = stored_event(3, 0);
    assert_int_equal(event.original.seq, 1);
}

TEST(another_time_jail_or_address_is_another_attempt)
{
    ban_t ban = support_ban("45.154.244.193");
    int64_t nid = append(&ban).nid;
    ban.time_ms++;
    own_feed_item_t item = append(&ban);
    assert_int_equal(item.result, OWN_FEED_NEW);
    assert_int_not_equal(item.nid, nid);
    memcpy(ban.jail, "sshe", 5);
    assert_int_equal(append(&ban).result, OWN_FEED_NEW);
    ban.address = support_addr("45.154.244.194");
    assert_int_equal(append(&ban).result, OWN_FEED_NEW);
}

TEST(a_group_becomes_one_batch)
{
    enum { COUNT = 20 };
    ban_t bans[COUNT];
    own_feed_item_t items[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        bans[i] = support_ban("45.154.244.193");
        bans[i].time_ms += (int64_t)(i / 2); /* each twice */
        items[i] = (own_feed_item_t){.ban = &bans[i]};
    }
    assert_int_equal(own_feed_append(world.origin, items, COUNT), 0);
    assert_int_equal(world.published, 1);
    assert_int_equal(world.last_events, COUNT / 2);
    for (size_t i = 0; i < COUNT; i += 2) {
        assert_int_equal(items[i].result, OWN_FEED_NEW);
        assert_int_equal(items[i + 1].result, OWN_FEED_REPEATED);
        assert_int_equal(items[i].nid, items[i + 1].nid);
    }
}

TEST(a_group_of_nothing_new_makes_no_batch)
{
    ban_t ban = support_ban("45.154.244.193");
    own_feed_item_t items[] = {{.ban = &ban}, {.ban = &ban}};
    append(&ban);
    assert_int_equal(own_feed_append(world.origin, items, 2), 0);
    assert_int_equal(world.published, 1);
    assert_int_equal(feed_own_current(world.feed)->have, 1);
}

static void fill_large(ban_t *bans, own_feed_item_t *items)
{
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++) {
        bans[i] = support_ban("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        bans[i].time_ms += (int64_t)i;
        memset(bans[i].jail, 'j', EVENT_NAME_MAX);
        memset(bans[i].port, '1', EVENT_PORT_MAX);
        memset(bans[i].protocol, 'p', EVENT_PROTOCOL_MAX);
        items[i] = (own_feed_item_t){.ban = &bans[i]};
    }
}

TEST(a_group_larger_than_one_batch_makes_several_in_one_commit)
{
    static ban_t bans[WIRE_EVENTS_MAX];
    static own_feed_item_t items[WIRE_EVENTS_MAX];
    fill_large(bans, items);
    assert_int_equal(own_feed_append(world.origin, items, WIRE_EVENTS_MAX), 0);
    assert_true(world.published > 1);
    assert_int_equal(world.last_seq, world.published);
    /* Each nid says where its event is. */
    uint64_t seq = 1;
    uint32_t index = 0;
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++) {
        event_position_t position = {.epoch = feed_own_current(world.feed)->id.epoch,
                                     .seq = seq,
                                     .index = index};
        if (nid_of(&world.node.public_key, &position) != items[i].nid) {
            position.seq = ++seq;
            position.index = index = 0;
        }
        assert_int_equal(items[i].nid, nid_of(&world.node.public_key, &position));
        event_t event = stored_event(seq, index++);
        assert_int_equal(event.ban.time_ms, bans[i].time_ms);
    }
    assert_int_equal(seq, world.last_seq);
}

TEST(all_of_it_is_there_after_a_restart)
{
    ban_t ban = support_ban("45.154.244.193");
    own_feed_item_t first = append(&ban);
    uint64_t epoch = feed_own_current(world.feed)->id.epoch;
    close_world();
    open_world();
    assert_int_equal(feed_own_newest(world.feed)->have, 1);
    own_feed_item_t again = append(&ban);
    assert_int_equal(again.result, OWN_FEED_REPEATED);
    assert_int_equal(again.nid, first.nid);
    ban.duration_s = 3600;
    own_feed_item_t longer = append(&ban);
    assert_int_equal(longer.result, OWN_FEED_PROLONGED);
    assert_int_equal(longer.nid, first.nid);
    assert_true(feed_own_current(world.feed)->id.epoch > epoch);
    event_t event = stored_event(1, 0);
    assert_int_equal(event.original.epoch, epoch);
}

static int append_and_vanish(void *arg)
{
    static ban_t bans[WIRE_EVENTS_MAX];
    static own_feed_item_t items[WIRE_EVENTS_MAX];
    (void)arg;
    open_world();
    fill_large(bans, items);
    return own_feed_append(world.origin, items, WIRE_EVENTS_MAX) == 0 ? 0 : 1;
}

TEST(a_process_killed_right_after_keeps_the_whole_group)
{
    static ban_t bans[WIRE_EVENTS_MAX];
    static own_feed_item_t items[WIRE_EVENTS_MAX];
    close_world();
    assert_int_equal(support_exit_status(append_and_vanish, NULL), 0);
    open_world();
    fill_large(bans, items);
    assert_int_equal(own_feed_append(world.origin, items, WIRE_EVENTS_MAX), 0);
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++)
        assert_int_equal(items[i].result, OWN_FEED_REPEATED);
    assert_int_equal(world.published, 0);
}

static int64_t run_pragma(const char *pragma)
{
    sqlite3_stmt *statement = db_prepare(feed_own_db(world.feed), pragma);
    assert_int_equal(db_step(feed_own_db(world.feed), statement), 1);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

/* No room at all, or for the first batch of the group only. */
static void fill_disk(int64_t free_pages)
{
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA max_page_count = %lld",
             (long long)(run_pragma("PRAGMA page_count") + free_pages));
    run_pragma(pragma);
}

TEST(a_full_disk_keeps_and_announces_nothing_of_a_group)
{
    static const int64_t free_pages[] = {0, 24};
    static ban_t bans[WIRE_EVENTS_MAX];
    static own_feed_item_t items[WIRE_EVENTS_MAX];
    ban_t ban = support_ban("45.154.244.193");
    append(&ban);
    fill_large(bans, items);
    for (size_t i = 0; i < sizeof free_pages / sizeof free_pages[0]; i++) {
        fill_disk(free_pages[i]);
        assert_int_equal(own_feed_append(world.origin, items, WIRE_EVENTS_MAX), -1);
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(world.published, 1);
        assert_int_equal(feed_own_current(world.feed)->have, 1);
    }
    fill_disk(1000000);
    assert_int_equal(own_feed_append(world.origin, items, WIRE_EVENTS_MAX), 0);
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++)
        assert_int_equal(items[i].result, OWN_FEED_NEW);
}

TEST(a_channel_of_ours_counts_without_gaps)
{
    for (int64_t i = 0; i < 50; i++) {
        ban_t ban = support_ban("45.154.244.193");
        ban.time_ms += i;
        append(&ban);
        assert_int_equal(world.last_seq, i + 1);
    }
}

TEST(pruning_keeps_what_is_young)
{
    ban_t ban = support_ban("45.154.244.193");
    append(&ban);
    assert_int_equal(own_feed_prune(world.origin, wall_now()), 0);
    assert_int_equal(append(&ban).result, OWN_FEED_REPEATED);
}

/* ---- unbans ---- */

static own_feed_item_t lift(const ban_t *ban, int64_t at_ms)
{
    own_feed_item_t item = {.ban = ban, .is_unban = true, .at_ms = at_ms};
    assert_int_equal(own_feed_append(world.origin, &item, 1), 0);
    return item;
}

TEST(an_unban_is_a_pardon_that_names_the_first_event_of_its_attempt)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t longer = ban;
    longer.duration_s = 3600;
    int64_t nid = append(&ban).nid;
    append(&longer);
    own_feed_item_t item = lift(&ban, 1795288030000);
    assert_int_equal(item.result, OWN_FEED_LIFTED);
    assert_int_equal(item.nid, nid);
    event_t event = stored_event(3, 0);
    assert_int_equal(event.kind, EVENT_PARDON);
    assert_false(event.has_original);
    assert_true(addr_equal(&event.grace.network, &ban.address));
    assert_int_equal(event.grace.time_ms, 1795288030000);
    assert_int_equal(event.grace.until_ms, 0);
    assert_string_equal(event.grace.text, "unban");
    assert_int_equal(event.grace.ban_count, 1);
    assert_int_equal(event.grace.bans[0].epoch, feed_own_current(world.feed)->id.epoch);
    assert_int_equal(event.grace.bans[0].seq, 1);
    assert_int_equal(event.grace.bans[0].index, 0);
    event_t told = own_feed_pardon(&item);
    support_assert_same_event(&told, &event);
    assert_true(event_position_equal(&told.original, &event.original));
}

TEST(the_time_of_an_unban_is_not_one_to_come)
{
    ban_t ban = support_ban("45.154.244.193");
    append(&ban);
    int64_t before_ms = wall_now().ms;
    lift(&ban, EVENT_TIME_MAX_MS);
    assert_in_range(stored_event(2, 0).grace.time_ms, before_ms, wall_now().ms);
}

TEST(a_ban_that_was_lifted_stays_so_also_after_a_restart)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t longer = ban;
    longer.duration_s = -1;
    int64_t nid = append(&ban).nid;
    lift(&ban, 1);
    for (int round = 0; round < 2; round++) {
        const own_feed_item_t again[] = {lift(&ban, 2), append(&ban), append(&longer)};
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(again[i].result, OWN_FEED_REPEATED);
            assert_true(again[i].lifted);
            assert_int_equal(again[i].nid, nid);
        }
        close_world();
        open_world();
    }
    assert_int_equal(world.published, 2);
}

TEST(a_later_ban_of_the_same_address_is_not_lifted)
{
    ban_t ban = support_ban("45.154.244.193");
    append(&ban);
    lift(&ban, 1);
    ban.time_ms++;
    own_feed_item_t item = append(&ban);
    assert_int_equal(item.result, OWN_FEED_NEW);
    assert_false(item.lifted);
    memcpy(ban.jail, "recidive", 9);
    append(&ban);
    assert_int_equal(lift(&ban, 1).result, OWN_FEED_LIFTED);
    memcpy(ban.jail, "sshd", 5);
    assert_false(append(&ban).lifted);
}

TEST(an_unban_of_what_was_never_announced_makes_no_event)
{
    ban_t ban = support_ban("45.154.244.193");
    own_feed_item_t item = lift(&ban, 1);
    assert_int_equal(item.result, OWN_FEED_UNKNOWN);
    assert_int_equal(item.nid, 0);
    assert_int_equal(world.published, 0);
    assert_int_equal(append(&ban).result, OWN_FEED_NEW); /* it is no word about what is to come */
}

/* As they stand in the spool. */
TEST(a_group_is_taken_in_its_order)
{
    enum { COUNT = 5 };
    static const own_feed_result_t expected[COUNT] = {OWN_FEED_UNKNOWN, OWN_FEED_NEW,
                                                      OWN_FEED_LIFTED, OWN_FEED_REPEATED,
                                                      OWN_FEED_REPEATED};
    ban_t ban = support_ban("45.154.244.193");
    own_feed_item_t items[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        items[i] = (own_feed_item_t){.ban = &ban, .is_unban = i % 2 == 0, .at_ms = 1};
    assert_int_equal(own_feed_append(world.origin, items, COUNT), 0);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(items[i].result, expected[i]);
    assert_int_equal(world.published, 1);
    assert_int_equal(world.last_events, 2);
    assert_int_equal(stored_event(1, 1).grace.bans[0].index, 0);
}

TEST(a_group_whose_bans_fill_several_batches_is_lifted_in_the_same_commit)
{
    static ban_t bans[WIRE_EVENTS_MAX];
    static own_feed_item_t items[WIRE_EVENTS_MAX];
    fill_large(bans, items);
    for (size_t i = 0; i < WIRE_EVENTS_MAX / 2; i++)
        items[WIRE_EVENTS_MAX / 2 + i] =
            (own_feed_item_t){.ban = &bans[i], .is_unban = true, .at_ms = 1};
    assert_int_equal(own_feed_append(world.origin, items, WIRE_EVENTS_MAX), 0);
    for (size_t i = 0; i < WIRE_EVENTS_MAX / 2; i++) {
        assert_int_equal(items[WIRE_EVENTS_MAX / 2 + i].result, OWN_FEED_LIFTED);
        assert_int_equal(items[WIRE_EVENTS_MAX / 2 + i].nid, items[i].nid);
    }
}

TEST(an_unban_that_could_not_be_stored_is_not_remembered)
{
    ban_t ban = support_ban("45.154.244.193");
    append(&ban);
    fill_disk(0);
    own_feed_item_t item = {.ban = &ban, .is_unban = true, .at_ms = 1};
    int rc = own_feed_append(world.origin, &item, 1);
    fill_disk(1000000);
    if (rc == -1) {
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(lift(&ban, 1).result, OWN_FEED_LIFTED);
    }
    assert_int_equal(lift(&ban, 1).result, OWN_FEED_REPEATED);
    assert_int_equal(world.published, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_world(a_ban_becomes_an_event_of_its_own),
        in_world(a_repeated_request_makes_no_event),
        in_world(a_longer_ban_of_the_same_time_prolongs_under_the_first_nid),
        in_world(the_event_that_carries_a_ban_now_is_found),
        in_world(for_ever_is_longer_than_anything),
        in_world(the_second_prolongation_names_the_first_event_too),
        in_world(another_time_jail_or_address_is_another_attempt),
        in_world(a_group_becomes_one_batch),
        in_world(a_group_of_nothing_new_makes_no_batch),
        in_world(a_group_larger_than_one_batch_makes_several_in_one_commit),
        in_world(all_of_it_is_there_after_a_restart),
        in_world(a_process_killed_right_after_keeps_the_whole_group),
        in_world(a_full_disk_keeps_and_announces_nothing_of_a_group),
        in_world(a_channel_of_ours_counts_without_gaps),
        in_world(pruning_keeps_what_is_young),
        in_world(an_unban_is_a_pardon_that_names_the_first_event_of_its_attempt),
        in_world(the_time_of_an_unban_is_not_one_to_come),
        in_world(a_ban_that_was_lifted_stays_so_also_after_a_restart),
        in_world(a_later_ban_of_the_same_address_is_not_lifted),
        in_world(an_unban_of_what_was_never_announced_makes_no_event),
        in_world(a_group_is_taken_in_its_order),
        in_world(a_group_whose_bans_fill_several_batches_is_lifted_in_the_same_commit),
        in_world(an_unban_that_could_not_be_stored_is_not_remembered),
    };
    return cmocka_run_group_tests_name("origin", tests, NULL, NULL);
}
