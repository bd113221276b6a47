/* wire - envelopes: what one message is, byte for byte.
 *
 *   offset  size
 *        0     4  magic "BNMS"
 *        4     1  version, 1
 *        5     1  kind
 *        6     2  zero
 *        8    32  origin: the signer's public Ed25519 key
 *       40     n  body: protobuf, banmesh.proto; at most 64 KiB
 *   40 + n    64  Ed25519 signature over WIRE_CONTEXT, then everything above
 *
 * The signature covers the kind, so that no body passes for another kind; it is verified on the
 * bytes as received, before any protobuf is touched; nothing is ever encoded again to verify.
 * Decoding allocates from a capped arena only. Pure: no sockets, no clock, no policy. */
#ifndef BANMESH_WIRE_WIRE_H
#define BANMESH_WIRE_WIRE_H

#include "event.h"

#include <stdbool.h>

#define WIRE_VERSION          1
#define WIRE_HASH_BYTES       32
#define WIRE_HEADER_BYTES     40
#define WIRE_SIGNATURE_BYTES  64
#define WIRE_BODY_MAX         65536
#define WIRE_ENVELOPE_MAX     (WIRE_HEADER_BYTES + WIRE_BODY_MAX + WIRE_SIGNATURE_BYTES)
#define WIRE_EVENTS_MAX       (EVENT_INDEX_MAX + 1)
#define WIRE_ARENA_BYTES      (512 * 1024)
#define WIRE_BUNDLE_MAX       256
#define WIRE_BUNDLE_BYTES_MAX (WIRE_BODY_MAX - 3 * WIRE_BUNDLE_MAX) /* beside tags and lengths */
#define WIRE_DIGESTS          256 /* in a survey: one for each first byte of an origin */
#define WIRE_DIGEST_BYTES     8
#define WIRE_CONTEXT          "banmesh envelope 1"

typedef enum {
    WIRE_BATCH = 1,
    WIRE_HEAD = 2,
    WIRE_FETCH = 3,
    WIRE_DONE = 4,
    WIRE_SURVEY = 5,
    WIRE_BUNDLE = 6,
} wire_kind_t;

/* Why an envelope was refused. */
typedef enum {
    WIRE_OK = 0,
    WIRE_TOO_SHORT,
    WIRE_TOO_LONG,
    WIRE_BAD_MAGIC,
    WIRE_BAD_VERSION,
    WIRE_BAD_KIND,
    WIRE_BAD_RESERVED,
    WIRE_BAD_SIGNATURE,
    WIRE_BAD_BODY,  /* not the protobuf of its kind, or more than the arena holds */
    WIRE_NO_EVENTS, /* a batch of none */
    WIRE_TOO_MANY_EVENTS,
    WIRE_BAD_NUMBER, /* epoch, seq, a floor, time or credit out of range */
    WIRE_BAD_HASH,
    WIRE_BAD_ORIGIN,
    WIRE_ERROR_COUNT,
} wire_error_t;

/* A word for counters: "bad-signature". */
const char *wire_error_name(wire_error_t error);

typedef struct {
    feed_id_t feed;
    uint64_t seq;
    uint64_t floor;
    uint64_t epoch_floor; /* the origin's oldest epoch that counts; at most feed.epoch */
    int64_t time_ms;
    uint8_t hash[WIRE_HASH_BYTES]; /* zero if seq is 0 */
} wire_head_t;

typedef struct {
    feed_id_t feed;
    uint64_t after;
    uint32_t credit;
} wire_fetch_t;

typedef struct {
    feed_id_t feed;
    uint64_t through;
    uint64_t have;
    uint64_t oldest;
} wire_done_t;

typedef struct {
    bool all;     /* no digests: all heads are wanted */
    bool history; /* those of epochs that have ended, too */
    uint64_t run; /* of the asker's daemon; 0: not said */
    uint8_t digests[WIRE_DIGESTS][WIRE_DIGEST_BYTES];
} wire_survey_t;

/* What the answerer of a survey knows of the asker. */
typedef struct {
    bool said;                 /* in a bundle: it is there */
    int64_t ms_ago;            /* since the asker was heard; -1: never */
    bool elsewhere;            /* its key is in use at another place, too */
    char other[ADDR_TEXT_MAX]; /* the address of that place; may be "" */
} wire_heard_t;

/* A batch; its events are read one by one with wire_event. */
typedef struct {
    feed_id_t feed;
    uint64_t seq;
    int64_t time_ms;    /* when it was signed, by its origin's clock */
    size_t event_count; /* 1..WIRE_EVENTS_MAX */
} wire_batch_t;

/* Encoder and decoder with their buffers; holds our signing key. */
typedef struct wire wire_t;

/* seed: our Ed25519 seed; NULL for a wire that only reads. */
wire_t *wire_new(const uint8_t *seed);
void wire_destroy(wire_t **self_p);

/* ---- reading ---- */

/* What a message says of itself before anybody believes it. Borrows its bytes. */
typedef struct {
    const uint8_t *bytes;
    size_t size;
    wire_kind_t kind;
    const pubkey_t *origin; /* in bytes */
} envelope_t;

/* Check size, magic, version, kind and reserved bytes; not the signature. */
wire_error_t wire_open(const uint8_t *bytes, size_t size, envelope_t *out);

/* The same in memory of its own, until wire_free. */
envelope_t wire_copy(const envelope_t *envelope);
void wire_free(envelope_t *copy);

/* Verify the signature with the origin that stands in the envelope: whether that origin is trusted
 * is the caller's question, to be asked first: this is the costliest step. */
wire_error_t wire_verify(wire_t *self, const envelope_t *envelope);

/* Decode a verified envelope of the kind. */
wire_error_t wire_read_batch(wire_t *self, const envelope_t *envelope, wire_batch_t *out);
wire_error_t wire_read_head(wire_t *self, const envelope_t *envelope, wire_head_t *out);
wire_error_t wire_read_fetch(wire_t *self, const envelope_t *envelope, wire_fetch_t *out);
wire_error_t wire_read_done(wire_t *self, const envelope_t *envelope, wire_done_t *out);
wire_error_t wire_read_survey(wire_t *self, const envelope_t *envelope, wire_survey_t *out);

/* Copy the envelopes out of a verified WIRE_BUNDLE, end to end: bundle->bytes. They are as
 * untrusted as any. */
typedef struct {
    size_t count;
    size_t sizes[WIRE_BUNDLE_MAX];
    size_t used;
    uint8_t bytes[WIRE_BUNDLE_BYTES_MAX];
    wire_heard_t heard; /* of one that was read */
} wire_bundle_t;
wire_error_t wire_read_bundle(wire_t *self, const envelope_t *envelope, wire_bundle_t *bundle);

/* Event `index` of the batch that wire_read_batch read last, its identity included. Returns
 * EVENT_OK, or why the event (not the batch) is malformed. */
event_error_t wire_event(wire_t *self, size_t index, event_t *out);

/* ---- writing: each returns the envelope's size; `out` has WIRE_ENVELOPE_MAX bytes ---- */

/* count events, 1..WIRE_EVENTS_MAX. Returns 0 if the body would be larger than WIRE_BODY_MAX. */
size_t wire_write_batch(wire_t *self, const wire_batch_t *batch, const event_t *events,
                        uint8_t *out);
size_t wire_write_head(wire_t *self, const wire_head_t *head, uint8_t *out);
size_t wire_write_fetch(wire_t *self, const wire_fetch_t *fetch, uint8_t *out);
size_t wire_write_done(wire_t *self, const wire_done_t *done, uint8_t *out);
size_t wire_write_survey(wire_t *self, const wire_survey_t *survey, uint8_t *out);
size_t wire_write_bundle(wire_t *self, const wire_bundle_t *bundle, uint8_t *out);

/* A bundle of nothing else. */
size_t wire_write_heard(wire_t *self, const wire_heard_t *heard, uint8_t *out);

/* Add one envelope to a bundle. False if it is full: the largest batches only travel alone. */
bool wire_bundle_add(wire_bundle_t *bundle, const uint8_t *bytes, size_t size);

/* An upper bound of the bytes that an event takes in a batch's body. */
size_t wire_event_size(const event_t *event);

/* BLAKE2b-256 of the body of an envelope, as a head carries it. */
void wire_hash(const envelope_t *envelope, uint8_t hash[static WIRE_HASH_BYTES]);

#endif
