#include "wire.h"

#include "banmesh.pb-c.h"
#include "codec.h"
#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT_BYTES     (sizeof WIRE_CONTEXT - 1)
#define ARENA_ALIGN       16
#define EVENT_FIXED_BYTES 160 /* all numbers of an event at their longest, tags and lengths */
#define POSITION_BYTES    40  /* of one more place, likewise */

static const uint8_t magic[4] = {'B', 'N', 'M', 'S'};

struct wire {
    bool can_sign;
    pubkey_t public_key;
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
    ProtobufCAllocator allocator;
    size_t arena_used;
    const Banmesh__Batch *batch; /* in the arena, of the last wire_read_batch */
    codec_event_t fill[WIRE_EVENTS_MAX];
    Banmesh__Event *events[WIRE_EVENTS_MAX];
    uint8_t message[CONTEXT_BYTES + WIRE_ENVELOPE_MAX]; /* what a signature covers */
    _Alignas(ARENA_ALIGN) uint8_t arena[WIRE_ARENA_BYTES];
};

static const char *const error_names[WIRE_ERROR_COUNT] = {
    [WIRE_OK] = "ok",
    [WIRE_TOO_SHORT] = "too-short",
    [WIRE_TOO_LONG] = "too-long",
    [WIRE_BAD_MAGIC] = "bad-magic",
    [WIRE_BAD_VERSION] = "bad-version",
    [WIRE_BAD_KIND] = "bad-kind",
    [WIRE_BAD_RESERVED] = "bad-reserved",
    [WIRE_BAD_SIGNATURE] = "bad-signature",
    [WIRE_BAD_BODY] = "bad-body",
    [WIRE_NO_EVENTS] = "no-events",
    [WIRE_TOO_MANY_EVENTS] = "too-many-events",
    [WIRE_BAD_NUMBER] = "bad-number",
    [WIRE_BAD_HASH] = "bad-hash",
    [WIRE_BAD_ORIGIN] = "bad-origin",
};

const char *wire_error_name(wire_error_t error)
{
    return error_names[error];
}

/* 64 KiB of hostile protobuf decodes into megabytes: the arena says no at 512 KiB, and is empty
 * again before the next message. */
static void *arena_take(void *wire, size_t size)
{
    wire_t *self = wire;
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (size > WIRE_ARENA_BYTES || rounded > WIRE_ARENA_BYTES - self->arena_used)
        return NULL;
    void *memory = self->arena + self->arena_used;
    self->arena_used += rounded;
    return memory;
}

static void arena_keep(void *wire, void *memory)
{
    (void)wire;
    (void)memory;
}

wire_t *wire_new(const uint8_t *seed)
{
    wire_t *self = xcalloc(1, sizeof *self);
    self->allocator = (ProtobufCAllocator){arena_take, arena_keep, self};
    self->can_sign = seed != NULL;
    if (self->can_sign)
        crypto_sign_seed_keypair(self->public_key.bytes, self->secret_key, seed);
    return self;
}

void wire_destroy(wire_t **self_p)
{
    if (*self_p == NULL)
        return;
    sodium_memzero((*self_p)->secret_key, sizeof(*self_p)->secret_key);
    free(*self_p);
    *self_p = NULL;
}

/* Origin in place: bytes only, so it may stand at any address. */
static envelope_t opened(const uint8_t *bytes, size_t size)
{
    return (envelope_t){bytes, size, (wire_kind_t)bytes[5], (const pubkey_t *)(bytes + 8)};
}

wire_error_t wire_open(const uint8_t *bytes, size_t size, envelope_t *out)
{
    if (size < WIRE_HEADER_BYTES + WIRE_SIGNATURE_BYTES)
        return WIRE_TOO_SHORT;
    if (size > WIRE_ENVELOPE_MAX)
        return WIRE_TOO_LONG;
    if (memcmp(bytes, magic, sizeof magic) != 0)
        return WIRE_BAD_MAGIC;
    if (bytes[4] != WIRE_VERSION)
        return WIRE_BAD_VERSION;
    if (bytes[5] < WIRE_BATCH || bytes[5] > WIRE_BUNDLE)
        return WIRE_BAD_KIND;
    if (bytes[6] != 0 || bytes[7] != 0)
        return WIRE_BAD_RESERVED;
    *out = opened(bytes, size);
    return WIRE_OK;
}

envelope_t wire_copy(const envelope_t *envelope)
{
    return opened(memcpy(xmalloc(envelope->size), envelope->bytes, envelope->size), envelope->size);
}

void wire_free(envelope_t *copy)
{
    free((void *)(uintptr_t)copy->bytes); /* as wire_copy allocated them */
    *copy = (envelope_t){0};
}

/* Context and envelope up to the signature, in one piece. Returns its size. */
static size_t signed_part(wire_t *self, const uint8_t *bytes, size_t size)
{
    size_t covered = size - WIRE_SIGNATURE_BYTES;
    memcpy(self->message, WIRE_CONTEXT, CONTEXT_BYTES);
    memcpy(self->message + CONTEXT_BYTES, bytes, covered);
    return CONTEXT_BYTES + covered;
}

wire_error_t wire_verify(wire_t *self, const envelope_t *envelope)
{
    size_t length = signed_part(self, envelope->bytes, envelope->size);
    const uint8_t *signature = envelope->bytes + envelope->size - WIRE_SIGNATURE_BYTES;
    if (crypto_sign_verify_detached(signature, self->message, length, envelope->origin->bytes) != 0)
        return WIRE_BAD_SIGNATURE;
    return WIRE_OK;
}

static size_t body_length(const envelope_t *envelope)
{
    return envelope->size - WIRE_HEADER_BYTES - WIRE_SIGNATURE_BYTES;
}

static ProtobufCMessage *unpack(wire_t *self, const ProtobufCMessageDescriptor *descriptor,
                                wire_kind_t kind, const envelope_t *envelope)
{
    self->arena_used = 0;
    self->batch = NULL;
    if (envelope->kind != kind)
        return NULL;
    return protobuf_c_message_unpack(descriptor, &self->allocator, body_length(envelope),
                                     envelope->bytes + WIRE_HEADER_BYTES);
}

/* Rows and keys hold epoch and seq as signed numbers, and seq in 40 bits. */
static bool epoch_valid(uint64_t epoch)
{
    return epoch <= EVENT_TIME_MAX_MS;
}

static bool seq_valid(uint64_t seq)
{
    return seq <= EVENT_SEQ_MAX;
}

wire_error_t wire_read_batch(wire_t *self, const envelope_t *envelope, wire_batch_t *out)
{
    const Banmesh__Batch *body =
        (const Banmesh__Batch *)unpack(self, &banmesh__batch__descriptor, WIRE_BATCH, envelope);
    if (body == NULL)
        return WIRE_BAD_BODY;
    if (body->n_events == 0)
        return WIRE_NO_EVENTS;
    if (body->n_events > WIRE_EVENTS_MAX)
        return WIRE_TOO_MANY_EVENTS;
    if (body->epoch == 0 || !epoch_valid(body->epoch) || body->seq == 0 || !seq_valid(body->seq) ||
        body->time_ms > EVENT_TIME_MAX_MS)
        return WIRE_BAD_NUMBER;
    out->feed.origin = *envelope->origin;
    out->feed.epoch = body->epoch;
    out->feed.channel = body->channel;
    out->seq = body->seq;
    out->time_ms = (int64_t)body->time_ms;
    out->event_count = body->n_events;
    self->batch = body;
    return WIRE_OK;
}

event_error_t wire_event(wire_t *self, size_t index, event_t *out)
{
    const Banmesh__Batch *batch = self->batch;
    event_error_t error = codec_read(batch->events[index], out);
    if (!out->has_original)
        out->original =
            (event_position_t){batch->epoch, batch->seq, batch->channel, (uint32_t)index};
    return error;
}

wire_error_t wire_read_head(wire_t *self, const envelope_t *envelope, wire_head_t *out)
{
    const Banmesh__Head *body =
        (const Banmesh__Head *)unpack(self, &banmesh__head__descriptor, WIRE_HEAD, envelope);
    if (body == NULL)
        return WIRE_BAD_BODY;
    bool empty = body->seq == 0;
    if (!epoch_valid(body->epoch) || !seq_valid(body->seq) || (body->epoch == 0 && !empty) ||
        body->floor == 0 || body->floor > body->seq + 1 || body->epoch_floor > body->epoch ||
        body->time_ms > EVENT_TIME_MAX_MS)
        return WIRE_BAD_NUMBER;
    if (body->hash.len != (empty ? 0 : WIRE_HASH_BYTES))
        return WIRE_BAD_HASH;
    memset(out, 0, sizeof *out);
    out->feed.origin = *envelope->origin;
    out->feed.epoch = body->epoch;
    out->feed.channel = body->channel;
    out->seq = body->seq;
    out->floor = body->floor;
    out->epoch_floor = body->epoch_floor;
    out->time_ms = (int64_t)body->time_ms;
    if (!empty)
        memcpy(out->hash, body->hash.data, WIRE_HASH_BYTES);
    return WIRE_OK;
}

static bool read_feed(const ProtobufCBinaryData *origin, uint64_t epoch, uint32_t channel,
                      feed_id_t *out)
{
    if (origin->len != PUBKEY_BYTES)
        return false;
    memcpy(out->origin.bytes, origin->data, PUBKEY_BYTES);
    out->epoch = epoch;
    out->channel = channel;
    return true;
}

wire_error_t wire_read_fetch(wire_t *self, const envelope_t *envelope, wire_fetch_t *out)
{
    const Banmesh__Fetch *body =
        (const Banmesh__Fetch *)unpack(self, &banmesh__fetch__descriptor, WIRE_FETCH, envelope);
    if (body == NULL)
        return WIRE_BAD_BODY;
    if (!read_feed(&body->origin, body->epoch, body->channel, &out->feed))
        return WIRE_BAD_ORIGIN;
    if (!epoch_valid(body->epoch) || !seq_valid(body->after) || body->credit == 0)
        return WIRE_BAD_NUMBER;
    out->after = body->after;
    out->credit = body->credit;
    return WIRE_OK;
}

wire_error_t wire_read_done(wire_t *self, const envelope_t *envelope, wire_done_t *out)
{
    const Banmesh__Done *body =
        (const Banmesh__Done *)unpack(self, &banmesh__done__descriptor, WIRE_DONE, envelope);
    if (body == NULL)
        return WIRE_BAD_BODY;
    if (!read_feed(&body->origin, body->epoch, body->channel, &out->feed))
        return WIRE_BAD_ORIGIN;
    if (!epoch_valid(body->epoch) || !seq_valid(body->through) || !seq_valid(body->have) ||
        !seq_valid(body->oldest))
        return WIRE_BAD_NUMBER;
    out->through = body->through;
    out->have = body->have;
    out->oldest = body->oldest;
    return WIRE_OK;
}

wire_error_t wire_read_survey(wire_t *self, const envelope_t *envelope, wire_survey_t *out)
{
    const Banmesh__Survey *body =
        (const Banmesh__Survey *)unpack(self, &banmesh__survey__descriptor, WIRE_SURVEY, envelope);
    if (body == NULL || (body->digests.len != 0 && body->digests.len != sizeof out->digests))
        return WIRE_BAD_BODY;
    *out =
        (wire_survey_t){.all = body->digests.len == 0, .history = body->history, .run = body->run};
    if (!out->all)
        memcpy(out->digests, body->digests.data, sizeof out->digests);
    return WIRE_OK;
}

bool wire_bundle_add(wire_bundle_t *bundle, const uint8_t *bytes, size_t size)
{
    if (bundle->count == WIRE_BUNDLE_MAX || size > WIRE_BUNDLE_BYTES_MAX - bundle->used)
        return false;
    if (size > 0) /* an empty one of a peer's list has no bytes to point at */
        memcpy(bundle->bytes + bundle->used, bytes, size);
    bundle->sizes[bundle->count++] = size;
    bundle->used += size;
    return true;
}

/* An address, or nothing: it is shown to the operator. */
static bool read_heard(const Banmesh__Heard *body, wire_heard_t *out)
{
    addr_t address;
    *out = (wire_heard_t){.said = body != NULL};
    if (body == NULL)
        return true;
    if (body->other.len >= sizeof out->other || body->ms_ago < -1 ||
        body->ms_ago > EVENT_TIME_MAX_MS)
        return false;
    if (body->other.len > 0)
        memcpy(out->other, body->other.data, body->other.len);
    out->ms_ago = body->ms_ago;
    out->elsewhere = body->elsewhere;
    return out->other[0] == '\0' || addr_parse(out->other, &address) == ADDR_OK;
}

wire_error_t wire_read_bundle(wire_t *self, const envelope_t *envelope, wire_bundle_t *bundle)
{
    const Banmesh__Bundle *body =
        (const Banmesh__Bundle *)unpack(self, &banmesh__bundle__descriptor, WIRE_BUNDLE, envelope);
    if (body == NULL)
        return WIRE_BAD_BODY;
    bundle->count = bundle->used = 0;
    if (!read_heard(body->heard, &bundle->heard))
        return WIRE_BAD_NUMBER;
    for (size_t i = 0; i < body->n_envelopes; i++)
        if (!wire_bundle_add(bundle, body->envelopes[i].data, body->envelopes[i].len))
            return WIRE_BAD_NUMBER;
    return WIRE_OK;
}

/* Header before and signature behind a body that is already in place. Returns the whole size. */
static size_t seal(wire_t *self, wire_kind_t kind, size_t body_size, uint8_t *out)
{
    if (!self->can_sign)
        fatalx("a message is to be signed without a key");
    size_t size = WIRE_HEADER_BYTES + body_size + WIRE_SIGNATURE_BYTES;
    memcpy(out, magic, sizeof magic);
    out[4] = WIRE_VERSION;
    out[5] = (uint8_t)kind;
    out[6] = out[7] = 0;
    memcpy(out + 8, self->public_key.bytes, PUBKEY_BYTES);
    size_t length = signed_part(self, out, size);
    crypto_sign_detached(out + size - WIRE_SIGNATURE_BYTES, NULL, self->message, length,
                         self->secret_key);
    return size;
}

static size_t pack(wire_t *self, wire_kind_t kind, const ProtobufCMessage *body, uint8_t *out)
{
    if (protobuf_c_message_get_packed_size(body) > WIRE_BODY_MAX)
        return 0;
    return seal(self, kind, protobuf_c_message_pack(body, out + WIRE_HEADER_BYTES), out);
}

size_t wire_write_batch(wire_t *self, const wire_batch_t *batch, const event_t *events,
                        uint8_t *out)
{
    Banmesh__Batch body = BANMESH__BATCH__INIT;
    body.epoch = batch->feed.epoch;
    body.channel = batch->feed.channel;
    body.seq = batch->seq;
    body.time_ms = (uint64_t)batch->time_ms;
    body.n_events = batch->event_count;
    body.events = self->events;
    for (size_t i = 0; i < batch->event_count; i++) {
        codec_fill(&self->fill[i], &events[i]);
        self->events[i] = &self->fill[i].event;
    }
    return pack(self, WIRE_BATCH, &body.base, out);
}

size_t wire_write_head(wire_t *self, const wire_head_t *head, uint8_t *out)
{
    Banmesh__Head body = BANMESH__HEAD__INIT;
    uint8_t hash[WIRE_HASH_BYTES];
    memcpy(hash, head->hash, sizeof hash);
    body.epoch = head->feed.epoch;
    body.channel = head->feed.channel;
    body.seq = head->seq;
    body.floor = head->floor;
    body.epoch_floor = head->epoch_floor;
    body.time_ms = (uint64_t)head->time_ms;
    if (head->seq > 0)
        body.hash = (ProtobufCBinaryData){WIRE_HASH_BYTES, hash};
    return pack(self, WIRE_HEAD, &body.base, out);
}

size_t wire_write_fetch(wire_t *self, const wire_fetch_t *fetch, uint8_t *out)
{
    Banmesh__Fetch body = BANMESH__FETCH__INIT;
    pubkey_t origin = fetch->feed.origin;
    body.origin = (ProtobufCBinaryData){PUBKEY_BYTES, origin.bytes};
    body.epoch = fetch->feed.epoch;
    body.channel = fetch->feed.channel;
    body.after = fetch->after;
    body.credit = fetch->credit;
    return pack(self, WIRE_FETCH, &body.base, out);
}

size_t wire_write_done(wire_t *self, const wire_done_t *done, uint8_t *out)
{
    Banmesh__Done body = BANMESH__DONE__INIT;
    pubkey_t origin = done->feed.origin;
    body.origin = (ProtobufCBinaryData){PUBKEY_BYTES, origin.bytes};
    body.epoch = done->feed.epoch;
    body.channel = done->feed.channel;
    body.through = done->through;
    body.have = done->have;
    body.oldest = done->oldest;
    return pack(self, WIRE_DONE, &body.base, out);
}

size_t wire_write_survey(wire_t *self, const wire_survey_t *survey, uint8_t *out)
{
    Banmesh__Survey body = BANMESH__SURVEY__INIT;
    uint8_t digests[sizeof survey->digests];
    memcpy(digests, survey->digests, sizeof digests);
    if (!survey->all)
        body.digests = (ProtobufCBinaryData){sizeof digests, digests};
    body.history = survey->history;
    body.run = survey->run;
    return pack(self, WIRE_SURVEY, &body.base, out);
}

size_t wire_write_bundle(wire_t *self, const wire_bundle_t *bundle, uint8_t *out)
{
    Banmesh__Bundle body = BANMESH__BUNDLE__INIT;
    ProtobufCBinaryData list[WIRE_BUNDLE_MAX];
    size_t offset = 0;
    for (size_t i = 0; i < bundle->count; i++) {
        list[i] =
            (ProtobufCBinaryData){bundle->sizes[i], (uint8_t *)(uintptr_t)(bundle->bytes + offset)};
        offset += bundle->sizes[i];
    }
    body.n_envelopes = bundle->count;
    body.envelopes = list;
    return pack(self, WIRE_BUNDLE, &body.base, out);
}

size_t wire_write_heard(wire_t *self, const wire_heard_t *heard, uint8_t *out)
{
    Banmesh__Bundle body = BANMESH__BUNDLE__INIT;
    Banmesh__Heard inner = BANMESH__HEARD__INIT;
    inner.ms_ago = heard->ms_ago;
    inner.elsewhere = heard->elsewhere;
    inner.other = (ProtobufCBinaryData){strlen(heard->other), (uint8_t *)(uintptr_t)heard->other};
    body.heard = &inner;
    return pack(self, WIRE_BUNDLE, &body.base, out);
}

size_t wire_event_size(const event_t *event)
{
    if (event->kind == EVENT_BAN)
        return EVENT_FIXED_BYTES + strlen(event->ban.jail) + strlen(event->ban.port) +
               strlen(event->ban.protocol) + strlen(event->ban.reason);
    return EVENT_FIXED_BYTES + strlen(event->grace.text) + event->grace.ban_count * POSITION_BYTES;
}

void wire_hash(const envelope_t *envelope, uint8_t hash[static WIRE_HASH_BYTES])
{
    crypto_generichash(hash, WIRE_HASH_BYTES, envelope->bytes + WIRE_HEADER_BYTES,
                       body_length(envelope), NULL, 0);
}
