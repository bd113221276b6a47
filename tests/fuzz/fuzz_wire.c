/* Bodies of messages, under a header that is in order and as if the signature were, too: what a
 * trusted node gone bad could send. The first byte chooses the kind. What is read as a valid event
 * is one, and can be written and read again. */
#include "wire.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SEQ_LIMIT (1ULL << 40)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static wire_t *wire;
static wire_t *again;
static event_t events[WIRE_EVENTS_MAX];

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static bool same_address(const event_t *one, const event_t *other)
{
    return one->kind == EVENT_BAN ? addr_equal(&one->ban.address, &other->ban.address)
                                  : addr_equal(&one->grace.network, &other->grace.network);
}

/* Events that are all valid and known are written and read once more. */
static void repeat(const wire_batch_t *batch)
{
    static uint8_t out[WIRE_ENVELOPE_MAX];
    envelope_t written;
    wire_batch_t read;
    size_t size = wire_write_batch(again, batch, events, out);
    if (size == 0)
        return; /* longer when written in full */
    expect(wire_open(out, size, &written) == WIRE_OK);
    expect(wire_read_batch(again, &written, &read) == WIRE_OK);
    expect(read.event_count == batch->event_count && read.seq == batch->seq);
    for (size_t i = 0; i < read.event_count; i++) {
        event_t event;
        expect(wire_event(again, i, &event) == EVENT_OK);
        expect(event.kind == events[i].kind && same_address(&event, &events[i]));
    }
}

static void check_batch(const envelope_t *envelope)
{
    wire_batch_t batch;
    bool all_good = true;
    if (wire_read_batch(wire, envelope, &batch) != WIRE_OK)
        return;
    expect(batch.event_count >= 1 && batch.event_count <= WIRE_EVENTS_MAX);
    expect(batch.seq >= 1 && batch.feed.epoch >= 1);
    for (size_t i = 0; i < batch.event_count; i++) {
        event_error_t error = wire_event(wire, i, &events[i]);
        expect(error != EVENT_OK || event_check(&events[i]) == EVENT_OK);
        all_good = all_good && error == EVENT_OK && events[i].kind != EVENT_UNKNOWN;
    }
    if (all_good)
        repeat(&batch);
}

static void check_head(const envelope_t *envelope)
{
    wire_head_t head;
    if (wire_read_head(wire, envelope, &head) == WIRE_OK)
        expect(head.floor >= 1 && head.floor <= head.seq + 1);
}

static void check_fetch(const envelope_t *envelope)
{
    wire_fetch_t fetch;
    if (wire_read_fetch(wire, envelope, &fetch) != WIRE_OK)
        return;
    expect(fetch.credit > 0 && fetch.after < SEQ_LIMIT);
}

static void check_done(const envelope_t *envelope)
{
    static uint8_t out[WIRE_ENVELOPE_MAX];
    envelope_t written;
    wire_done_t done;
    wire_done_t read;
    if (wire_read_done(wire, envelope, &done) != WIRE_OK)
        return;
    expect(done.through < SEQ_LIMIT && done.have < SEQ_LIMIT && done.oldest < SEQ_LIMIT);
    size_t length = wire_write_done(again, &done, out);
    expect(wire_open(out, length, &written) == WIRE_OK);
    expect(wire_read_done(again, &written, &read) == WIRE_OK);
    expect(read.through == done.through && read.have == done.have && read.oldest == done.oldest);
    expect(pubkey_equal(&read.feed.origin, &done.feed.origin) &&
           read.feed.epoch == done.feed.epoch && read.feed.channel == done.feed.channel);
}

static void check_survey(const envelope_t *envelope)
{
    static uint8_t out[WIRE_ENVELOPE_MAX];
    envelope_t written;
    wire_survey_t survey;
    wire_survey_t read;
    if (wire_read_survey(wire, envelope, &survey) != WIRE_OK)
        return;
    size_t length = wire_write_survey(again, &survey, out);
    expect(wire_open(out, length, &written) == WIRE_OK);
    expect(wire_read_survey(again, &written, &read) == WIRE_OK);
    expect(read.all == survey.all && read.history == survey.history);
    expect(memcmp(read.digests, survey.digests, sizeof read.digests) == 0);
}

/* What was read as a bundle can be written as one, and is the same. */
static void repeat_bundle(const wire_bundle_t *bundle)
{
    static uint8_t out[WIRE_ENVELOPE_MAX];
    static wire_bundle_t read;
    envelope_t written;
    size_t size = wire_write_bundle(again, bundle, out);
    expect(wire_open(out, size, &written) == WIRE_OK);
    expect(wire_read_bundle(again, &written, &read) == WIRE_OK);
    expect(read.count == bundle->count && read.used == bundle->used);
    expect(memcmp(read.sizes, bundle->sizes, read.count * sizeof read.sizes[0]) == 0);
    expect(memcmp(read.bytes, bundle->bytes, read.used) == 0);
}

/* Heads and batches in it, as the inbox takes them apart; each in a block of exactly its size. */
static void check_bundle(const envelope_t *envelope)
{
    static wire_bundle_t bundle;
    size_t offset = 0;
    if (wire_read_bundle(wire, envelope, &bundle) != WIRE_OK)
        return;
    expect(bundle.count <= WIRE_BUNDLE_MAX && bundle.used <= WIRE_BUNDLE_BYTES_MAX);
    for (size_t i = 0; i < bundle.count; offset += bundle.sizes[i++]) {
        size_t length = bundle.sizes[i];
        envelope_t inside;
        if (wire_open(bundle.bytes + offset, length, &inside) != WIRE_OK)
            continue;
        envelope_t one = wire_copy(&inside);
        if (one.kind == WIRE_HEAD)
            check_head(&one);
        else if (one.kind == WIRE_BATCH)
            check_batch(&one);
        wire_free(&one);
    }
    expect(offset == bundle.used);
    repeat_bundle(&bundle);
}

static void check(const envelope_t *envelope)
{
    switch (envelope->kind) {
    case WIRE_BATCH:
        check_batch(envelope);
        break;
    case WIRE_HEAD:
        check_head(envelope);
        break;
    case WIRE_FETCH:
        check_fetch(envelope);
        break;
    case WIRE_DONE:
        check_done(envelope);
        break;
    case WIRE_SURVEY:
        check_survey(envelope);
        break;
    case WIRE_BUNDLE:
        check_bundle(envelope);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[crypto_sign_SEEDBYTES] = {1};
    if (wire == NULL) {
        expect(sodium_init() != -1);
        wire = wire_new(seed);
        again = wire_new(seed);
    }
    if (size == 0 || size > WIRE_BODY_MAX + 1)
        return 0;
    size_t total = WIRE_HEADER_BYTES + size - 1 + WIRE_SIGNATURE_BYTES;
    uint8_t *bytes = calloc(1, total);
    envelope_t envelope;
    expect(bytes != NULL);
    memcpy(bytes, "BNMS", 4);
    bytes[4] = WIRE_VERSION;
    bytes[5] = (uint8_t)(1 + data[0] % WIRE_BUNDLE);
    memcpy(bytes + WIRE_HEADER_BYTES, data + 1, size - 1);
    expect(wire_open(bytes, total, &envelope) == WIRE_OK);
    check(&envelope);
    free(bytes);
    return 0;
}
