/* wire: the smaller messages (head, fetch, done, lists of bundle), and wires that only read. */
#include "forge.h"

#include <sodium.h>
#include <string.h>

static forge_node_t node;
static forged_t envelope;
static wire_bundle_t bundle;
static wire_bundle_t again;

static void assert_error(wire_error_t error, wire_error_t expected)
{
    if (error != expected)
        fail_msg("expected %s, but it is %s", wire_error_name(expected), wire_error_name(error));
}

static void assert_head(const Banmesh__Head *body, wire_error_t expected)
{
    wire_head_t head;
    forge_message(&node, WIRE_HEAD, &body->base, &envelope);
    assert_error(wire_read_head(node.wire, forge_open(&envelope), &head), expected);
}

/* A good head: seq 5, floor 2. */
static Banmesh__Head good_head(void)
{
    static uint8_t hash[WIRE_HASH_BYTES + 1];
    Banmesh__Head body = BANMESH__HEAD__INIT;
    body.epoch = FORGE_EPOCH;
    body.seq = 5;
    body.floor = 2;
    body.time_ms = FORGE_EPOCH;
    body.hash = (ProtobufCBinaryData){WIRE_HASH_BYTES, hash};
    return body;
}

TEST(a_good_head_is_read)
{
    Banmesh__Head body = good_head();
    assert_head(&body, WIRE_OK);
    body.floor = 6; /* everything is under the floor */
    assert_head(&body, WIRE_OK);
}

TEST(a_head_without_batches_has_no_hash)
{
    Banmesh__Head body = BANMESH__HEAD__INIT;
    body.floor = 1;
    assert_head(&body, WIRE_OK);
    body.epoch = FORGE_EPOCH;
    assert_head(&body, WIRE_OK);
    body.hash = good_head().hash;
    assert_head(&body, WIRE_BAD_HASH);
}

TEST(numbers_of_a_head_out_of_range_are_refused)
{
    Banmesh__Head body = good_head();
    body.epoch = 0; /* the heartbeat of a node that never published has no seq */
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.epoch = EVENT_TIME_MAX_MS + 1;
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.seq = 1ULL << 40;
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.floor = 0;
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.floor = 7;
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.floor = UINT64_MAX;
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.time_ms = EVENT_TIME_MAX_MS + 1;
    assert_head(&body, WIRE_BAD_NUMBER);
    body = good_head();
    body.epoch_floor = body.epoch;
    assert_head(&body, WIRE_OK);
    body.epoch_floor = body.epoch + 1; /* a head ends no epoch but earlier ones */
    assert_head(&body, WIRE_BAD_NUMBER);
}

TEST(a_hash_has_32_bytes)
{
    Banmesh__Head body = good_head();
    body.hash.len = WIRE_HASH_BYTES - 1;
    assert_head(&body, WIRE_BAD_HASH);
    body.hash.len = WIRE_HASH_BYTES + 1;
    assert_head(&body, WIRE_BAD_HASH);
    body.hash.len = 0;
    assert_head(&body, WIRE_BAD_HASH);
}

TEST(the_hash_is_blake2b_of_the_body_alone)
{
    uint8_t hash[WIRE_HASH_BYTES];
    uint8_t expected[WIRE_HASH_BYTES];
    forge_batch(&node, 1, &envelope);
    wire_hash(forge_open(&envelope), hash);
    crypto_generichash(expected, sizeof expected, envelope.bytes + WIRE_HEADER_BYTES,
                       envelope.size - WIRE_HEADER_BYTES - WIRE_SIGNATURE_BYTES, NULL, 0);
    assert_memory_equal(hash, expected, sizeof hash);
}

static wire_error_t read_fetch(const Banmesh__Fetch *body)
{
    wire_fetch_t fetch;
    forge_message(&node, WIRE_FETCH, &body->base, &envelope);
    return wire_read_fetch(node.wire, forge_open(&envelope), &fetch);
}

static Banmesh__Fetch good_fetch(void)
{
    static uint8_t origin[PUBKEY_BYTES + 1];
    Banmesh__Fetch body = BANMESH__FETCH__INIT;
    body.origin = (ProtobufCBinaryData){PUBKEY_BYTES, origin};
    body.epoch = FORGE_EPOCH;
    body.credit = 1;
    return body;
}

TEST(a_fetch_needs_origin_and_credit)
{
    Banmesh__Fetch body = good_fetch();
    assert_error(read_fetch(&body), WIRE_OK);
    body.origin.len = PUBKEY_BYTES - 1;
    assert_error(read_fetch(&body), WIRE_BAD_ORIGIN);
    body.origin.len = PUBKEY_BYTES + 1;
    assert_error(read_fetch(&body), WIRE_BAD_ORIGIN);
    body.origin.len = 0;
    assert_error(read_fetch(&body), WIRE_BAD_ORIGIN);
    body = good_fetch();
    body.credit = 0;
    assert_error(read_fetch(&body), WIRE_BAD_NUMBER);
    body = good_fetch();
    body.after = 1ULL << 40;
    assert_error(read_fetch(&body), WIRE_BAD_NUMBER);
    body = good_fetch();
    body.epoch = UINT64_MAX;
    assert_error(read_fetch(&body), WIRE_BAD_NUMBER);
}

static wire_error_t read_done(const Banmesh__Done *body)
{
    wire_done_t done;
    forge_message(&node, WIRE_DONE, &body->base, &envelope);
    return wire_read_done(node.wire, forge_open(&envelope), &done);
}

TEST(a_done_needs_an_origin_and_sane_numbers)
{
    Banmesh__Done body = BANMESH__DONE__INIT;
    assert_error(read_done(&body), WIRE_BAD_ORIGIN);
    body.origin = good_fetch().origin;
    assert_error(read_done(&body), WIRE_OK);
    body.through = 1ULL << 40;
    assert_error(read_done(&body), WIRE_BAD_NUMBER);
    body.through = 0;
    body.have = UINT64_MAX;
    assert_error(read_done(&body), WIRE_BAD_NUMBER);
    body.have = 0;
    body.epoch = EVENT_TIME_MAX_MS + 1;
    assert_error(read_done(&body), WIRE_BAD_NUMBER);
}

static void fill_list(size_t size)
{
    static uint8_t bytes[WIRE_BUNDLE_BYTES_MAX];
    bundle.count = bundle.used = 0;
    do
        memset(bytes, (int)bundle.count, size);
    while (wire_bundle_add(&bundle, bytes, size));
}

/* What the list took fits a message, and comes back as it was. */
static void assert_list_passes(void)
{
    envelope.size = wire_write_bundle(node.wire, &bundle, envelope.bytes);
    if (envelope.size == 0)
        fail_msg("%zu envelopes of %zu bytes in all do not fit", bundle.count, bundle.used);
    assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_OK);
    assert_int_equal(again.count, bundle.count);
    assert_int_equal(again.used, bundle.used);
    assert_memory_equal(again.sizes, bundle.sizes, bundle.count * sizeof bundle.sizes[0]);
    assert_memory_equal(again.bytes, bundle.bytes, bundle.used);
}

TEST(a_full_list_fits_a_message)
{
    static const size_t sizes[] = {1,   104, 127, 128, 180,  252,  253,
                                   254, 255, 256, 512, 1000, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fill_list(sizes[i]);
        assert_list_passes();
    }
}

/* As many as it takes, and as large as it takes, at once: each needs its length, too. */
TEST(a_list_full_in_number_and_bytes_fits_a_message)
{
    static const uint8_t bytes[WIRE_BUNDLE_BYTES_MAX];
    bundle.count = bundle.used = 0;
    while (bundle.count < WIRE_BUNDLE_MAX) {
        size_t left = WIRE_BUNDLE_MAX - bundle.count;
        assert_true(wire_bundle_add(&bundle, bytes, (WIRE_BUNDLE_BYTES_MAX - bundle.used) / left));
    }
    assert_int_equal(bundle.used, WIRE_BUNDLE_BYTES_MAX);
    assert_list_passes();
}

TEST(a_bundle_takes_256_envelopes_at_most)
{
    fill_list(1);
    assert_int_equal(bundle.count, WIRE_BUNDLE_MAX);
    fill_list(0);
    assert_int_equal(bundle.count, WIRE_BUNDLE_MAX);
}

TEST(a_longer_list_of_somebody_else_is_refused)
{
    static ProtobufCBinaryData list[WIRE_BUNDLE_MAX + 1];
    static uint8_t bytes[WIRE_BUNDLE_BYTES_MAX + 1];
    Banmesh__Bundle body = BANMESH__BUNDLE__INIT;
    body.envelopes = list;
    body.n_envelopes = WIRE_BUNDLE_MAX + 1;
    forge_message(&node, WIRE_BUNDLE, &body.base, &envelope);
    assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_BAD_NUMBER);
    body.n_envelopes = 1;
    list[0] = (ProtobufCBinaryData){WIRE_BUNDLE_BYTES_MAX + 1, bytes};
    forge_message(&node, WIRE_BUNDLE, &body.base, &envelope);
    assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_BAD_NUMBER);
}

TEST(empty_envelopes_in_a_bundle_do_no_harm)
{
    ProtobufCBinaryData list[3] = {{0}};
    Banmesh__Bundle body = BANMESH__BUNDLE__INIT;
    body.envelopes = list;
    body.n_envelopes = 3;
    forge_message(&node, WIRE_BUNDLE, &body.base, &envelope);
    assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_OK);
    assert_int_equal(again.count, 3);
    assert_int_equal(again.sizes[2], 0);
}

TEST(a_wire_without_a_key_reads_what_others_wrote)
{
    wire_t *reader = wire_new(NULL);
    wire_batch_t batch;
    forge_batch(&node, 3, &envelope);
    assert_int_equal(wire_verify(reader, forge_open(&envelope)), WIRE_OK);
    assert_int_equal(wire_read_batch(reader, forge_open(&envelope), &batch), WIRE_OK);
    assert_int_equal(batch.seq, 3);
    assert_memory_equal(batch.feed.origin.bytes, node.public_key.bytes, PUBKEY_BYTES);
    wire_destroy(&reader);
}

TEST(a_survey_has_all_digests_or_none)
{
    static uint8_t bytes[WIRE_DIGESTS * WIRE_DIGEST_BYTES + 1];
    wire_survey_t survey;
    for (size_t size = 0; size <= sizeof bytes; size++) {
        bool right = size == 0 || size == WIRE_DIGESTS * WIRE_DIGEST_BYTES;
        Banmesh__Survey body = BANMESH__SURVEY__INIT;
        body.digests = (ProtobufCBinaryData){size, bytes};
        forge_message(&node, WIRE_SURVEY, &body.base, &envelope);
        assert_error(wire_read_survey(node.wire, forge_open(&envelope), &survey),
                     right ? WIRE_OK : WIRE_BAD_BODY);
        assert_int_equal(right && survey.all, size == 0);
    }
}

static int sign_without_key(void *arg)
{
    const wire_survey_t survey = {.all = true};
    wire_write_survey(arg, &survey, envelope.bytes);
    return 0;
}

TEST(signing_without_a_key_is_fatal)
{
    wire_t *reader = wire_new(NULL);
    assert_int_equal(support_exit_status(sign_without_key, reader), 1);
    wire_destroy(&reader);
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

TEST(what_an_answerer_knows_of_the_asker_reads_as_written)
{
    static const wire_heard_t cases[] = {
        {.said = true, .ms_ago = -1},
        {.said = true, .ms_ago = 0, .elsewhere = true},
        {.said = true, .ms_ago = EVENT_TIME_MAX_MS, .elsewhere = true, .other = "2001:db8::1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        envelope.size = wire_write_heard(node.wire, &cases[i], envelope.bytes);
        assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_OK);
        assert_int_equal(again.count, 0);
        assert_true(again.heard.said);
        assert_int_equal(again.heard.ms_ago, cases[i].ms_ago);
        assert_int_equal(again.heard.elsewhere, cases[i].elsewhere);
        assert_string_equal(again.heard.other, cases[i].other);
    }
    bundle.count = bundle.used = 0;
    envelope.size = wire_write_bundle(node.wire, &bundle, envelope.bytes);
    assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_OK);
    assert_false(again.heard.said);
}

/* It is shown to an operator. */
TEST(an_address_of_another_place_that_is_none_is_refused)
{
    static const wire_heard_t bad[] = {{.said = true, .other = "\x1b[2J"},
                                       {.said = true, .other = "mx1"},
                                       {.said = true, .ms_ago = -2},
                                       {.said = true, .ms_ago = INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        envelope.size = wire_write_heard(node.wire, &bad[i], envelope.bytes);
        assert_error(wire_read_bundle(node.wire, forge_open(&envelope), &again), WIRE_BAD_NUMBER);
    }
}

TEST(a_survey_says_which_run_asks)
{
    const wire_survey_t asked = {.all = true, .run = UINT64_MAX};
    wire_survey_t read;
    envelope.size = wire_write_survey(node.wire, &asked, envelope.bytes);
    assert_error(wire_read_survey(node.wire, forge_open(&envelope), &read), WIRE_OK);
    assert_true(read.run == UINT64_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(what_an_answerer_knows_of_the_asker_reads_as_written),
        plain(an_address_of_another_place_that_is_none_is_refused),
        plain(a_survey_says_which_run_asks),
        plain(a_good_head_is_read),
        plain(a_head_without_batches_has_no_hash),
        plain(numbers_of_a_head_out_of_range_are_refused),
        plain(a_hash_has_32_bytes),
        plain(the_hash_is_blake2b_of_the_body_alone),
        plain(a_fetch_needs_origin_and_credit),
        plain(a_done_needs_an_origin_and_sane_numbers),
        plain(a_full_list_fits_a_message),
        plain(a_list_full_in_number_and_bytes_fits_a_message),
        plain(a_bundle_takes_256_envelopes_at_most),
        plain(a_longer_list_of_somebody_else_is_refused),
        plain(empty_envelopes_in_a_bundle_do_no_harm),
        plain(a_wire_without_a_key_reads_what_others_wrote),
        plain(a_survey_has_all_digests_or_none),
        plain(signing_without_a_key_is_fatal),
    };
    return cmocka_run_group_tests_name("wire: small messages", tests, start, end);
}
