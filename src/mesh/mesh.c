#include "mesh.h"

#include "heads.h"
#include "ticker.h"

#define SURVEY_MS 30000

struct mesh {
    mesh_config_t config;
    trust_t *trust;
    gate_t *gate;
    listener_t *publisher;
    replay_t *replay;
    replica_t *replica;
    catchup_t *catchup;
    ticker_t *heartbeat;
    peer_t **peers;
    size_t peer_count;
    peer_calls_t calls;
    bool advanced;     /* since the consumers were told */
    bool disk_is_full; /* said so already */
    mono_t surveyed_at;
    uint64_t announced;
    wire_heads_t heads; /* a list being taken apart */
    uint8_t out[WIRE_ENVELOPE_MAX];
};

/* ---- what comes in ---- */

static void survey(mesh_t *self, peer_t *peer)
{
    peer_send(peer, self->out, wire_write_survey(self->config.wire, self->out));
}

/* A disk that is full may have room again; one that fails cannot be believed any longer. */
static void storage_failed(mesh_t *self)
{
    if (errno == EIO || errno == EBADMSG)
        fatal("state directory %s", self->config.settings->node.state);
    if (!self->disk_is_full)
        log_warn("state directory %s: nothing more can be stored; peers' events wait with them",
                 self->config.settings->node.state);
    self->disk_is_full = true;
}

static void receive_feed(mesh_t *self, peer_t *peer, const uint8_t *envelope, size_t size)
{
    wire_head_t head;
    switch (replica_receive(self->replica, envelope, size, &head)) {
    case REPLICA_STORED:
        self->advanced = true;
        break;
    case REPLICA_HEAD:
        if (memcmp(head.feed.origin, peer_node(peer)->sign_public, WIRE_KEY_BYTES) == 0 &&
            peer_heartbeat(peer, head.time_ms)) {
            log_info("peer %s: connected", peer_node(peer)->name);
            catchup_favour(self->catchup, peer);
            survey(self, peer);
        }
        break;
    case REPLICA_FAILED:
        storage_failed(self);
        break;
    case REPLICA_KNOWN:
    case REPLICA_EARLY:
    case REPLICA_REFUSED:
        break;
    }
}

/* A new epoch that is announced: its origin was started anew, perhaps too quickly for us to notice,
 * and the end of the one before is not announced any more. What a survey brought calls for no other
 * one. */
static void receive_announced(mesh_t *self, peer_t *peer, const uint8_t *envelope, size_t size)
{
    size_t feeds = feed_count(self->config.feed);
    receive_feed(self, peer, envelope, size);
    if (feed_count(self->config.feed) > feeds)
        survey(self, peer);
}

/* DONE and HEADS answer what we asked this peer, so this peer must have signed them. */
static void receive_answer(mesh_t *self, peer_t *peer, const uint8_t *envelope, size_t size)
{
    wire_done_t done;
    wire_error_t error = WIRE_OK;
    if (memcmp(wire_origin(envelope), peer_node(peer)->sign_public, WIRE_KEY_BYTES) != 0) {
        replica_refuse(self->replica, REPLICA_WRONG_PEER);
        return;
    }
    error = wire_verify(self->config.wire, envelope, size);
    if (error == WIRE_OK && wire_kind(envelope) == WIRE_DONE) {
        error = wire_read_done(self->config.wire, envelope, size, &done);
        if (error == WIRE_OK)
            catchup_done(self->catchup, peer, &done);
    } else if (error == WIRE_OK) {
        error = wire_read_heads(self->config.wire, envelope, size, &self->heads);
        size_t offset = 0;
        for (size_t i = 0; error == WIRE_OK && i < self->heads.count; i++) {
            const uint8_t *head = self->heads.bytes + offset;
            offset += self->heads.sizes[i];
            error = wire_check(head, self->heads.sizes[i]);
            if (error == WIRE_OK && wire_kind(head) != WIRE_HEAD)
                error = WIRE_BAD_KIND;
            if (error == WIRE_OK)
                receive_feed(self, peer, head, self->heads.sizes[i]);
        }
    }
    if (error != WIRE_OK)
        replica_refuse_wire(self->replica, error);
}

static void receive(void *arg, peer_t *peer, const peer_message_t *message)
{
    mesh_t *self = arg;
    if (message->more_frames) {
        replica_refuse(self->replica, REPLICA_MORE_FRAMES);
        return;
    }
    wire_error_t error = wire_check(message->bytes, message->size);
    if (error != WIRE_OK) {
        replica_refuse_wire(self->replica, error);
        return;
    }
    wire_kind_t kind = wire_kind(message->bytes);
    if ((kind == WIRE_BATCH || kind == WIRE_HEAD) && message->is_answer)
        receive_feed(self, peer, message->bytes, message->size);
    else if (kind == WIRE_BATCH || kind == WIRE_HEAD)
        receive_announced(self, peer, message->bytes, message->size);
    else if (message->is_answer && (kind == WIRE_DONE || kind == WIRE_HEADS))
        receive_answer(self, peer, message->bytes, message->size);
    else
        replica_refuse_wire(self->replica, WIRE_BAD_KIND);
}

/* The end of a burst: what was stored becomes durable, then visible to consumers. */
static void settle(void *arg)
{
    mesh_t *self = arg;
    if (replica_commit(self->replica) == -1)
        storage_failed(self);
    else if (self->advanced) {
        self->advanced = false;
        self->disk_is_full = false;
        self->config.advanced(self->config.arg);
    }
    catchup_pump(self->catchup, self->peers, self->peer_count);
}

/* ---- what goes out ---- */

void mesh_publish(mesh_t *self, const uint8_t *envelope, size_t size)
{
    zsock_t *socket = listener_socket(self->publisher);
    if (socket != NULL)
        socket_send(socket, envelope, size);
    self->announced++;
}

static void announce_head(mesh_t *self)
{
    zsock_t *socket = listener_socket(self->publisher);
    if (socket == NULL)
        return;
    size_t size = heads_sign(self->config.feed, self->config.wire,
                             feed_own_newest(self->config.feed), wall_now(), self->out);
    socket_send(socket, self->out, size);
}

static void watch_peer(mesh_t *self, peer_t *peer)
{
    bool was_connected = peer_connected(peer);
    if (catchup_is_stuck(self->catchup, peer)) {
        log_warnx("peer %s: owes an answer for too long; connecting anew", peer_node(peer)->name);
        catchup_release(self->catchup, peer);
        peer_reconnect(peer);
    } else if (peer_watch(peer, self->config.settings->mesh.heartbeat_ms)) {
        if (was_connected)
            log_warnx("peer %s: silent, connecting anew", peer_node(peer)->name);
        else if (peer_heard_ms(peer) == -1 && peer_reconnects(peer) == 1)
            log_warnx("peer %s: not reached at %s; is it running, is the port open, does it trust "
                      "our certificate?",
                      peer_node(peer)->name, peer_endpoint(peer));
        catchup_release(self->catchup, peer);
    }
}

static void tick(void *arg)
{
    mesh_t *self = arg;
    announce_head(self);
    for (size_t i = 0; i < self->peer_count; i++)
        watch_peer(self, self->peers[i]);
    if (mono_since_ms(self->surveyed_at) >= SURVEY_MS) {
        self->surveyed_at = mono_now();
        for (size_t i = 0; i < self->peer_count; i++)
            if (peer_connected(self->peers[i]))
                survey(self, self->peers[i]);
    }
    catchup_pump(self->catchup, self->peers, self->peer_count);
}

/* ---- who takes part ---- */

static const peer_setting_t *find_setting(const settings_t *settings, const char *name)
{
    for (size_t i = 0; i < settings->mesh.peer_count; i++)
        if (streq(settings->mesh.peers[i].name, name))
            return &settings->mesh.peers[i];
    return NULL;
}

static bool is_self(const mesh_t *self, const trusted_t *node)
{
    return memcmp(node->sign_public, self->config.own->sign_public, CERT_KEY_BYTES) == 0;
}

/* Where to connect to a node: the settings go before the certificate. False: nowhere. */
static bool addresses_of(const mesh_t *self, const trusted_t *node, const char **endpoint,
                         const char **replay)
{
    const peer_setting_t *setting = find_setting(self->config.settings, node->name);
    *endpoint = setting != NULL ? setting->endpoint : node->endpoint;
    *replay = setting != NULL ? setting->replay : node->replay;
    return **endpoint != '\0' && !is_self(self, node);
}

static peer_t *take_old_peer(peer_t **old, size_t old_count, const trusted_t *node,
                             const char *endpoint, const char *replay)
{
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] == NULL || !streq(peer_node(old[i])->name, node->name))
            continue;
        const trusted_t *was = peer_node(old[i]);
        if (memcmp(was->curve_public, node->curve_public, CERT_KEY_BYTES) != 0 ||
            memcmp(was->sign_public, node->sign_public, CERT_KEY_BYTES) != 0 ||
            !streq(peer_endpoint(old[i]), endpoint) || !streq(peer_replay(old[i]), replay))
            return NULL;
        peer_t *peer = old[i];
        old[i] = NULL;
        return peer;
    }
    return NULL;
}

/* Connect to every node that has an address, keeping connections that are as they should be. */
static void connect_peers(mesh_t *self)
{
    peer_t **old = self->peers;
    size_t old_count = self->peer_count;
    self->peers = xcalloc(trust_size(self->trust), sizeof(peer_t *));
    self->peer_count = 0;
    for (size_t i = 0; i < trust_size(self->trust); i++) {
        const trusted_t *node = trust_at(self->trust, i);
        const char *endpoint;
        const char *replay;
        fault_t fault;
        if (!addresses_of(self, node, &endpoint, &replay))
            continue;
        peer_t *peer = take_old_peer(old, old_count, node, endpoint, replay);
        if (peer == NULL)
            peer = peer_new(self->config.loop, self->config.own, node, endpoint, replay,
                            &self->calls, &fault);
        if (peer == NULL)
            log_warnx("peer %s: %s", node->name, fault.text);
        else
            self->peers[self->peer_count++] = peer;
    }
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != NULL) {
            catchup_release(self->catchup, old[i]);
            peer_destroy(&old[i]);
        }
    free(old);
}

static void warn_of_missing_certificates(const mesh_t *self)
{
    const settings_t *settings = self->config.settings;
    for (size_t i = 0; i < settings->mesh.peer_count; i++)
        if (trust_by_name(self->trust, settings->mesh.peers[i].name) == NULL)
            log_warnx("peer %s is in the settings, but %s/%s.cert does not exist",
                      settings->mesh.peers[i].name, settings->node.trust,
                      settings->mesh.peers[i].name);
}

/* Somebody of the old set is not in the new one, or has other keys. */
static bool somebody_left(const trust_t *old, const trust_t *new)
{
    for (size_t i = 0; i < trust_size(old); i++) {
        const trusted_t *was = trust_at(old, i);
        const trusted_t *is = trust_by_name(new, was->name);
        if (is == NULL || memcmp(was->curve_public, is->curve_public, CERT_KEY_BYTES) != 0 ||
            memcmp(was->sign_public, is->sign_public, CERT_KEY_BYTES) != 0)
            return true;
    }
    return false;
}

void mesh_reload(mesh_t *self, trust_t **trust_p, const settings_t *settings)
{
    trust_t *old = self->trust;
    bool drop = somebody_left(old, *trust_p);
    self->trust = *trust_p;
    *trust_p = NULL;
    self->config.settings = settings;
    gate_set_trust(self->gate, self->trust);
    replica_set_trust(self->replica, self->trust, settings);
    replay_set_trust(self->replay, self->trust, drop);
    if (drop)
        listener_renew(self->publisher);
    connect_peers(self);
    trust_destroy(&old);
    warn_of_missing_certificates(self);
    log_info("trust directory %s: %zu certificates%s", settings->node.trust,
             trust_size(self->trust), drop ? ", connections of removed ones cut" : "");
}

const trust_t *mesh_trust(const mesh_t *self)
{
    return self->trust;
}

bool mesh_is_peer_address(const mesh_t *self, const addr_t *addr)
{
    for (size_t i = 0; i < self->peer_count; i++)
        if (peer_is_at(self->peers[i], addr))
            return true;
    return false;
}

mesh_t *mesh_new(const mesh_config_t *config, trust_t **trust_p, fault_t *fault)
{
    mesh_t *self = xcalloc(1, sizeof *self);
    const settings_t *settings = config->settings;
    self->config = *config;
    self->trust = *trust_p;
    *trust_p = NULL;
    self->calls = (peer_calls_t){receive, settle, self};
    self->surveyed_at = mono_now();
    self->gate = gate_new(config->loop, self->trust);
    self->replica =
        replica_new(config->feed, config->wire, config->own->sign_public, self->trust, settings);
    self->catchup = catchup_new(config->feed, config->wire);
    self->publisher =
        listener_new(config->loop, ZMQ_PUB, config->own, settings->mesh.listen, NULL, NULL, fault);
    if (self->publisher != NULL)
        self->replay = replay_new(config->loop, config->own, settings->mesh.replay, config->feed,
                                  config->wire, self->replica, self->trust, fault);
    if (self->replay == NULL) {
        mesh_destroy(&self);
        return NULL;
    }
    connect_peers(self);
    warn_of_missing_certificates(self);
    self->heartbeat = ticker_new(config->loop, settings->mesh.heartbeat_ms, tick, self);
    return self;
}

void mesh_destroy(mesh_t **self_p)
{
    mesh_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->heartbeat);
    for (size_t i = 0; i < self->peer_count; i++)
        peer_destroy(&self->peers[i]);
    free(self->peers);
    replay_destroy(&self->replay);
    listener_destroy(&self->publisher);
    catchup_destroy(&self->catchup);
    replica_commit(self->replica);
    replica_destroy(&self->replica);
    gate_destroy(&self->gate);
    trust_destroy(&self->trust);
    free(self);
}

/* ---- status ---- */

static json_t *peer_status(const mesh_t *self, const peer_t *peer)
{
    const trusted_t *node = peer_node(peer);
    return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "name", node->name, "endpoint",
                     peer_endpoint(peer), "connected", peer_connected(peer), "heard_ms_ago",
                     (json_int_t)peer_heard_ms(peer), "missing_batches",
                     (json_int_t)catchup_lag(self->catchup, node->sign_public), "reconnects",
                     (json_int_t)peer_reconnects(peer));
}

static const char *origin_name(const mesh_t *self, const uint8_t *origin)
{
    if (memcmp(origin, self->config.own->sign_public, WIRE_KEY_BYTES) == 0)
        return self->config.settings->node.name;
    const trusted_t *node = trust_by_sign(self->trust, origin);
    return node != NULL ? node->name : "(untrusted)";
}

static json_t *feed_status(const mesh_t *self, const feed_ref_t *ref)
{
    char key[CERT_Z85_BYTES];
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "origin",
                     origin_name(self, ref->id.origin), "key", cert_z85(ref->id.origin, key),
                     "epoch", (json_int_t)ref->id.epoch, "channel", (json_int_t)ref->id.channel,
                     "have", (json_int_t)ref->have, "head", (json_int_t)ref->head_seq, "floor",
                     (json_int_t)ref->floor, "applied", (json_int_t)ref->cursor);
}

static json_t *refused_status(const mesh_t *self)
{
    const replica_counters_t *counters = replica_counters(self->replica);
    json_t *refused = json_object();
    for (int i = WIRE_OK + 1; i < WIRE_ERROR_COUNT; i++)
        if (counters->refused_wire[i] > 0)
            json_object_set_new(refused, wire_error_name((wire_error_t)i),
                                json_integer((json_int_t)counters->refused_wire[i]));
    for (int i = 0; i < REPLICA_REASON_COUNT; i++)
        if (counters->refused[i] > 0)
            json_object_set_new(refused, replica_reason_name((replica_reason_t)i),
                                json_integer((json_int_t)counters->refused[i]));
    return refused;
}

static json_t *counter_status(const mesh_t *self)
{
    const replica_counters_t *in = replica_counters(self->replica);
    const replay_counters_t *out = replay_counters(self->replay);
    const gate_counters_t *gate = gate_counters(self->gate);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "announced",
                     (json_int_t)self->announced, "stored", (json_int_t)in->stored, "known",
                     (json_int_t)in->known, "early", (json_int_t)in->early, "heads",
                     (json_int_t)in->heads, "fetches_answered", (json_int_t)out->fetches,
                     "surveys_answered", (json_int_t)out->surveys, "batches_replayed",
                     (json_int_t)out->batches_sent, "answers_cut", (json_int_t)out->dropped,
                     "connections_admitted", (json_int_t)gate->admitted, "connections_refused",
                     (json_int_t)gate->refused, "refused", refused_status(self));
}

json_t *mesh_status(const mesh_t *self)
{
    json_t *peers = json_array();
    json_t *feeds = json_array();
    for (size_t i = 0; i < self->peer_count; i++)
        json_array_append_new(peers, peer_status(self, self->peers[i]));
    for (size_t i = 0; i < feed_count(self->config.feed); i++)
        json_array_append_new(feeds, feed_status(self, feed_at(self->config.feed, i)));
    return json_pack("{s:o, s:o, s:I, s:o}", "peers", peers, "feeds", feeds, "missing_batches",
                     (json_int_t)catchup_missing(self->catchup), "messages", counter_status(self));
}
