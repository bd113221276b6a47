#include "mesh.h"

#include "descriptors.h"
#include "heads.h"
#include "inbox.h"
#include "overview.h"
#include "roster.h"
#include "ticker.h"

#define SURVEY_MS 30000

struct mesh {
    mesh_config_t config;
    mesh_follower_t follower;
    trust_t *trust;
    crowd_t *crowd;
    gate_t *gate;
    listener_t *publisher;
    replay_t *replay;
    replica_t *replica;
    catchup_t *catchup;
    progress_t *progress;
    inbox_t *inbox;
    heads_t *heads;
    digest_t *digest;
    ticker_t *heartbeat;
    readers_t *readers; /* of the roster's peers */
    roster_t roster;
    peer_calls_t calls;
    bool advanced; /* batches were stored in this burst */
    bool failing;  /* the databases say no; said so already */
    mono_t surveyed_at;
    uint64_t announced;
    uint64_t relayed;
    wire_bundle_t bundle;
    uint8_t out[WIRE_ENVELOPE_MAX];
};

/* ---- what comes in ---- */

static void receive(void *arg, peer_t *peer, const peer_message_t *message)
{
    mesh_t *self = arg;
    inbox_receive(self->inbox, peer, message);
}

/* Into self->out; the same for all. */
static size_t write_survey(mesh_t *self)
{
    wire_survey_t known;
    digest_fill(self->digest, feed_keeps_history(self->config.feed), &known);
    return wire_write_survey(self->config.wire, &known, self->out);
}

static void survey(mesh_t *self, peer_t *peer)
{
    peer_send(peer, self->out, write_survey(self));
}

static void survey_all(mesh_t *self)
{
    size_t size = write_survey(self);
    self->surveyed_at = mono_now();
    for (size_t i = 0; i < self->roster.count; i++)
        if (peer_connected(self->roster.peers[i]))
            peer_send(self->roster.peers[i], self->out, size);
}

static void connected(void *arg, peer_t *peer)
{
    mesh_t *self = arg;
    log_info("peer %s: connected%s", peer_node(peer)->name,
             peer_offers(peer) ? " by its own offer" : "");
    catchup_favour(self->catchup, peer);
    survey(self, peer);
}

static void feed_began(void *arg, peer_t *peer)
{
    survey(arg, peer);
}

/* A node that cannot reach us asks over the connection that we made to it. */
static bool send_out(void *to, const uint8_t *bytes, size_t size)
{
    return peer_send_out(to, bytes, size) == 0;
}

static void asked(void *arg, peer_t *peer, const envelope_t *envelope)
{
    mesh_t *self = arg;
    const replay_way_t way = {send_out, peer};
    replay_answer(self->replay, &way, peer_node(peer), envelope);
}

/* From a node that connected to us: it may be one that we cannot connect to. */
static void offered(void *arg, const replay_offer_t *offer)
{
    mesh_t *self = arg;
    /* Somebody else who has our keys is no peer of ours. */
    if (roster_is_self(&self->roster, offer->sender) || offer->route_size == 0 ||
        offer->route_size > SOCKET_ROUTE_MAX) {
        replica_refuse(self->replica, REPLICA_WRONG_PEER);
        return;
    }
    peer_t *peer = roster_offers(&self->roster, offer->sender);
    peer_take_route(peer, offer->route, offer->route_size, offer->message);
    inbox_take(self->inbox, peer, offer->envelope, PEER_OFFERED);
}

static bool send_back(void *arg, const uint8_t *route, size_t route_size, const uint8_t *bytes,
                      size_t size)
{
    mesh_t *self = arg;
    return replay_send(self->replay, route, route_size, bytes, size);
}

/* A disk that is full may have room again: whoever tends the state directory says both. One that
 * fails cannot be believed any longer. */
static void storage_failed(void *arg)
{
    mesh_t *self = arg;
    if (errno == EIO || errno == EBADMSG)
        fatalx("%s", state_failure(feed_state(self->config.feed)));
    if (errno == ENOSPC)
        return;
    if (!self->failing)
        log_warn("state directory %s: peers' events wait with them",
                 self->config.settings->node.state);
    self->failing = true;
}

/* With the disk full nothing could be stored of what would come. */
static void pump(mesh_t *self)
{
    const roster_t *roster = &self->roster;
    const catchup_peers_t them = {roster->peers, roster->count, roster_unseen(roster, self->trust)};
    if (!state_is_full(feed_state(self->config.feed)))
        catchup_pump(self->catchup, &them, mono_now());
}

/* The end of a burst: what was stored becomes durable, then visible to consumers. */
static void settle(void *arg)
{
    mesh_t *self = arg;
    bool advanced = self->advanced;
    self->advanced = false;
    if (replica_commit(self->replica) == -1)
        storage_failed(self);
    else if (advanced) {
        self->failing = false;
        if (self->follower.advanced != NULL)
            self->follower.advanced(self->follower.arg);
    }
    if (catchup_is_due(self->catchup))
        pump(self);
}

/* ---- what goes out ---- */

/* To all that listen; and where nobody can listen to us, to all that we are connected to. */
static void tell_all(mesh_t *self, const uint8_t *envelope, size_t size)
{
    socket_t *socket = listener_socket(self->publisher);
    if (socket != NULL)
        socket_send(socket, envelope, size);
    for (size_t i = 0; self->config.settings->mesh.offer != 0 && i < self->roster.count; i++)
        peer_send_out(self->roster.peers[i], envelope, size);
}

void mesh_publish(mesh_t *self, const uint8_t *envelope, size_t size)
{
    tell_all(self, envelope, size);
    self->announced++;
}

/* What was accepted for the first time goes on at once, with the origin's signature: in a ring or
 * among many relays each passes it on once, and nobody takes it in twice. */
static void relay(mesh_t *self, const envelope_t *batch)
{
    tell_all(self, batch->bytes, batch->size);
    self->relayed++;
}

static void stored(void *arg, const arrival_t *in, const feed_ref_t *feed,
                   const wire_batch_t *batch)
{
    mesh_t *self = arg;
    self->advanced = true;
    if (in->live && self->config.settings->mesh.relay != 0)
        relay(self, &in->envelope);
    if (self->follower.stored != NULL)
        self->follower.stored(self->follower.arg, in, feed, batch);
}

static void taken_back(void *arg)
{
    mesh_t *self = arg;
    if (self->follower.taken_back != NULL)
        self->follower.taken_back(self->follower.arg);
}

/* Our newest head is the heartbeat. The others follow if they changed: so whoever is connected to
 * us alone learns what there is. */
static void announce_heads(mesh_t *self)
{
    wall_t now = wall_now();
    size_t size = heads_sign(self->config.feed, self->config.wire,
                             feed_own_newest(self->config.feed), now, self->out);
    tell_all(self, self->out, size);
    heads_gather_changed(self->heads, now, &self->bundle);
    if (self->bundle.count > 0)
        tell_all(self, self->out, wire_write_bundle(self->config.wire, &self->bundle, self->out));
    const feed_ref_t *ref;
    while ((ref = heads_last_words(self->heads)) != NULL) {
        const uint8_t *batch;
        size = feed_read(self->config.feed, ref, ref->have, &batch);
        if (size > 0)
            tell_all(self, batch, size);
    }
}

/* What was asked of it will not come, nor does what is on its way count as an answer. */
static void let_go(void *arg, const peer_t *peer)
{
    mesh_t *self = arg;
    catchup_release(self->catchup, peer);
    inbox_forget(self->inbox, peer);
}

static void watch_peer(mesh_t *self, peer_t *peer)
{
    bool was_connected = peer_connected(peer);
    bool takes_nothing = peer_takes_nothing(peer);
    if (takes_nothing || catchup_is_stuck(self->catchup, peer)) {
        log_warnx("peer %s: %s; connecting anew", peer_node(peer)->name,
                  takes_nothing ? "takes no requests" : "owes an answer for too long");
        let_go(self, peer);
        peer_reconnect(peer);
    } else if (peer_watch(peer, self->config.settings->mesh.heartbeat_ms)) {
        if (was_connected)
            log_warnx("peer %s: silent%s", peer_node(peer)->name,
                      *peer_endpoint(peer) != '\0' ? ", connecting anew" : "");
        else if (peer_heard_ms(peer) == -1 && peer_reconnects(peer) == 1)
            log_warnx("peer %s: not reached at %s; is it running, is the port open, does it trust "
                      "our certificate?",
                      peer_node(peer)->name, peer_endpoint(peer));
        let_go(self, peer);
    }
}

/* All who connected to us: libzmq cannot end a connection of one peer. */
static void cut_all(mesh_t *self)
{
    listener_renew(self->publisher);
    replay_renew(self->replay);
}

static void watch_crowd(mesh_t *self)
{
    size_t room = crowd_room(trust_size(self->trust), descriptors_limit());
    if (crowd_look(self->crowd, descriptors_open(), room, mono_now()))
        cut_all(self);
}

static void tick(void *arg)
{
    mesh_t *self = arg;
    announce_heads(self);
    watch_crowd(self);
    for (size_t i = 0; i < self->roster.count; i++)
        watch_peer(self, self->roster.peers[i]);
    if (mono_since_ms(self->surveyed_at) >= SURVEY_MS)
        survey_all(self);
    pump(self);
    progress_look(self->progress, mono_now());
}

/* ---- who takes part ---- */

/* NULL: an origin that nothing is taken from. */
static const char *name_of(void *arg, const pubkey_t *origin)
{
    const mesh_t *self = arg;
    const trusted_t *node = trust_by_sign(self->trust, origin);
    if (feed_is_ours(self->config.feed, origin))
        return self->config.settings->node.name;
    return node != NULL ? node->name : NULL;
}

static void say(void *arg, const char *text)
{
    (void)arg;
    log_info("%s", text);
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
        if (is == NULL || !pubkey_equal(&was->curve_public, &is->curve_public) ||
            !pubkey_equal(&was->sign_public, &is->sign_public))
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
    if (settings->mesh.heartbeat_ms != self->config.settings->mesh.heartbeat_ms) {
        ticker_destroy(&self->heartbeat);
        self->heartbeat = ticker_new(self->config.loop, settings->mesh.heartbeat_ms, tick, self);
    }
    self->config.settings = settings;
    gate_set_trust(self->gate, self->trust);
    replica_set_trust(self->replica, self->trust, settings);
    replay_set_trust(self->replay, self->trust);
    if (drop)
        cut_all(self);
    roster_set(&self->roster, self->trust, settings, let_go, self);
    trust_destroy(&old);
    warn_of_missing_certificates(self);
    log_info("trust directory %s: %zu certificates%s", settings->node.trust,
             trust_size(self->trust), drop ? ", connections of removed ones cut" : "");
}

void mesh_follow(mesh_t *self, const mesh_follower_t *follower)
{
    self->follower = follower != NULL ? *follower : (mesh_follower_t){0};
}

const trust_t *mesh_trust(const mesh_t *self)
{
    return self->trust;
}

replica_t *mesh_replica(mesh_t *self)
{
    return self->replica;
}

bool mesh_is_peer_address(const mesh_t *self, const addr_t *addr)
{
    return roster_is_at(&self->roster, addr);
}

static int open_parts(mesh_t *self, fault_t *fault)
{
    const mesh_config_t *config = &self->config;
    const replica_config_t replica = {config->feed, config->wire, stored, taken_back, self};
    self->crowd = crowd_new();
    self->gate = gate_new(config->loop, self->trust, self->crowd);
    self->heads = heads_new(config->feed, config->wire);
    self->digest = digest_new(config->feed);
    const progress_calls_t progress = {name_of, say, self};
    self->progress = progress_new(config->feed, &progress);
    self->replica = replica_new(&replica, self->trust, config->settings, fault);
    if (self->replica == NULL)
        return -1;
    self->catchup = catchup_new(config->feed, config->wire, self->replica);
    const inbox_config_t inbox = {config->loop,   config->feed, config->wire, self->replica,
                                  self->catchup,  connected,    feed_began,   asked,
                                  storage_failed, settle,       self};
    const replay_config_t replay = {config->loop, config->own,   config->feed,
                                    config->wire, self->replica, self->digest,
                                    offered,      settle,        self};
    self->inbox = inbox_new(&inbox);
    self->publisher = listener_new(config->loop, ZMQ_PUB, config->own,
                                   config->settings->mesh.listen, NULL, NULL, fault);
    if (self->publisher == NULL)
        return -1;
    self->replay = replay_new(&replay, config->settings->mesh.replay, self->trust, fault);
    return self->replay != NULL ? 0 : -1;
}

mesh_t *mesh_new(const mesh_config_t *config, trust_t **trust_p, fault_t *fault)
{
    mesh_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->trust = *trust_p;
    *trust_p = NULL;
    self->calls = (peer_calls_t){receive, settle, send_back, self};
    self->readers = readers_new(config->loop);
    self->roster = (roster_t){.readers = self->readers, .own = config->own, .calls = &self->calls};
    self->surveyed_at = mono_now();
    if (open_parts(self, fault) == -1) {
        mesh_destroy(&self);
        return NULL;
    }
    roster_set(&self->roster, self->trust, config->settings, let_go, self);
    warn_of_missing_certificates(self);
    self->heartbeat = ticker_new(config->loop, config->settings->mesh.heartbeat_ms, tick, self);
    return self;
}

void mesh_destroy(mesh_t **self_p)
{
    mesh_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->heartbeat);
    roster_clear(&self->roster);
    readers_destroy(&self->readers);
    replay_destroy(&self->replay);
    listener_destroy(&self->publisher);
    inbox_destroy(&self->inbox);
    if (self->replica != NULL)
        replica_commit(self->replica);
    replica_destroy(&self->replica);
    progress_destroy(&self->progress);
    catchup_destroy(&self->catchup);
    heads_destroy(&self->heads);
    digest_destroy(&self->digest);
    gate_destroy(&self->gate);
    crowd_destroy(&self->crowd);
    trust_destroy(&self->trust);
    free(self);
}

int mesh_reset(mesh_t *self, const char *name)
{
    const trusted_t *node = trust_by_name(self->trust, name);
    /* Our own certificate need not lie in the directory. */
    if (node == NULL && streq(name, self->config.settings->node.name))
        return replica_reset(self->replica, &self->config.own->sign_public);
    return node != NULL ? replica_reset(self->replica, &node->sign_public) : 0;
}

json_t *mesh_status(const mesh_t *self)
{
    const overview_t overview = {
        .trust = self->trust,
        .own_name = self->config.settings->node.name,
        .feed = self->config.feed,
        .peers = self->roster.peers,
        .peer_count = self->roster.count,
        .catchup = self->catchup,
        .progress = self->progress,
        .replica = self->replica,
        .replay = self->replay,
        .gate = self->gate,
        .announced = self->announced,
        .relayed = self->relayed,
    };
    return overview_json(&overview);
}
