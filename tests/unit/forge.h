/* forge - envelopes as an enemy would make them: any kind, any version, any body, signed or not.
 * And the ordinary batches and heads of a made-up origin. */
#ifndef BANMESH_TESTS_FORGE_H
#define BANMESH_TESTS_FORGE_H

#include "banmesh.pb-c.h"
#include "support.h"
#include "wire.h"

#define FORGE_EPOCH 1795288000000

/* A node that signs. */
typedef struct {
    uint8_t seed[CERT_SECRET_BYTES];
    pubkey_t public_key;
    wire_t *wire;
} forge_node_t;

/* The same node for the same number, in every run. */
forge_node_t forge_node(uint8_t number);
/* The node of a certificate. */
forge_node_t forge_node_of(const cert_t *cert);
void forge_end(forge_node_t *node);

typedef struct {
    uint8_t bytes[WIRE_ENVELOPE_MAX + 1024]; /* room for what is too long */
    size_t size;
} forged_t;

/* What wire_open says of it. */
wire_error_t forge_error(const forged_t *forged);

/* The same opened, as it must be possible; borrows its bytes until one of these is called again. */
const envelope_t *forge_open(const forged_t *forged);
const envelope_t *forge_envelope(const uint8_t *bytes, size_t size);

/* A header of that kind, any body, and a signature that fits. */
void forge_body(const forge_node_t *node, int kind, const void *body, size_t size, forged_t *out);
/* The same, the body given as a protobuf message. */
void forge_message(const forge_node_t *node, int kind, const ProtobufCMessage *body, forged_t *out);
/* Sign again after the bytes were changed. */
void forge_sign(const forge_node_t *node, forged_t *envelope);

/* The feed of a node in FORGE_EPOCH. */
feed_id_t forge_feed(const forge_node_t *node);

/* A batch of one ban, of 45.154.244.(seq mod 256). */
void forge_batch(const forge_node_t *node, uint64_t seq, forged_t *out);
/* The head of the feed at seq, as if batch seq were forge_batch's. */
void forge_head(const forge_node_t *node, uint64_t seq, uint64_t floor, forged_t *out);

#endif
