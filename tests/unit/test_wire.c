/* wire: every way in which an envelope can be wrong has its own word, and nothing wrong is read. */
#include "golden.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static forge_node_t node;
static forged_t envelope;
static wire_bundle_t bundle;

/* Decode with the reader of the envelope's kind. */
static wire_error_t read_any(const forged_t *in)
{
    wire_batch_t batch;
    wire_head_t head;
    wire_fetch_t fetch;
    wire_done_t done;
    wire_survey_t survey;
    switch (forge_open(in)->kind) {
    case WIRE_BATCH:
        return wire_read_batch(node.wire, forge_open(in), &batch);
    case WIRE_HEAD:
        return wire_read_head(node.wire, forge_open(in), &head);
    case WIRE_FETCH:
        return wire_read_fetch(node.wire, forge_open(in), &fetch);
    case WIRE_DONE:
        return wire_read_done(node.wire, forge_open(in), &done);
    case WIRE_BUNDLE:
        return wire_read_bundle(node.wire, forge_open(in), &bundle);
    case WIRE_SURVEY:
        return wire_read_survey(node.wire, forge_open(in), &survey);
    }
    return WIRE_OK;
}

/* The first complaint of check, verify and read, in this order. */
static wire_error_t judge(const forged_t *in)
{
    wire_error_t error = forge_error(in);
    if (error == WIRE_OK)
        error = wire_verify(node.wire, forge_open(in));
    return error == WIRE_OK ? read_any(in) : error;
}

static void assert_judged(wire_error_t expected)
{
    wire_error_t error = judge(&envelope);
    if (error != expected)
        fail_msg("expected %s, but it is %s", wire_error_name(expected), wire_error_name(error));
}

static void assert_message(int kind, const ProtobufCMessage *body, wire_error_t expected)
{
    forge_message(&node, kind, body, &envelope);
    assert_judged(expected);
}

TEST(every_error_has_a_word)
{
    for (int error = 0; error < WIRE_ERROR_COUNT; error++)
        assert_true(strlen(wire_error_name((wire_error_t)error)) > 0);
}

TEST(what_we_write_we_read)
{
    for (size_t i = 0; i < GOLDEN_KINDS; i++) {
        golden_make(i, &envelope);
        assert_judged(WIRE_OK);
    }
}

TEST(sizes_outside_the_limits_are_refused_before_anything_else)
{
    static uint8_t body[WIRE_BODY_MAX + 1];
    memset(&envelope, 0, sizeof envelope);
    for (envelope.size = 0; envelope.size < WIRE_HEADER_BYTES + WIRE_SIGNATURE_BYTES;
         envelope.size++)
        assert_int_equal(forge_error(&envelope), WIRE_TOO_SHORT);
    forge_body(&node, WIRE_BATCH, body, WIRE_BODY_MAX, &envelope);
    assert_int_equal(forge_error(&envelope), WIRE_OK);
    forge_body(&node, WIRE_BATCH, body, WIRE_BODY_MAX + 1, &envelope);
    assert_int_equal(forge_error(&envelope), WIRE_TOO_LONG);
}

TEST(each_byte_of_the_header_is_checked)
{
    static const struct {
        size_t at;
        uint8_t value;
        wire_error_t expected;
    } cases[] = {
        {0, 'b', WIRE_BAD_MAGIC},  {1, 0, WIRE_BAD_MAGIC},      {2, 'N', WIRE_BAD_MAGIC},
        {3, 0, WIRE_BAD_MAGIC},    {4, 0, WIRE_BAD_VERSION},    {4, 2, WIRE_BAD_VERSION},
        {5, 0, WIRE_BAD_KIND},     {5, 7, WIRE_BAD_KIND},       {5, 255, WIRE_BAD_KIND},
        {6, 1, WIRE_BAD_RESERVED}, {7, 128, WIRE_BAD_RESERVED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forge_batch(&node, 1, &envelope);
        envelope.bytes[cases[i].at] = cases[i].value;
        forge_sign(&node, &envelope);
        assert_judged(cases[i].expected);
    }
}

TEST(a_flipped_bit_anywhere_is_refused)
{
    for (size_t i = 0; i < GOLDEN_KINDS; i++) {
        golden_make(i, &envelope);
        for (size_t byte = 0; byte < envelope.size; byte++) {
            uint8_t flip = (uint8_t)(1u << byte % 8);
            envelope.bytes[byte] ^= flip;
            assert_int_not_equal(judge(&envelope), WIRE_OK);
            envelope.bytes[byte] ^= flip;
        }
        assert_judged(WIRE_OK);
    }
}

TEST(every_bit_of_a_head_is_covered)
{
    forge_head(&node, 5, 1, &envelope);
    for (size_t bit = 0; bit < envelope.size * 8; bit++) {
        envelope.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(judge(&envelope), WIRE_OK);
        envelope.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

TEST(an_envelope_cut_anywhere_is_refused)
{
    for (size_t i = 0; i < GOLDEN_KINDS; i++) {
        golden_make(i, &envelope);
        while (envelope.size-- > 0)
            assert_int_not_equal(judge(&envelope), WIRE_OK);
    }
}

TEST(bytes_added_behind_are_refused)
{
    forge_batch(&node, 1, &envelope);
    envelope.bytes[envelope.size++] = 0;
    assert_judged(WIRE_BAD_SIGNATURE);
}

TEST(another_key_does_not_sign_for_the_origin)
{
    forge_node_t enemy = forge_node(66);
    forge_batch(&node, 1, &envelope);
    forge_sign(&enemy, &envelope);
    assert_judged(WIRE_BAD_SIGNATURE);
    forge_end(&enemy);
}

TEST(a_signature_without_our_context_does_not_count)
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    forge_batch(&node, 1, &envelope);
    size_t covered = envelope.size - WIRE_SIGNATURE_BYTES;
    crypto_sign_seed_keypair(public_key, secret, node.seed);
    crypto_sign_detached(envelope.bytes + covered, NULL, envelope.bytes, covered, secret);
    assert_judged(WIRE_BAD_SIGNATURE);
}

TEST(a_body_does_not_pass_under_another_kind)
{
    for (size_t i = 0; i < GOLDEN_KINDS; i++)
        for (uint8_t kind = WIRE_BATCH; kind <= WIRE_BUNDLE; kind++) {
            golden_make(i, &envelope);
            if (envelope.bytes[5] == kind)
                continue;
            envelope.bytes[5] = kind;
            assert_judged(WIRE_BAD_SIGNATURE);
        }
}

TEST(a_reader_refuses_the_other_kinds)
{
    wire_batch_t batch;
    wire_head_t head;
    forge_head(&node, 5, 1, &envelope);
    assert_int_equal(wire_read_batch(node.wire, forge_open(&envelope), &batch), WIRE_BAD_BODY);
    forge_batch(&node, 1, &envelope);
    assert_int_equal(wire_read_head(node.wire, forge_open(&envelope), &head), WIRE_BAD_BODY);
    assert_int_equal(wire_read_bundle(node.wire, forge_open(&envelope), &bundle), WIRE_BAD_BODY);
}

TEST(a_signed_body_cut_anywhere_does_no_harm)
{
    static uint8_t body[WIRE_BODY_MAX];
    for (size_t i = 0; i < GOLDEN_KINDS; i++) {
        golden_make(i, &envelope);
        int kind = envelope.bytes[5];
        size_t size = envelope.size - WIRE_HEADER_BYTES - WIRE_SIGNATURE_BYTES;
        memcpy(body, envelope.bytes + WIRE_HEADER_BYTES, size);
        while (size-- > 0) {
            forge_body(&node, kind, body, size, &envelope);
            judge(&envelope);
        }
    }
}

TEST(what_is_no_protobuf_is_a_bad_body)
{
    static const uint8_t rubbish[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    for (int kind = WIRE_BATCH; kind <= WIRE_BUNDLE; kind++) {
        forge_body(&node, kind, rubbish, sizeof rubbish, &envelope);
        assert_judged(WIRE_BAD_BODY);
    }
}

/* 64 KiB of one short field, over and over: megabytes if decoding were not capped. */
static void assert_flood_refused(int kind, uint8_t tag)
{
    static uint8_t body[WIRE_BODY_MAX];
    for (size_t i = 0; i < sizeof body; i += 2) {
        body[i] = tag;
        body[i + 1] = 0;
    }
    forge_body(&node, kind, body, sizeof body, &envelope);
    assert_int_not_equal(judge(&envelope), WIRE_OK);
}

TEST(a_body_that_would_expand_beyond_the_arena_is_refused)
{
    enum { EVENTS = 4 << 3 | 2, HEADS = 1 << 3 | 2, UNKNOWN_NUMBER = 9 << 3, UNKNOWN = 9 << 3 | 2 };
    assert_flood_refused(WIRE_BATCH, EVENTS);
    assert_flood_refused(WIRE_BATCH, UNKNOWN);
    assert_flood_refused(WIRE_BUNDLE, HEADS);
    assert_flood_refused(WIRE_BUNDLE, UNKNOWN);
    assert_flood_refused(WIRE_HEAD, UNKNOWN_NUMBER);
    assert_flood_refused(WIRE_FETCH, UNKNOWN);
    assert_flood_refused(WIRE_DONE, UNKNOWN);
    /* And the next ordinary message finds room again. */
    forge_batch(&node, 1, &envelope);
    assert_judged(WIRE_OK);
}

TEST(a_batch_needs_an_event)
{
    Banmesh__Batch body = BANMESH__BATCH__INIT;
    body.epoch = body.seq = 1;
    assert_message(WIRE_BATCH, &body.base, WIRE_NO_EVENTS);
}

TEST(a_batch_has_512_events_at_most)
{
    static Banmesh__Event event = BANMESH__EVENT__INIT;
    static Banmesh__Event *events[WIRE_EVENTS_MAX + 1];
    Banmesh__Batch body = BANMESH__BATCH__INIT;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        events[i] = &event;
    body.epoch = body.seq = 1;
    body.events = events;
    body.n_events = WIRE_EVENTS_MAX;
    assert_message(WIRE_BATCH, &body.base, WIRE_OK);
    body.n_events = WIRE_EVENTS_MAX + 1;
    assert_message(WIRE_BATCH, &body.base, WIRE_TOO_MANY_EVENTS);
}

static void fill_all(event_t *events, const event_t *event)
{
    for (size_t i = 0; i < WIRE_EVENTS_MAX; i++)
        events[i] = *event;
}

TEST(we_write_512_events_but_no_body_above_64_kib)
{
    static event_t events[WIRE_EVENTS_MAX];
    event_t event = support_ban_event("2a00:1450:4001::200e");
    wire_batch_t batch = {.feed = forge_feed(&node), .seq = 1, .event_count = WIRE_EVENTS_MAX};
    fill_all(events, &event);
    envelope.size = wire_write_batch(node.wire, &batch, events, envelope.bytes);
    assert_judged(WIRE_OK);
    event = support_grace_event(EVENT_ALLOW, "45.154.0.0/16", "");
    memset(event.grace.text, 'x', EVENT_TEXT_MAX);
    fill_all(events, &event);
    assert_int_equal(wire_write_batch(node.wire, &batch, events, envelope.bytes), 0);
}

TEST(a_full_batch_of_the_largest_events_can_be_read)
{
    static event_t events[WIRE_EVENTS_MAX];
    event_t event = support_ban_event("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    wire_batch_t batch = {.feed = forge_feed(&node), .seq = 1};
    memset(event.ban.jail, 'j', EVENT_NAME_MAX);
    memset(event.ban.port, '1', EVENT_PORT_MAX);
    memset(event.ban.protocol, 'p', EVENT_PROTOCOL_MAX);
    event.has_original = true;
    event.original = (event_position_t){UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX};
    fill_all(events, &event);
    batch.event_count = WIRE_BODY_MAX / wire_event_size(&event);
    envelope.size = wire_write_batch(node.wire, &batch, events, envelope.bytes);
    assert_int_not_equal(envelope.size, 0);
    assert_judged(WIRE_OK);
}

TEST(the_size_of_an_event_is_an_upper_bound)
{
    event_t events[GOLDEN_EVENTS];
    golden_events(events);
    events[6].ban.time_ms = EVENT_TIME_MAX_MS;
    events[6].ban.failures = events[6].ban.bancount = UINT32_MAX;
    events[6].ban.duration_s = EVENT_TIME_MAX_MS / 1000;
    events[6].original = (event_position_t){UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX};
    for (size_t i = 0; i < GOLDEN_EVENTS; i++) {
        wire_batch_t batch = {.feed = forge_feed(&node), .seq = 1, .event_count = 1};
        size_t size = wire_write_batch(node.wire, &batch, &events[i], envelope.bytes);
        assert_true(size - WIRE_HEADER_BYTES - WIRE_SIGNATURE_BYTES <= wire_event_size(&events[i]));
    }
}

TEST(numbers_of_a_batch_out_of_range_are_refused)
{
    static const struct {
        uint64_t epoch;
        uint64_t seq;
        wire_error_t expected;
    } cases[] = {
        {1, 1, WIRE_OK},
        {EVENT_TIME_MAX_MS, (1ULL << 40) - 1, WIRE_OK},
        {0, 1, WIRE_BAD_NUMBER},
        {1, 0, WIRE_BAD_NUMBER},
        {EVENT_TIME_MAX_MS + 1, 1, WIRE_BAD_NUMBER},
        {UINT64_MAX, 1, WIRE_BAD_NUMBER},
        {1, 1ULL << 40, WIRE_BAD_NUMBER},
        {1, UINT64_MAX, WIRE_BAD_NUMBER},
    };
    Banmesh__Event event = BANMESH__EVENT__INIT;
    Banmesh__Event *events[] = {&event};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Banmesh__Batch body = BANMESH__BATCH__INIT;
        body.epoch = cases[i].epoch;
        body.seq = cases[i].seq;
        body.events = events;
        body.n_events = 1;
        assert_message(WIRE_BATCH, &body.base, cases[i].expected);
    }
}

static int start(void **state)
{
    (void)state;
    if (sodium_init() == -1)
        return -1;
    node = forge_node(1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    forge_end(&node);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(every_error_has_a_word),
        plain(what_we_write_we_read),
        plain(sizes_outside_the_limits_are_refused_before_anything_else),
        plain(each_byte_of_the_header_is_checked),
        plain(a_flipped_bit_anywhere_is_refused),
        plain(every_bit_of_a_head_is_covered),
        plain(an_envelope_cut_anywhere_is_refused),
        plain(bytes_added_behind_are_refused),
        plain(another_key_does_not_sign_for_the_origin),
        plain(a_signature_without_our_context_does_not_count),
        plain(a_body_does_not_pass_under_another_kind),
        plain(a_reader_refuses_the_other_kinds),
        plain(a_signed_body_cut_anywhere_does_no_harm),
        plain(what_is_no_protobuf_is_a_bad_body),
        plain(a_body_that_would_expand_beyond_the_arena_is_refused),
        plain(a_batch_needs_an_event),
        plain(a_batch_has_512_events_at_most),
        plain(we_write_512_events_but_no_body_above_64_kib),
        plain(a_full_batch_of_the_largest_events_can_be_read),
        plain(the_size_of_an_event_is_an_upper_bound),
        plain(numbers_of_a_batch_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("wire", tests, start, end);
}
