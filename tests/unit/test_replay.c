/* replay: what is answered, how much of it, and to whom. No socket: answers are caught here. */
#include "quota.h"
#include "replay.h"
#include "world.h"

#include <string.h>

#define SENT_MAX 400

static replica_t *replica;
static digest_t *digest;
static replay_t *replay;
static forged_t request;
static struct {
    uint8_t *bytes;
    size_t size;
} sent[SENT_MAX];
static size_t sent_count;
static size_t room;   /* messages until the way is full */
static bool recovers; /* after one that did not get through, there is room again */
static wire_bundle_t bundle;

static bool catch (void *to, const uint8_t *bytes, size_t size)
{
    assert_ptr_equal(to, &room);
    if (room == 0) {
        room = recovers ? SENT_MAX : 0;
        return false;
    }
    room--;
    assert_true(sent_count < SENT_MAX);
    sent[sent_count].bytes = memcpy(xmalloc(size), bytes, size);
    sent[sent_count++].size = size;
    return true;
}

static void forget_sent(void)
{
    while (sent_count > 0)
        free(sent[--sent_count].bytes);
}

static int start(void **state)
{
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    const replica_config_t in = {.feed = world.feed, .wire = world.wire};
    replica = replica_new(&in, world.trust, &world.settings, &fault);
    if (replica == NULL)
        return -1;
    digest = digest_new(world.feed);
    const replay_config_t out = {.feed = world.feed,
                                 .wire = world.wire,
                                 .replica = replica,
                                 .digest = digest};
    replay = replay_new(&out);
    room = SENT_MAX;
    recovers = false;
    return 0;
}

static int end(void **state)
{
    forget_sent();
    replay_destroy(&replay);
    digest_destroy(&digest);
    replica_destroy(&replica);
    return world_end(state);
}

#define with_replay(name) cmocka_unit_test_setup_teardown(name, start, end)

static void ask(int node)
{
    static const replay_way_t way = {catch, &room, NULL};
    forget_sent();
    replay_answer(replay, &way, world_node(node), forge_open(&request));
}

static wire_done_t fetch(const feed_id_t *feed, uint64_t after, uint32_t credit)
{
    wire_fetch_t body = {*feed, after, credit};
    wire_done_t done;
    request.size = wire_write_fetch(world.nodes[MX1].wire, &body, request.bytes);
    room = SENT_MAX;
    ask(MX1);
    assert_true(sent_count > 0);
    assert_int_equal(wire_read_done(world.wire,
                                    forge_envelope(sent[sent_count - 1].bytes,
                                                   sent[sent_count - 1].size),
                                    &done),
                     WIRE_OK);
    world_assert_feed(&done.feed, feed);
    return done;
}

static void survey(int node)
{
    static const wire_survey_t all = {.all = true};
    request.size = wire_write_survey(world.nodes[node].wire, &all, request.bytes);
    ask(node);
}

/* A survey of mx1, which knows what `known` says. */
static void survey_differences(const wire_survey_t *known)
{
    request.size = wire_write_survey(world.nodes[MX1].wire, known, request.bytes);
    ask(MX1);
}

/* One batch of an answer: the next in order. */
static void assert_batch(const uint8_t *bytes, size_t size, uint64_t seq)
{
    wire_batch_t batch;
    assert_int_equal(wire_verify(world.wire, forge_envelope(bytes, size)), WIRE_OK);
    assert_int_equal(wire_read_batch(world.wire, forge_envelope(bytes, size), &batch), WIRE_OK);
    assert_int_equal(batch.seq, seq);
}

/* All batches of the answer, whether alone or many in one message; returns the last one's number.
 */
static uint64_t read_batches(uint64_t after)
{
    for (size_t i = 0; i + 1 < sent_count; i++) {
        size_t offset = 0;
        if (forge_envelope(sent[i].bytes, sent[i].size)->kind == WIRE_BATCH) {
            assert_batch(sent[i].bytes, sent[i].size, ++after);
            continue;
        }
        assert_int_equal(wire_verify(world.wire, forge_envelope(sent[i].bytes, sent[i].size)),
                         WIRE_OK);
        assert_int_equal(wire_read_bundle(world.wire, forge_envelope(sent[i].bytes, sent[i].size),
                                          &bundle),
                         WIRE_OK);
        for (size_t j = 0; j < bundle.count; offset += bundle.sizes[j++])
            assert_batch(bundle.bytes + offset, bundle.sizes[j], ++after);
    }
    return after;
}

/* Batches of one feed of mx2 with so many bans each. */
static const feed_ref_t *store_batches(uint64_t count, size_t bans)
{
    static event_t events[WIRE_EVENTS_MAX];
    static forged_t envelope;
    const feed_ref_t *ref = world_feed(MX2);
    for (size_t i = 0; i < bans; i++)
        events[i] = support_ban_event("45.154.244.1");
    assert_int_equal(db_begin(feed_peers_db(world.feed)), 0);
    while (ref->have < count) {
        wire_batch_t batch = {.feed = ref->id, .seq = ref->have + 1, .event_count = bans};
        envelope.size = wire_write_batch(world.nodes[MX2].wire, &batch, events, envelope.bytes);
        assert_int_equal(feed_store(world.feed, ref, ref->have + 1, envelope.bytes, envelope.size),
                         0);
    }
    assert_int_equal(db_commit(feed_peers_db(world.feed)), 0);
    return ref;
}

TEST(small_batches_travel_many_in_one_message)
{
    const feed_ref_t *ref = store_batches(1000, 1);
    wire_done_t done = fetch(&ref->id, 0, 16384);
    assert_int_equal(done.through, 1000);
    assert_int_equal(done.have, 1000);
    assert_int_equal(done.oldest, 1);
    assert_int_equal(read_batches(0), 1000);
    assert_in_range(sent_count, 2, 1000 / 200 + 2);
    assert_int_equal(replay_counters(replay)->batches_sent, 1000);
}

TEST(large_batches_travel_alone_and_in_their_place)
{
    const feed_ref_t *ref = store_batches(5, 1);
    store_batches(8, WIRE_EVENTS_MAX);
    store_batches(12, 1);
    assert_int_equal(fetch(&ref->id, 0, 16384).through, 12);
    assert_int_equal(read_batches(0), 12);
    assert_int_equal(sent_count, 1 + 3 + 1 + 1);
}

TEST(a_single_small_batch_travels_as_it_is)
{
    const feed_ref_t *ref = store_batches(5, 1);
    assert_int_equal(fetch(&ref->id, 4, 16384).through, 5);
    assert_int_equal(sent_count, 2);
    assert_int_equal(forge_envelope(sent[0].bytes, sent[0].size)->kind, WIRE_BATCH);
    assert_int_equal(read_batches(4), 5);
}

TEST(credit_is_kept_to)
{
    const feed_ref_t *ref = store_batches(100, 1);
    assert_int_equal(fetch(&ref->id, 10, 7).through, 17);
    assert_int_equal(read_batches(10), 17);
}

TEST(an_answer_fits_half_a_queue_and_says_how_far_it_went)
{
    const feed_ref_t *ref = store_batches(200, WIRE_EVENTS_MAX);
    wire_done_t done = fetch(&ref->id, 0, 16384);
    assert_in_range(done.through, 20, 199);
    assert_int_equal(read_batches(0), done.through);
    assert_true(sent_count <= LINK_ANSWER_MAX + 1); /* with the DONE */
    while (done.through < done.have) {
        uint64_t after = done.through;
        done = fetch(&ref->id, after, 16384);
        assert_int_equal(read_batches(after), done.through);
    }
    assert_int_equal(done.through, 200);
}

TEST(an_answer_is_cut_where_the_way_is_full)
{
    const feed_ref_t *ref = store_batches(2000, 1);
    static const replay_way_t way = {catch, &room, NULL};
    wire_fetch_t body = {ref->id, 0, 16384};
    request.size = wire_write_fetch(world.nodes[MX1].wire, &body, request.bytes);
    for (size_t had = 0; had < 4; had++) {
        room = had;
        forget_sent();
        replay_answer(replay, &way, world_node(MX1), forge_open(&request));
        assert_int_equal(sent_count, had);
    }
    assert_in_range(replay_counters(replay)->dropped, 4, 8); /* the DONE, too */
}

/* What was gathered and did not get through was not sent, though the DONE behind it was. */
TEST(through_tells_the_truth_where_the_way_was_full_for_a_moment)
{
    const feed_ref_t *ref = store_batches(2000, 1);
    for (size_t had = 0; had < 4; had++) {
        wire_fetch_t body = {ref->id, 0, 16384};
        wire_done_t done;
        request.size = wire_write_fetch(world.nodes[MX1].wire, &body, request.bytes);
        room = had;
        recovers = true;
        ask(MX1);
        assert_int_equal(sent_count, had + 1);
        assert_int_equal(wire_read_done(world.wire, forge_envelope(sent[had].bytes, sent[had].size),
                                        &done),
                         WIRE_OK);
        assert_int_equal(done.through, read_batches(0));
        assert_int_equal(done.have, 2000);
    }
}

TEST(a_feed_that_is_not_held_is_answered_with_nothing)
{
    feed_id_t stranger = {.origin = {{9}}, .epoch = 5};
    wire_done_t done = fetch(&stranger, 7, 1);
    assert_int_equal(sent_count, 1);
    assert_int_equal(done.through, 7);
    assert_int_equal(done.have, 0);
}

TEST(who_asks_for_what_is_gone_is_told_where_it_goes_on)
{
    const feed_ref_t *ref = world_feed(MX2);
    world_keep_head(MX2, 20, 11);
    world_store(MX2, 15);
    wire_done_t done = fetch(&ref->id, 3, 16384);
    assert_int_equal(done.oldest, 11);
    assert_int_equal(done.through, 3);
    assert_int_equal(sent_count, 1);
    done = fetch(&ref->id, 10, 16384);
    assert_int_equal(done.through, 15);
    assert_int_equal(read_batches(10), 15);
}

/* Until one brings nothing: how many did. */
static size_t fetch_all_that_is_allowed(const feed_ref_t *ref)
{
    size_t count = 0;
    while (fetch(&ref->id, 0, 1).through == 1)
        count++;
    assert_int_equal(sent_count, 1);
    return count;
}

TEST(who_asks_too_much_gets_empty_answers_for_a_while)
{
    const feed_ref_t *ref = store_batches(3, 1);
    assert_true(fetch_all_that_is_allowed(ref) >= QUOTA_REQUESTS_BURST);
    assert_int_equal(replay_counters(replay)->put_off, 1);
    do { /* a slow machine leaves time for one more request */
        fetch_all_that_is_allowed(ref);
        survey(MX1);
    } while (sent_count > 0);
    survey(MX2);                     /* others are not touched by that */
    assert_int_equal(sent_count, 1); /* no head is held: the newest batch shows what there is */
    world_keep_head(MX2, 3, 1);
    survey(MX2);
    assert_int_equal(sent_count, 1);
}

TEST(a_request_signed_by_another_is_not_answered)
{
    survey(MX1);
    ask(MX2);
    assert_int_equal(sent_count, 0);
    assert_int_equal(replica_counters(replica)->refused[REPLICA_WRONG_PEER], 1);
    request.bytes[request.size - 1] ^= 1;
    ask(MX1);
    assert_int_equal(sent_count, 0);
    assert_int_equal(replica_counters(replica)->refused_wire[WIRE_BAD_SIGNATURE], 1);
    assert_int_equal(replay_counters(replay)->surveys, 1);
}

/* The only envelope of the answer, whoever signed it. */
static wire_head_t only_head(void)
{
    wire_head_t head = {0};
    assert_int_equal(sent_count, 1);
    assert_int_equal(wire_read_head(world.wire, forge_envelope(sent[0].bytes, sent[0].size), &head),
                     WIRE_OK);
    return head;
}

TEST(who_knows_the_same_is_sent_nothing)
{
    wire_survey_t known;
    world_store(MX1, 3);
    world_store(MX2, 5);
    world_keep_head(MX2, 5, 1);
    digest_fill(digest, false, &known);
    survey_differences(&known);
    assert_int_equal(sent_count, 0);
    assert_int_equal(replay_counters(replay)->surveys, 1);
    assert_int_equal(replay_counters(replay)->heads_sent, 0);
}

TEST(who_knows_less_is_sent_the_bucket_that_differs)
{
    wire_survey_t known;
    world_store(MX1, 3);
    world_keep_head(MX1, 3, 1);
    world_store(MX2, 5);
    digest_fill(digest, false, &known);
    world_keep_head(MX2, 7, 1);
    survey_differences(&known);
    assert_int_equal(only_head().seq, 7);
    assert_memory_equal(only_head().feed.origin.bytes, world.nodes[MX2].public_key.bytes,
                        PUBKEY_BYTES);
    assert_int_equal(replay_counters(replay)->heads_sent, 1);
}

/* Its origin died before it signed a head for it: the batch shows what there is. */
TEST(last_words_come_where_a_bucket_differs)
{
    wire_survey_t known;
    wire_batch_t batch;
    world_store(MX2, 4);
    digest_fill(digest, false, &known);
    world_store(MX2, 5);
    survey_differences(&known);
    assert_int_equal(sent_count, 1);
    assert_int_equal(wire_read_batch(world.wire, forge_envelope(sent[0].bytes, sent[0].size),
                                     &batch),
                     WIRE_OK);
    assert_int_equal(batch.seq, 5);
}

TEST(what_has_ended_is_sent_to_who_keeps_the_history)
{
    wire_survey_t nothing_known = {.all = false};
    world_store(MX2, 2);
    world_keep_head(MX2, 2, 1);
    const feed_ref_t *feed = world_feed(MX2);
    feed_raise_epoch_floor(world.feed, &feed->id.origin, feed->id.epoch + 1);
    survey_differences(&nothing_known);
    assert_int_equal(sent_count, 0);
    survey(MX1);
    assert_int_equal(sent_count, 0);
    nothing_known.history = true;
    survey_differences(&nothing_known);
    assert_int_equal(only_head().seq, 2);
}

TEST(a_survey_with_half_of_its_digests_is_refused)
{
    static uint8_t body[2 + 2 + WIRE_DIGESTS * WIRE_DIGEST_BYTES / 2] = {0x0a, 0x80, 0x08};
    forge_body(&world.nodes[MX1], WIRE_SURVEY, body, sizeof body - 1, &request);
    world_store(MX2, 2);
    ask(MX1);
    assert_int_equal(sent_count, 0);
    assert_int_equal(replica_counters(replica)->refused_wire[WIRE_BAD_BODY], 1);
    assert_int_equal(replay_counters(replay)->surveys, 0);
}

/* More heads than the queue takes: those at the end of the list are shown another time. */
TEST(a_survey_of_very_many_heads_shows_each_of_them_sometimes)
{
    enum { FEEDS = 1000 };
    static bool shown[FEEDS];
    size_t left = FEEDS;
    db_t *db = feed_peers_db(world.feed);
    static forged_t head;
    memset(shown, 0, sizeof shown);
    assert_int_equal(db_begin(db), 0);
    for (uint64_t i = 0; i < FEEDS; i++) {
        const feed_ref_t *ref = world_add_feed(MX2, 1 + i);
        wire_head_t body = {.feed = ref->id, .seq = 1, .floor = 1};
        head.size = wire_write_head(world.nodes[MX2].wire, &body, head.bytes);
        assert_int_equal(feed_store(world.feed, ref, 1, (const uint8_t *)"x", 1), 0);
        assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){1, 1, 0}, head.bytes,
                                        head.size),
                         1);
    }
    assert_int_equal(db_commit(db), 0);
    for (int i = 0; i < 1000 && left > 0; i++) {
        room = 2; /* half of them */
        survey(MX1);
        for (size_t j = 0; j < sent_count; j++) {
            size_t offset = 0;
            assert_int_equal(wire_read_bundle(world.wire,
                                              forge_envelope(sent[j].bytes, sent[j].size), &bundle),
                             WIRE_OK);
            for (size_t k = 0; k < bundle.count; offset += bundle.sizes[k++]) {
                wire_head_t one;
                assert_int_equal(wire_read_head(world.wire,
                                                forge_envelope(bundle.bytes + offset,
                                                               bundle.sizes[k]),
                                                &one),
                                 WIRE_OK);
                left -= !shown[one.feed.epoch - 1];
                shown[one.feed.epoch - 1] = true;
            }
        }
    }
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_replay(small_batches_travel_many_in_one_message),
        with_replay(large_batches_travel_alone_and_in_their_place),
        with_replay(a_single_small_batch_travels_as_it_is),
        with_replay(credit_is_kept_to),
        with_replay(an_answer_fits_half_a_queue_and_says_how_far_it_went),
        with_replay(an_answer_is_cut_where_the_way_is_full),
        with_replay(through_tells_the_truth_where_the_way_was_full_for_a_moment),
        with_replay(a_feed_that_is_not_held_is_answered_with_nothing),
        with_replay(who_asks_for_what_is_gone_is_told_where_it_goes_on),
        with_replay(who_asks_too_much_gets_empty_answers_for_a_while),
        with_replay(a_request_signed_by_another_is_not_answered),
        with_replay(who_knows_the_same_is_sent_nothing),
        with_replay(who_knows_less_is_sent_the_bucket_that_differs),
        with_replay(last_words_come_where_a_bucket_differs),
        with_replay(what_has_ended_is_sent_to_who_keeps_the_history),
        with_replay(a_survey_with_half_of_its_digests_is_refused),
        with_replay(a_survey_of_very_many_heads_shows_each_of_them_sometimes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
