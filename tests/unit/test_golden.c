/* golden: messages that were written once, as files. Today's decoder reads them, and today's
 * encoder makes the same bytes; so nodes of different versions understand each other. */
#include "golden.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH, HEAD, HEARTBEAT, FETCH, DONE, SURVEY, HEADS, SURVEY_ALL, PARDONS };

static forged_t file;
static wire_t *reader;

static void read_file(size_t index)
{
    char relative[64];
    snprintf(relative, sizeof relative, "cases/wire/%s", golden_file(index));
    char *bytes = support_read(support_source(relative), &file.size);
    assert_true(file.size <= sizeof file.bytes);
    memcpy(file.bytes, bytes, file.size);
    free(bytes);
    assert_int_equal(forge_error(&file), WIRE_OK);
    assert_int_equal(wire_verify(reader, forge_open(&file)), WIRE_OK);
}

static void assert_same_feed(const feed_id_t *one, const feed_id_t *other)
{
    assert_memory_equal(one->origin.bytes, other->origin.bytes, PUBKEY_BYTES);
    assert_int_equal(one->epoch, other->epoch);
    assert_int_equal(one->channel, other->channel);
}

TEST(the_encoder_still_makes_these_bytes)
{
    static forged_t made;
    for (size_t i = 0; i < GOLDEN_KINDS; i++) {
        read_file(i);
        golden_make(i, &made);
        assert_int_equal(made.size, file.size);
        assert_memory_equal(made.bytes, file.bytes, file.size);
    }
}

static void assert_batch_reads(size_t index, const event_t *events, size_t count)
{
    wire_batch_t expected = golden_batch();
    wire_batch_t batch;
    read_file(index);
    assert_int_equal(wire_read_batch(reader, forge_open(&file), &batch), WIRE_OK);
    assert_same_feed(&batch.feed, &expected.feed);
    assert_int_equal(batch.seq, expected.seq);
    assert_int_equal(batch.time_ms, expected.time_ms);
    assert_int_equal(batch.event_count, count);
    for (size_t i = 0; i < count; i++) {
        event_t event;
        assert_int_equal(wire_event(reader, i, &event), EVENT_OK);
        support_assert_same_event(&event, &events[i]);
    }
}

TEST(the_batch_reads_as_it_was_written)
{
    event_t events[GOLDEN_EVENTS];
    golden_events(events);
    assert_batch_reads(BATCH, events, GOLDEN_EVENTS);
}

TEST(the_pardons_read_as_they_were_written)
{
    event_t events[GOLDEN_PARDONS];
    golden_pardons(events);
    assert_batch_reads(PARDONS, events, GOLDEN_PARDONS);
}

TEST(the_head_reads_as_it_was_written)
{
    wire_head_t expected = golden_head();
    wire_head_t head;
    read_file(HEAD);
    assert_int_equal(wire_read_head(reader, forge_open(&file), &head), WIRE_OK);
    assert_same_feed(&head.feed, &expected.feed);
    assert_int_equal(head.seq, expected.seq);
    assert_int_equal(head.floor, expected.floor);
    assert_int_equal(head.epoch_floor, expected.epoch_floor);
    assert_int_equal(head.time_ms, expected.time_ms);
    assert_memory_equal(head.hash, expected.hash, sizeof head.hash);
}

TEST(the_heartbeat_reads_as_it_was_written)
{
    static const uint8_t zero[WIRE_HASH_BYTES];
    wire_head_t head;
    read_file(HEARTBEAT);
    assert_int_equal(wire_read_head(reader, forge_open(&file), &head), WIRE_OK);
    assert_int_equal(head.feed.epoch, 0);
    assert_int_equal(head.seq, 0);
    assert_int_equal(head.floor, 1);
    assert_int_equal(head.time_ms, 1795288025123);
    assert_memory_equal(head.hash, zero, sizeof zero);
}

TEST(the_requests_read_as_they_were_written)
{
    wire_fetch_t expected_fetch = golden_fetch();
    wire_done_t expected_done = golden_done();
    wire_fetch_t fetch;
    wire_done_t done;
    read_file(FETCH);
    assert_int_equal(wire_read_fetch(reader, forge_open(&file), &fetch), WIRE_OK);
    assert_same_feed(&fetch.feed, &expected_fetch.feed);
    assert_int_equal(fetch.after, expected_fetch.after);
    assert_int_equal(fetch.credit, expected_fetch.credit);
    read_file(DONE);
    assert_int_equal(wire_read_done(reader, forge_open(&file), &done), WIRE_OK);
    assert_same_feed(&done.feed, &expected_done.feed);
    assert_int_equal(done.through, expected_done.through);
    assert_int_equal(done.have, expected_done.have);
}

TEST(the_surveys_read_as_they_were_written)
{
    wire_survey_t expected = golden_survey();
    wire_survey_t survey;
    read_file(SURVEY);
    assert_int_equal(wire_read_survey(reader, forge_open(&file), &survey), WIRE_OK);
    assert_false(survey.all);
    assert_true(survey.history);
    assert_memory_equal(survey.digests, expected.digests, sizeof survey.digests);
    read_file(SURVEY_ALL);
    assert_int_equal(file.size, WIRE_HEADER_BYTES + WIRE_SIGNATURE_BYTES);
    assert_int_equal(wire_read_survey(reader, forge_open(&file), &survey), WIRE_OK);
    assert_true(survey.all);
    assert_false(survey.history);
}

TEST(the_bundle_holds_two_envelopes_verbatim)
{
    static wire_bundle_t bundle;
    read_file(HEADS);
    assert_int_equal(wire_read_bundle(reader, forge_open(&file), &bundle), WIRE_OK);
    assert_int_equal(bundle.count, 2);
    read_file(HEAD);
    assert_int_equal(bundle.sizes[0], file.size);
    assert_memory_equal(bundle.bytes, file.bytes, file.size);
    read_file(HEARTBEAT);
    assert_int_equal(bundle.sizes[1], file.size);
    assert_memory_equal(bundle.bytes + bundle.sizes[0], file.bytes, file.size);
}

static int start(void **state)
{
    (void)state;
    reader = wire_new(NULL);
    return sodium_init() == -1 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    wire_destroy(&reader);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(the_encoder_still_makes_these_bytes),
        plain(the_batch_reads_as_it_was_written),
        plain(the_pardons_read_as_they_were_written),
        plain(the_head_reads_as_it_was_written),
        plain(the_heartbeat_reads_as_it_was_written),
        plain(the_requests_read_as_they_were_written),
        plain(the_surveys_read_as_they_were_written),
        plain(the_bundle_holds_two_envelopes_verbatim),
    };
    return cmocka_run_group_tests_name("golden", tests, start, end);
}
