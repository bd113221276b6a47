#include "replay.h"

#include "heads.h"

#define BURST_MAX 16 /* requests before others on the loop get their turn */

struct replay {
    const cert_t *own;
    feed_t *feed;
    wire_t *wire;
    replica_t *replica;
    const trust_t *trust;
    listener_t *listener;
    replay_counters_t counters;
    wire_heads_t heads;
    uint8_t out[WIRE_ENVELOPE_MAX];
};

/* One message to one peer. False if its queue is full or it is gone: it will ask again. */
static bool send_to(replay_t *self, zmq_msg_t *routing_id, const uint8_t *bytes, size_t size)
{
    void *socket = zsock_resolve(listener_socket(self->listener));
    zmq_msg_t copy;
    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, routing_id);
    if (zmq_msg_send(&copy, socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) == -1) {
        zmq_msg_close(&copy);
        self->counters.dropped++;
        return false;
    }
    if (zmq_send(socket, bytes, size, ZMQ_DONTWAIT) == -1) {
        self->counters.dropped++;
        return false;
    }
    return true;
}

static void answer_fetch(replay_t *self, zmq_msg_t *routing_id, const wire_fetch_t *fetch)
{
    const feed_ref_t *ref = feed_find(self->feed, &fetch->feed);
    wire_done_t done = {.feed = fetch->feed, .through = fetch->after};
    uint32_t credit = fetch->credit < REPLAY_BATCHES_MAX ? fetch->credit : REPLAY_BATCHES_MAX;
    size_t bytes_sent = 0;
    self->counters.fetches++;
    if (ref != NULL) {
        done.have = ref->have;
        /* What lies under the floor no longer counts for anybody. */
        if (done.through + 1 < ref->floor)
            done.through = ref->floor - 1;
        while (done.through < ref->have && credit > 0 && bytes_sent < REPLAY_BYTES_MAX) {
            const uint8_t *batch;
            size_t size = feed_read(self->feed, ref, done.through + 1, &batch);
            if (size == 0 || !send_to(self, routing_id, batch, size))
                break;
            done.through++;
            credit--;
            bytes_sent += size;
            self->counters.batches_sent++;
        }
    }
    send_to(self, routing_id, self->out, wire_write_done(self->wire, &done, self->out));
}

static bool send_heads(replay_t *self, zmq_msg_t *routing_id)
{
    if (self->heads.count == 0)
        return true;
    size_t size = wire_write_heads(self->wire, &self->heads, self->out);
    self->heads.count = self->heads.used = 0;
    return send_to(self, routing_id, self->out, size);
}

static void answer_survey(replay_t *self, zmq_msg_t *routing_id)
{
    wall_t now = wall_now();
    self->counters.surveys++;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        uint8_t head[HEADS_ENVELOPE_MAX];
        size_t size = heads_read(self->feed, self->wire, self->own->sign_public,
                                 feed_at(self->feed, i), now, head);
        if (size == 0 || wire_heads_add(&self->heads, head, size))
            continue;
        if (!send_heads(self, routing_id))
            return;
        wire_heads_add(&self->heads, head, size);
    }
    send_heads(self, routing_id);
}

/* The node behind a message, by the key that its connection was admitted with. It may have been
 * removed from the set since. */
static const trusted_t *sender_of(const replay_t *self, zmq_msg_t *message)
{
    const char *name = zmq_msg_gets(message, "User-Id");
    return name != NULL ? trust_by_name(self->trust, name) : NULL;
}

static void handle(replay_t *self, zmq_msg_t *routing_id, zmq_msg_t *message)
{
    const uint8_t *envelope = zmq_msg_data(message);
    size_t size = zmq_msg_size(message);
    const trusted_t *sender = sender_of(self, message);
    wire_fetch_t fetch = {0};
    wire_error_t error = wire_check(envelope, size);
    if (error == WIRE_OK && wire_kind(envelope) != WIRE_FETCH && wire_kind(envelope) != WIRE_SURVEY)
        error = WIRE_BAD_KIND;
    if (error == WIRE_OK && (sender == NULL || memcmp(sender->sign_public, wire_origin(envelope),
                                                      WIRE_KEY_BYTES) != 0)) {
        replica_refuse(self->replica, REPLICA_WRONG_PEER);
        return;
    }
    if (error == WIRE_OK)
        error = wire_verify(self->wire, envelope, size);
    if (error == WIRE_OK && wire_kind(envelope) == WIRE_FETCH)
        error = wire_read_fetch(self->wire, envelope, size, &fetch);
    if (error != WIRE_OK)
        replica_refuse_wire(self->replica, error);
    else if (wire_kind(envelope) == WIRE_FETCH)
        answer_fetch(self, routing_id, &fetch);
    else
        answer_survey(self, routing_id);
}

/* A request is two frames: who asks, and the envelope. */
static int read_requests(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    replay_t *self = arg;
    zmq_msg_t routing_id;
    zmq_msg_t message;
    zmq_msg_init(&routing_id);
    zmq_msg_init(&message);
    for (int i = 0; i < BURST_MAX; i++) {
        if (zmq_msg_recv(&routing_id, zsock_resolve(socket), ZMQ_DONTWAIT) == -1)
            break;
        if (!zmq_msg_more(&routing_id))
            continue;
        int rc = socket_receive(socket, &message);
        if (rc == 1)
            handle(self, &routing_id, &message);
        else if (rc == -1)
            replica_refuse(self->replica, REPLICA_MORE_FRAMES);
    }
    zmq_msg_close(&routing_id);
    zmq_msg_close(&message);
    return 0;
}

replay_t *replay_new(zloop_t *loop, const cert_t *own, const char *endpoint, feed_t *feed,
                     wire_t *wire, replica_t *replica, const trust_t *trust, fault_t *fault)
{
    replay_t *self = xcalloc(1, sizeof *self);
    self->own = own;
    self->feed = feed;
    self->wire = wire;
    self->replica = replica;
    self->trust = trust;
    self->listener = listener_new(loop, ZMQ_ROUTER, own, endpoint, read_requests, self, fault);
    if (self->listener == NULL)
        replay_destroy(&self);
    return self;
}

void replay_destroy(replay_t **self_p)
{
    if (*self_p == NULL)
        return;
    listener_destroy(&(*self_p)->listener);
    free(*self_p);
    *self_p = NULL;
}

void replay_set_trust(replay_t *self, const trust_t *trust, bool drop)
{
    self->trust = trust;
    if (drop)
        listener_renew(self->listener);
}

const replay_counters_t *replay_counters(const replay_t *self)
{
    return &self->counters;
}
