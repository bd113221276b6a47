#include "replay.h"

#include "chance.h"
#include "heads.h"
#include "quota.h"

/* Before others on the loop get their turn: the hook waits for it. */
#define BURST_REQUESTS 16
#define BURST_BYTES    (64 * 1024) /* that is, one large answer */

#define BUNDLED_BYTES 8192 /* larger batches travel alone */

struct replay {
    replay_config_t config;
    const trust_t *trust;
    quotas_t *quotas;
    listener_t *listener;
    replay_counters_t counters;
    size_t burst_bytes; /* answered in this turn */
    wire_bundle_t bundle;
    uint8_t out[WIRE_ENVELOPE_MAX];
};

/* ---- the ROUTER as a way ---- */

bool replay_send(replay_t *self, const uint8_t *route, size_t route_size, const uint8_t *bytes,
                 size_t size)
{
    socket_t *socket = listener_socket(self->listener);
    return socket != NULL &&
           zmq_send(socket, route, route_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) != -1 &&
           zmq_send(socket, bytes, size, ZMQ_DONTWAIT) != -1;
}

typedef struct {
    replay_t *replay;
    zmq_msg_t *routing_id;
} route_t;

static bool send_back(void *to, const uint8_t *bytes, size_t size)
{
    const route_t *route = to;
    return replay_send(route->replay, zmq_msg_data(route->routing_id),
                       zmq_msg_size(route->routing_id), bytes, size);
}

/* An answer to nothing, which a peer passes over: it fails if the connection is gone. */
static bool is_alive(void *arg, const uint8_t *route, size_t size)
{
    replay_t *self = arg;
    const wire_done_t nothing = {0};
    size_t length = wire_write_done(self->config.wire, &nothing, self->out);
    return replay_send(self, route, size, self->out, length) || zmq_errno() == EAGAIN;
}

/* ---- answers ---- */

/* One answer on its way. */
typedef struct {
    replay_t *replay;
    const replay_way_t *way;
    size_t messages;
    size_t bytes;
    bool cut;
} answer_t;

static answer_t start_answer(replay_t *self, const replay_way_t *way)
{
    self->bundle.count = self->bundle.used = 0;
    return (answer_t){.replay = self, .way = way};
}

/* One message to one peer. False if its queue is full or it is gone: it will ask again. */
static bool send_one(answer_t *answer, const uint8_t *bytes, size_t size)
{
    if (answer->way->send(answer->way->to, bytes, size)) {
        answer->messages++;
        answer->bytes += size;
        answer->replay->burst_bytes += size;
        return true;
    }
    answer->cut = true;
    answer->replay->counters.dropped++;
    return false;
}

/* Send what was gathered; a single envelope as it is. If that fails it stays gathered. */
static bool send_bundle(answer_t *answer)
{
    replay_t *self = answer->replay;
    wire_bundle_t *bundle = &self->bundle;
    bool sent = true;
    if (bundle->count == 1)
        sent = send_one(answer, bundle->bytes, bundle->used);
    else if (bundle->count > 1)
        sent = send_one(answer, self->out, wire_write_bundle(self->config.wire, bundle, self->out));
    if (sent)
        bundle->count = bundle->used = 0;
    return sent;
}

/* Add an envelope to what is gathered, or send it alone if it is large. False: the way is shut. */
static bool add_envelope(answer_t *answer, const uint8_t *envelope, size_t size)
{
    if (size > BUNDLED_BYTES)
        return send_bundle(answer) && send_one(answer, envelope, size);
    if (wire_bundle_add(&answer->replay->bundle, envelope, size))
        return true;
    return send_bundle(answer) && wire_bundle_add(&answer->replay->bundle, envelope, size);
}

static bool has_room(const answer_t *answer)
{
    return answer->messages < REPLAY_MESSAGES_MAX &&
           answer->bytes + answer->replay->bundle.used < REPLAY_BYTES_MAX;
}

/* Batches behind `after`, as far as they are there and the answer has room. Returns how far it
 * went: the last ones gathered do not count if they could not be sent. */
static uint64_t send_batches(answer_t *answer, const feed_ref_t *ref, uint64_t after,
                             uint32_t credit)
{
    replay_t *self = answer->replay;
    uint64_t through = after;
    for (; through < ref->have && credit > 0 && has_room(answer); credit--, through++) {
        const uint8_t *batch;
        size_t size = feed_read(self->config.feed, ref, through + 1, &batch);
        if (size == 0 || !add_envelope(answer, batch, size))
            break;
    }
    if (!answer->cut)
        send_bundle(answer);
    through -= self->bundle.count;
    self->counters.batches_sent += through - after;
    return through;
}

static void answer_fetch(replay_t *self, const replay_way_t *way, quota_t *quota,
                         const wire_fetch_t *fetch)
{
    answer_t answer = start_answer(self, way);
    const feed_ref_t *ref = feed_find(self->config.feed, &fetch->feed);
    wire_done_t done = {.feed = fetch->feed, .through = fetch->after};
    self->counters.fetches++;
    if (ref != NULL) {
        done.have = ref->have;
        int64_t oldest = feed_next(self->config.feed, ref, fetch->after);
        done.oldest = oldest > 0 ? (uint64_t)oldest : 0;
        /* If what comes next is gone, the asker decides how to go on. */
        if (done.oldest == fetch->after + 1 && quota_may_ask(quota))
            done.through = send_batches(&answer, ref, fetch->after, fetch->credit);
        else if (done.oldest == fetch->after + 1)
            self->counters.put_off++;
        quota_pay(quota, answer.bytes);
    }
    send_one(&answer, self->out, wire_write_done(self->config.wire, &done, self->out));
}

/* The head of a feed; and where its origin died before it signed for the newest batch, that one: it
 * proves by itself that it is there. */
static void add_head(answer_t *answer, const feed_ref_t *ref, wall_t now)
{
    const replay_config_t *config = &answer->replay->config;
    uint8_t head[HEADS_ENVELOPE_MAX];
    const uint8_t *batch;
    size_t size = heads_read(config->feed, config->wire, ref, now, head);
    if (size > 0 && !add_envelope(answer, head, size))
        return;
    answer->replay->counters.heads_sent += size > 0;
    bool ours = feed_is_ours(config->feed, &ref->id.origin);
    size = !ours && ref->have > ref->kept_seq ? feed_read(config->feed, ref, ref->have, &batch) : 0;
    if (size > 0)
        add_envelope(answer, batch, size);
}

/* The heads of all buckets that differ, from another one on each time: of very many, the last ones
 * do not fit the queue. */
static void answer_survey(replay_t *self, const replay_way_t *way, quota_t *quota,
                          const wire_survey_t *asked)
{
    wire_survey_t ours;
    answer_t answer = start_answer(self, way);
    wall_t now = wall_now();
    size_t count = feed_count(self->config.feed);
    size_t start = chance_below((uint32_t)count);
    self->counters.surveys++;
    if (!quota_may_ask(quota)) {
        self->counters.put_off++;
        return;
    }
    digest_fill(self->config.digest, asked->history, &ours);
    for (size_t i = 0; i < count && !answer.cut; i++) {
        const feed_ref_t *ref = feed_at(self->config.feed, (start + i) % count);
        if (digest_wants(asked, &ours, ref))
            add_head(&answer, ref, now);
    }
    send_bundle(&answer);
    quota_pay(quota, answer.bytes);
}

void replay_answer(replay_t *self, const replay_way_t *way, const trusted_t *sender,
                   const envelope_t *envelope)
{
    wire_fetch_t fetch = {0};
    wire_survey_t survey = {0};
    if (!pubkey_equal(&sender->sign_public, envelope->origin)) {
        replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        return;
    }
    wire_error_t error = wire_verify(self->config.wire, envelope);
    if (error == WIRE_OK)
        error = envelope->kind == WIRE_FETCH
                    ? wire_read_fetch(self->config.wire, envelope, &fetch)
                    : wire_read_survey(self->config.wire, envelope, &survey);
    if (error != WIRE_OK)
        replica_refuse_wire(self->config.replica, error);
    else if (envelope->kind == WIRE_FETCH)
        answer_fetch(self, way, quotas_of(self->quotas, sender), &fetch);
    else
        answer_survey(self, way, quotas_of(self->quotas, sender), &survey);
}

/* ---- what comes in ---- */

/* The node behind a message, by the key that its connection was admitted with. It may have been
 * removed from the set since. */
static const trusted_t *sender_of(const replay_t *self, zmq_msg_t *message)
{
    const char *name = zmq_msg_gets(message, "User-Id");
    return name != NULL ? trust_by_name(self->trust, name) : NULL;
}

static bool is_answered(replay_t *self, quota_t *quota, const trusted_t *sender,
                        zmq_msg_t *routing_id)
{
    if (quota_has_route(quota, zmq_msg_data(routing_id), zmq_msg_size(routing_id), is_alive, self))
        return true;
    self->counters.too_many++;
    if (!quota->told)
        log_warnx("peer %s: asks over more than %d connections; further ones get no answer",
                  sender->name, QUOTA_ROUTES_MAX);
    quota->told = true;
    return false;
}

/* Returns true if it was a request. */
static bool handle(replay_t *self, zmq_msg_t *routing_id, zmq_msg_t *message)
{
    envelope_t envelope;
    const trusted_t *sender = sender_of(self, message);
    wire_error_t error = wire_open(zmq_msg_data(message), zmq_msg_size(message), &envelope);
    if (error != WIRE_OK) {
        replica_refuse_wire(self->config.replica, error);
        return false;
    }
    if (sender == NULL) {
        replica_refuse(self->config.replica, REPLICA_WRONG_PEER);
        return false;
    }
    if (envelope.kind != WIRE_FETCH && envelope.kind != WIRE_SURVEY) {
        replay_offer_t offer = {sender, &envelope, zmq_msg_data(routing_id),
                                zmq_msg_size(routing_id), message};
        self->config.offered(self->config.arg, &offer);
        return false;
    }
    route_t route = {self, routing_id};
    replay_way_t way = {send_back, &route};
    if (is_answered(self, quotas_of(self->quotas, sender), sender, routing_id))
        replay_answer(self, &way, sender, &envelope);
    return true;
}

/* A message is two frames: who sends, and the envelope. */
static int read_messages(zloop_t *loop, zsock_t *reader, void *arg)
{
    (void)loop;
    replay_t *self = arg;
    socket_t *socket = (socket_t *)reader;
    int requests = 0;
    const mono_t since = mono_now();
    zmq_msg_t routing_id;
    zmq_msg_t message;
    zmq_msg_init(&routing_id);
    zmq_msg_init(&message);
    self->burst_bytes = 0;
    for (int i = 0; socket_may_read(i, since) && requests < BURST_REQUESTS; i++) {
        if (self->burst_bytes > BURST_BYTES)
            break;
        if (zmq_msg_recv(&routing_id, socket, ZMQ_DONTWAIT) == -1)
            break;
        if (!zmq_msg_more(&routing_id))
            continue;
        int rc = socket_receive(socket, &message);
        if (rc == 1)
            requests += handle(self, &routing_id, &message);
        else if (rc == -1)
            replica_refuse(self->config.replica, REPLICA_MORE_FRAMES);
    }
    zmq_msg_close(&routing_id);
    zmq_msg_close(&message);
    self->config.idle(self->config.arg);
    return 0;
}

replay_t *replay_new(const replay_config_t *config, const char *endpoint, const trust_t *trust,
                     fault_t *fault)
{
    replay_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->trust = trust;
    self->quotas = quotas_new();
    self->listener =
        listener_new(config->loop, ZMQ_ROUTER, config->own, endpoint, read_messages, self, fault);
    if (self->listener == NULL)
        replay_destroy(&self);
    return self;
}

void replay_destroy(replay_t **self_p)
{
    if (*self_p == NULL)
        return;
    listener_destroy(&(*self_p)->listener);
    quotas_destroy(&(*self_p)->quotas);
    free(*self_p);
    *self_p = NULL;
}

void replay_set_trust(replay_t *self, const trust_t *trust)
{
    self->trust = trust;
    quotas_keep(self->quotas, trust);
}

void replay_renew(replay_t *self)
{
    listener_renew(self->listener);
}

const replay_counters_t *replay_counters(const replay_t *self)
{
    return &self->counters;
}
