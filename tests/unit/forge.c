#include "forge.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static forge_node_t make(const uint8_t seed[static CERT_SECRET_BYTES])
{
    forge_node_t node;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    memcpy(node.seed, seed, sizeof node.seed);
    crypto_sign_seed_keypair(node.public_key.bytes, secret, node.seed);
    node.wire = wire_new(node.seed);
    return node;
}

forge_node_t forge_node(uint8_t number)
{
    uint8_t seed[CERT_SECRET_BYTES];
    memset(seed, number, sizeof seed);
    return make(seed);
}

forge_node_t forge_node_of(const cert_t *cert)
{
    return make(cert->sign_seed);
}

void forge_end(forge_node_t *node)
{
    wire_destroy(&node->wire);
}

wire_error_t forge_error(const forged_t *forged)
{
    envelope_t envelope;
    return wire_open(forged->bytes, forged->size, &envelope);
}

const envelope_t *forge_envelope(const uint8_t *bytes, size_t size)
{
    static envelope_t envelope;
    assert_int_equal(wire_open(bytes, size, &envelope), WIRE_OK);
    return &envelope;
}

const envelope_t *forge_open(const forged_t *forged)
{
    return forge_envelope(forged->bytes, forged->size);
}

void forge_sign(const forge_node_t *node, forged_t *envelope)
{
    static uint8_t message[sizeof WIRE_CONTEXT + sizeof envelope->bytes];
    pubkey_t public_key;
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    size_t context = strlen(WIRE_CONTEXT);
    size_t covered = envelope->size - WIRE_SIGNATURE_BYTES;
    crypto_sign_seed_keypair(public_key.bytes, secret, node->seed);
    memcpy(message, WIRE_CONTEXT, context);
    memcpy(message + context, envelope->bytes, covered);
    crypto_sign_detached(envelope->bytes + covered, NULL, message, context + covered, secret);
}

void forge_body(const forge_node_t *node, int kind, const void *body, size_t size, forged_t *out)
{
    memcpy(out->bytes, "BNMS", 4);
    out->bytes[4] = WIRE_VERSION;
    out->bytes[5] = (uint8_t)kind;
    out->bytes[6] = out->bytes[7] = 0;
    memcpy(out->bytes + 8, node->public_key.bytes, PUBKEY_BYTES);
    if (size > 0)
        memcpy(out->bytes + WIRE_HEADER_BYTES, body, size);
    out->size = WIRE_HEADER_BYTES + size + WIRE_SIGNATURE_BYTES;
    forge_sign(node, out);
}

void forge_message(const forge_node_t *node, int kind, const ProtobufCMessage *body, forged_t *out)
{
    static uint8_t bytes[WIRE_BODY_MAX + 512];
    size_t size = protobuf_c_message_get_packed_size(body);
    if (size > sizeof bytes)
        fail_msg("a body of %zu bytes is too large to forge", size);
    forge_body(node, kind, bytes, protobuf_c_message_pack(body, bytes), out);
}

feed_id_t forge_feed(const forge_node_t *node)
{
    feed_id_t feed = {.epoch = FORGE_EPOCH};
    feed.origin = node->public_key;
    return feed;
}

void forge_batch(const forge_node_t *node, uint64_t seq, forged_t *out)
{
    char ip[ADDR_TEXT_MAX];
    snprintf(ip, sizeof ip, "45.154.244.%u", (unsigned)(seq % 256));
    event_t event = support_ban_event(ip);
    wire_batch_t batch = {.feed = forge_feed(node), .seq = seq, .event_count = 1};
    out->size = wire_write_batch(node->wire, &batch, &event, out->bytes);
}

void forge_head(const forge_node_t *node, uint64_t seq, uint64_t floor, forged_t *out)
{
    forged_t batch;
    wire_head_t head = {.feed = forge_feed(node),
                        .seq = seq,
                        .floor = floor,
                        .time_ms = FORGE_EPOCH + 1000};
    if (seq > 0) {
        forge_batch(node, seq, &batch);
        wire_hash(forge_open(&batch), head.hash);
    }
    out->size = wire_write_head(node->wire, &head, out->bytes);
}
