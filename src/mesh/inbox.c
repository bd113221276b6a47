#include "inbox.h"

#include <stdlib.h>

struct inbox {
    inbox_config_t config;
    verifier_t *verifier;
    wire_bundle_t bundle; /* being taken apart */
};

static bool is_signed_by(const peer_t *peer, const envelope_t *envelope)
{
    return pubkey_equal(envelope->origin, &peer_node(peer)->sign_public);
}

static bool is_own_head(const peer_t *peer, const envelope_t *envelope, peer_way_t way)
{
    return envelope->kind == WIRE_HEAD && way != PEER_ANSWERED && is_signed_by(peer, envelope);
}

/* A head of a peer's own that came over its own connection. */
static void take_heartbeat(inbox_t *self, peer_t *peer, const wire_head_t *head, peer_way_t way)
{
    if (peer_heartbeat(peer, head->time_ms, way))
        self->config.connected(self->config.arg, peer);
}

/* A batch or head whose signature is right. peer may be NULL: gone meanwhile. */
static void take_verified(inbox_t *self, peer_t *peer, const arrival_t *in, peer_way_t way)
{
    wire_head_t head;
    replica_result_t result = replica_receive(self->config.replica, in, &head);
    if (result == REPLICA_FAILED)
        self->config.failed(self->config.arg);
    /* A head that cannot be kept now shows all the same that its sender is there. */
    if ((result == REPLICA_HEAD || result == REPLICA_FAILED) && in->envelope.kind == WIRE_HEAD &&
        peer != NULL && is_own_head(peer, &in->envelope, way))
        take_heartbeat(self, peer, &head, way);
}

/* Check a batch or head here and now. */
static void take_now(inbox_t *self, peer_t *peer, const envelope_t *envelope, peer_way_t way,
                     bool live)
{
    arrival_t in = {.envelope = *envelope, .live = live};
    wire_head_t head;
    replica_result_t look = replica_look(self->config.replica, &in);
    bool heartbeat = is_own_head(peer, envelope, way);
    /* A heartbeat may have come before, passed on by somebody quicker. */
    if (look == REPLICA_REFUSED || (look == REPLICA_KNOWN && !heartbeat))
        return;
    /* CURVE says that it is from the peer. */
    if (heartbeat && replica_knows_head(self->config.replica, envelope, &head)) {
        take_heartbeat(self, peer, &head, way);
        return;
    }
    wire_error_t error = wire_verify(self->config.wire, envelope);
    if (error == WIRE_OK)
        take_verified(self, peer, &in, way);
    else
        replica_refuse_wire(self->config.replica, error);
}

/* Have a batch checked beside the loop. */
static void take_later(inbox_t *self, peer_t *peer, const envelope_t *envelope)
{
    arrival_t in = {.envelope = *envelope};
    if (replica_look(self->config.replica, &in) == REPLICA_WANTED)
        verifier_put(self->verifier, peer, envelope);
}

/* ---- bundles ---- */

/* Heads, or batches: each on its own. */
static void take_each(inbox_t *self, peer_t *peer, peer_way_t way)
{
    size_t offset = 0;
    for (size_t i = 0; i < self->bundle.count; i++) {
        envelope_t one;
        wire_error_t error = wire_open(self->bundle.bytes + offset, self->bundle.sizes[i], &one);
        offset += self->bundle.sizes[i];
        if (error == WIRE_OK && one.kind != WIRE_HEAD &&
            (one.kind != WIRE_BATCH || way == PEER_ANNOUNCED))
            error = WIRE_BAD_KIND;
        if (error != WIRE_OK)
            replica_refuse_wire(self->config.replica, error);
        else if (one.kind == WIRE_HEAD)
            /* Of others, or of older epochs: no heartbeat either way. */
            take_now(self, peer, &one, PEER_ANSWERED, false);
        else
            take_later(self, peer, &one);
    }
}

/* What must be signed by the peer itself. */
static bool is_genuine(inbox_t *self, const peer_t *peer, const envelope_t *envelope)
{
    if (!is_signed_by(peer, envelope)) {
        replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        return false;
    }
    wire_error_t error = wire_verify(self->config.wire, envelope);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    return error == WIRE_OK;
}

static void take_bundle(inbox_t *self, peer_t *peer, const envelope_t *envelope, peer_way_t way)
{
    if (!is_genuine(self, peer, envelope))
        return;
    wire_error_t error = wire_read_bundle(self->config.wire, envelope, &self->bundle);
    if (error != WIRE_OK) {
        replica_refuse_wire(self->config.replica, error);
        return;
    }
    if (self->bundle.heard.said && way == PEER_ANSWERED && self->config.heard != NULL)
        self->config.heard(self->config.arg, peer, &self->bundle.heard);
    take_each(self, peer, way);
}

/* ---- results of the verifier: batches that were asked for, and DONE behind them ---- */

static void take_done(inbox_t *self, const peer_t *peer, const envelope_t *envelope)
{
    wire_done_t done;
    wire_error_t error = wire_read_done(self->config.wire, envelope, &done);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (peer != NULL)
        catchup_done(self->config.catchup, peer, &done);
}

static void verified(void *arg, void *tag, const envelope_t *envelope, wire_error_t error)
{
    inbox_t *self = arg;
    peer_t *peer = tag;
    arrival_t in = {.envelope = *envelope};
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (envelope->kind == WIRE_DONE)
        take_done(self, peer, envelope);
    else if (replica_resolve(self->config.replica, &in)) /* the set may be another one by now */
        take_verified(self, peer, &in, PEER_ANSWERED);
}

static void idle(void *arg)
{
    inbox_t *self = arg;
    self->config.idle(self->config.arg);
}

/* ---- by which way ---- */

/* What a peer tells all: its batches and those it relays, its head, changed heads of others. */
static void take_announced(inbox_t *self, peer_t *peer, const envelope_t *envelope, peer_way_t way)
{
    size_t feeds = feed_count(self->config.feed);
    wire_kind_t kind = envelope->kind;
    if (kind == WIRE_BATCH || kind == WIRE_HEAD) {
        take_now(self, peer, envelope, way, true);
        if (feed_count(self->config.feed) > feeds)
            self->config.feed_began(self->config.arg, peer);
    } else if (kind == WIRE_BUNDLE)
        take_bundle(self, peer, envelope, PEER_ANNOUNCED);
    else
        replica_refuse_wire(self->config.replica, WIRE_BAD_KIND);
}

/* What a peer tells us alone, because we asked; or it asks. */
static void take_answered(inbox_t *self, peer_t *peer, const envelope_t *envelope)
{
    switch (envelope->kind) {
    case WIRE_BATCH:
        take_later(self, peer, envelope);
        break;
    case WIRE_DONE:
        if (is_signed_by(peer, envelope))
            verifier_put(self->verifier, peer, envelope);
        else
            replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        break;
    case WIRE_BUNDLE:
        take_bundle(self, peer, envelope, PEER_ANSWERED);
        break;
    case WIRE_HEAD: /* a survey may bring a single one */
        take_now(self, peer, envelope, PEER_ANSWERED, false);
        break;
    case WIRE_FETCH:
    case WIRE_SURVEY:
        self->config.asked(self->config.arg, peer, envelope);
        break;
    }
}

/* A peer that nobody can reach speaks to us over one connection: announcements, and answers to what
 * we asked back. */
static void take_offered(inbox_t *self, peer_t *peer, const envelope_t *envelope)
{
    wire_kind_t kind = envelope->kind;
    bool live = !catchup_is_asked(self->config.catchup, peer);
    if (kind == WIRE_HEAD || (kind == WIRE_BATCH && live))
        take_announced(self, peer, envelope, PEER_OFFERED);
    else
        take_answered(self, peer, envelope);
}

void inbox_take(inbox_t *self, peer_t *peer, const envelope_t *envelope, peer_way_t way)
{
    if (way == PEER_ANNOUNCED)
        take_announced(self, peer, envelope, way);
    else if (way == PEER_ANSWERED)
        take_answered(self, peer, envelope);
    else
        take_offered(self, peer, envelope);
}

void inbox_receive(inbox_t *self, peer_t *peer, const peer_message_t *message)
{
    envelope_t envelope;
    if (message->more_frames) {
        replica_refuse(self->config.replica, REPLICA_MORE_FRAMES);
        return;
    }
    wire_error_t error = wire_open(message->bytes, message->size, &envelope);
    if (error == WIRE_OK)
        inbox_take(self, peer, &envelope, message->way);
    else
        replica_refuse_wire(self->config.replica, error);
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
