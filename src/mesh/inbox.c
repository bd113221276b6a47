#include "inbox.h"

struct inbox {
    inbox_config_t config;
    verifier_t *verifier;
    bool advanced;
    wire_bundle_t bundle; /* being taken apart */
};

static bool is_signed_by(const peer_t *peer, const uint8_t *envelope)
{
    return pubkey_equal(wire_origin(envelope), &peer_node(peer)->sign_public);
}

/* A batch or head whose signature is right. peer may be NULL: gone meanwhile. */
static void take_verified(inbox_t *self, peer_t *peer, const uint8_t *envelope, size_t size,
                          peer_way_t way, bool live)
{
    wire_head_t head;
    replica_result_t result = replica_receive(self->config.replica, envelope, size, live, &head);
    if (result == REPLICA_FAILED)
        self->config.failed(self->config.arg);
    if (result == REPLICA_STORED)
        self->advanced = true;
    /* A head that cannot be kept now shows all the same that its sender is there; but only over its
     * own connection. */
    else if ((result == REPLICA_HEAD || result == REPLICA_FAILED) &&
             wire_kind(envelope) == WIRE_HEAD && peer != NULL && way != PEER_ANSWERED &&
             is_signed_by(peer, envelope) && peer_heartbeat(peer, head.time_ms, way))
        self->config.connected(self->config.arg, peer);
}

/* Check a batch or head here and now. */
static void take_now(inbox_t *self, peer_t *peer, const uint8_t *envelope, size_t size,
                     peer_way_t way, bool live)
{
    replica_result_t look = replica_look(self->config.replica, envelope, size);
    /* A heartbeat may have come before, passed on by somebody quicker. */
    bool heartbeat = wire_kind(envelope) == WIRE_HEAD && is_signed_by(peer, envelope);
    if (look == REPLICA_REFUSED || (look == REPLICA_KNOWN && !heartbeat))
        return;
    wire_error_t error = wire_verify(self->config.wire, envelope, size);
    if (error == WIRE_OK)
        take_verified(self, peer, envelope, size, way, live);
    else
        replica_refuse_wire(self->config.replica, error);
}

/* ---- bundles ---- */

/* Heads, or batches: each on its own. */
static void take_each(inbox_t *self, peer_t *peer, peer_way_t way)
{
    size_t offset = 0;
    for (size_t i = 0; i < self->bundle.count; i++) {
        const uint8_t *envelope = self->bundle.bytes + offset;
        size_t size = self->bundle.sizes[i];
        offset += size;
        wire_error_t error = wire_check(envelope, size);
        if (error == WIRE_OK && wire_kind(envelope) != WIRE_HEAD &&
            (wire_kind(envelope) != WIRE_BATCH || way == PEER_ANNOUNCED))
            error = WIRE_BAD_KIND;
        if (error != WIRE_OK)
            replica_refuse_wire(self->config.replica, error);
        else if (wire_kind(envelope) == WIRE_HEAD)
            /* Of others, or of older epochs: no heartbeat either way. */
            take_now(self, peer, envelope, size, PEER_ANSWERED, false);
        else if (replica_look(self->config.replica, envelope, size) == REPLICA_WANTED)
            verifier_put(self->verifier, peer, envelope, size);
    }
}

/* What must be signed by the peer itself. */
static bool is_genuine(inbox_t *self, const peer_t *peer, const uint8_t *envelope, size_t size)
{
    if (!is_signed_by(peer, envelope)) {
        replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        return false;
    }
    wire_error_t error = wire_verify(self->config.wire, envelope, size);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    return error == WIRE_OK;
}

static void take_bundle(inbox_t *self, peer_t *peer, const uint8_t *envelope, size_t size,
                        peer_way_t way)
{
    if (!is_genuine(self, peer, envelope, size))
        return;
    wire_error_t error = wire_read_bundle(self->config.wire, envelope, size, &self->bundle);
    if (error == WIRE_OK)
        take_each(self, peer, way);
    else
        replica_refuse_wire(self->config.replica, error);
}

/* ---- results of the verifier: batches that were asked for, and DONE behind them ---- */

static void take_done(inbox_t *self, const peer_t *peer, const uint8_t *envelope, size_t size)
{
    wire_done_t done;
    wire_error_t error = wire_read_done(self->config.wire, envelope, size, &done);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (peer != NULL)
        catchup_done(self->config.catchup, peer, &done);
}

static void verified(void *arg, void *tag, const uint8_t *envelope, size_t size, wire_error_t error)
{
    inbox_t *self = arg;
    peer_t *peer = tag;
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (wire_kind(envelope) == WIRE_DONE)
        take_done(self, peer, envelope, size);
    else
        take_verified(self, peer, envelope, size, PEER_ANSWERED, false);
}

static void idle(void *arg)
{
    inbox_t *self = arg;
    self->config.idle(self->config.arg);
}

/* ---- by which way ---- */

/* What a peer tells all: its batches and those it relays, its head, changed heads of others. */
static void take_announced(inbox_t *self, peer_t *peer, const uint8_t *envelope, size_t size,
                           peer_way_t way)
{
    size_t feeds = feed_count(self->config.feed);
    wire_kind_t kind = wire_kind(envelope);
    if (kind == WIRE_BATCH || kind == WIRE_HEAD) {
        take_now(self, peer, envelope, size, way, true);
        if (feed_count(self->config.feed) > feeds)
            self->config.feed_began(self->config.arg, peer);
    } else if (kind == WIRE_BUNDLE)
        take_bundle(self, peer, envelope, size, PEER_ANNOUNCED);
    else
        replica_refuse_wire(self->config.replica, WIRE_BAD_KIND);
}

/* What a peer tells us alone, because we asked; or it asks. */
static void take_answered(inbox_t *self, peer_t *peer, const uint8_t *envelope, size_t size)
{
    switch (wire_kind(envelope)) {
    case WIRE_BATCH:
        if (replica_look(self->config.replica, envelope, size) == REPLICA_WANTED)
            verifier_put(self->verifier, peer, envelope, size);
        break;
    case WIRE_DONE:
        if (is_signed_by(peer, envelope))
            verifier_put(self->verifier, peer, envelope, size);
        else
            replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        break;
    case WIRE_BUNDLE:
        take_bundle(self, peer, envelope, size, PEER_ANSWERED);
        break;
    case WIRE_HEAD: /* a survey may bring a single one */
        take_now(self, peer, envelope, size, PEER_ANSWERED, false);
        break;
    case WIRE_FETCH:
    case WIRE_SURVEY:
        self->config.asked(self->config.arg, peer, envelope, size);
        break;
    }
}

/* A peer that nobody can reach speaks to us over one connection: announcements, and answers to what
 * we asked back. */
static void take_offered(inbox_t *self, peer_t *peer, const uint8_t *envelope, size_t size)
{
    wire_kind_t kind = wire_kind(envelope);
    bool live = !catchup_is_asked(self->config.catchup, peer);
    if (kind == WIRE_HEAD || (kind == WIRE_BATCH && live))
        take_announced(self, peer, envelope, size, PEER_OFFERED);
    else
        take_answered(self, peer, envelope, size);
}

void inbox_take(inbox_t *self, peer_t *peer, const peer_message_t *message)
{
    if (message->more_frames) {
        replica_refuse(self->config.replica, REPLICA_MORE_FRAMES);
        return;
    }
    wire_error_t error = wire_check(message->bytes, message->size);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (message->way == PEER_ANNOUNCED)
        take_announced(self, peer, message->bytes, message->size, PEER_ANNOUNCED);
    else if (message->way == PEER_ANSWERED)
        take_answered(self, peer, message->bytes, message->size);
    else
        take_offered(self, peer, message->bytes, message->size);
}

/* ---- start and end ---- */

inbox_t *inbox_new(const inbox_config_t *config)
{
    inbox_t *self = xcalloc(1, sizeof *self);
    const verifier_calls_t calls = {verified, idle, self};
    self->config = *config;
    self->verifier = verifier_new(config->loop, verifier_cores(), &calls);
    return self;
}

void inbox_destroy(inbox_t **self_p)
{
    if (*self_p == NULL)
        return;
    verifier_destroy(&(*self_p)->verifier);
    free(*self_p);
    *self_p = NULL;
}

void inbox_forget(inbox_t *self, const peer_t *peer)
{
    verifier_forget(self->verifier, peer);
}

bool inbox_advanced(inbox_t *self)
{
    bool advanced = self->advanced;
    self->advanced = false;
    return advanced;
}
