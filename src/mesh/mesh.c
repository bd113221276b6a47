#include "mesh.h"

#include "chance.h"
#include "heads.h"
#include "inbox.h"
#include "overview.h"
#include "ticker.h"
#include "twins.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>

#define SURVEY_MS         30000
#define SURVEY_HEARTBEATS 30 /* where they are quicker than a second */
#define ASK_AGAIN_TICKS   5
#define SILENT_HEARTBEATS 5

struct mesh {
    mesh_config_t config;
    mesh_follower_t follower;
    trust_t *trust;
    link_t *link;
    replay_t *replay;
    replica_t *replica;
    catchup_t *catchup;
    progress_t *progress;
    inbox_t *inbox;
    heads_t *heads;
    digest_t *digest;
    twins_t *twins;
    uint64_t run; /* of this daemon: what twins are told apart by */
    uint64_t ticks;
    ticker_t *heartbeat;
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

static bool visited(void *arg, const link_visit_t *visit)
{
    mesh_t *self = arg;
    return replay_receive(self->replay, visit);
}

/* Into self->out; the same for all. */
static size_t write_survey(mesh_t *self)
{
    wire_survey_t known;
    digest_fill(self->digest, feed_keeps_history(self->config.feed), &known);
    known.run = self->run;
    return wire_write_survey(self->config.wire, &known, self->out);
}

static void survey(mesh_t *self, peer_t *peer)
{
    peer_send(peer, self->out, write_survey(self));
}

static void survey_all(mesh_t *self)
{
    size_t count;
    peer_t *const *peers = link_peers(self->link, &count);
    size_t size = write_survey(self);
    self->surveyed_at = mono_now();
    for (size_t i = 0; i < count; i++)
        if (peer_connected(peers[i]))
            peer_send(peers[i], self->out, size);
}

/* Those that do not hear us are asked again soon: after a start it may only not have come to it. */
static void survey_deaf(mesh_t *self)
{
    size_t count;
    peer_t *const *peers = link_peers(self->link, &count);
    for (size_t i = 0; i < count; i++)
        if (peer_connected(peers[i]) && peer_unheard_ms(peers[i]) >= 0)
            survey(self, peers[i]);
}

/* ---- what nodes tell each other of themselves ---- */

int64_t mesh_heard_ms(const mesh_t *self, const pubkey_t *node)
{
    size_t count;
    peer_t *const *peers = link_peers(self->link, &count);
    for (size_t i = 0; i < count; i++)
        if (pubkey_equal(&peer_node(peers[i])->sign_public, node))
            return peer_heard_ms(peers[i]);
    return -1;
}

static void tell(void *arg, const trusted_t *asker, const wire_survey_t *asked, const char *address,
                 wire_heard_t *out)
{
    mesh_t *self = arg;
    out->ms_ago = mesh_heard_ms(self, &asker->sign_public);
    if (asked->run != 0)
        out->elsewhere =
            twins_note(self->twins, asker, asked->run, address, mono_now(), out->other);
}

static void heard(void *arg, peer_t *peer, const wire_heard_t *heard)
{
    mesh_t *self = arg;
    peer_said_heard(peer, heard->ms_ago,
                    self->config.settings->mesh.heartbeat_ms * SILENT_HEARTBEATS);
    if (heard->elsewhere)
        twins_note_own(self->twins, peer_node(peer)->name, heard->other, mono_now());
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
    const replay_way_t way = {send_out, peer, NULL};
    replay_answer(self->replay, &way, peer_node(peer), envelope);
}

/* From a node that connected to us: it may be one that we cannot connect to. */
static void offered(void *arg, const link_visit_t *visit, const envelope_t *envelope)
{
    mesh_t *self = arg;
    peer_t *peer = link_offered(self->link, visit);
    if (peer != NULL)
        inbox_take(self->inbox, peer, envelope, PEER_OFFERED);
    else /* somebody else who has our keys is no peer of ours */
        replica_refuse(self->replica, REPLICA_WRONG_PEER);
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
    catchup_peers_t them = {.unseen = link_unseen(self->link)};
    them.peers = link_peers(self->link, &them.count);
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

void mesh_publish(mesh_t *self, const uint8_t *envelope, size_t size)
{
    link_announce(self->link, envelope, size);
    self->announced++;
}

/* What was accepted for the first time goes on at once, with the origin's signature: in a ring or
 * among many relays each passes it on once, and nobody takes it in twice. */
static void relay(mesh_t *self, const envelope_t *batch)
{
    link_announce(self->link, batch->bytes, batch->size);
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
    link_announce(self->link, self->out, size);
    heads_gather_changed(self->heads, now, &self->bundle);
    if (self->bundle.count > 0)
        link_announce(self->link, self->out,
                      wire_write_bundle(self->config.wire, &self->bundle, self->out));
    const feed_ref_t *ref;
    while ((ref = heads_last_words(self->heads)) != NULL) {
        const uint8_t *batch;
        size = feed_read(self->config.feed, ref, ref->have, &batch);
        if (size > 0)
            link_announce(self->link, batch, size);
    }
}

/* What was asked of it will not come, nor does what is on its way count as an answer. */
static void let_go(void *arg, const peer_t *peer)
{
    mesh_t *self = arg;
    catchup_release(self->catchup, peer);
    inbox_forget(self->inbox, peer);
}

static bool owes(void *arg, const peer_t *peer)
{
    const mesh_t *self = arg;
    return catchup_is_stuck(self->catchup, peer);
}

static int64_t survey_interval_ms(const mesh_t *self)
{
    int64_t quick = self->config.settings->mesh.heartbeat_ms * SURVEY_HEARTBEATS;
    return quick < SURVEY_MS ? quick : SURVEY_MS;
}

static void tick(void *arg)
{
    mesh_t *self = arg;
    announce_heads(self);
    link_tick(self->link);
    if (mono_since_ms(self->surveyed_at) >= survey_interval_ms(self))
        survey_all(self);
    else if (++self->ticks % ASK_AGAIN_TICKS == 0)
        survey_deaf(self);
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

static void forked(void *arg, const fork_t *fork)
{
    const mesh_t *self = arg;
    char here[2 * WIRE_HASH_BYTES + 1];
    char there[2 * WIRE_HASH_BYTES + 1];
    const trusted_t *node = trust_by_sign(self->trust, &fork->feed.origin);
    sodium_bin2hex(here, sizeof here, fork->hash_here, WIRE_HASH_BYTES);
    sodium_bin2hex(there, sizeof there, fork->hash_there, WIRE_HASH_BYTES);
    log_errorx("%s signed two different batches as number %" PRIu64 " of epoch %" PRIu64
               " (%.16s here, %.16s there): its key is in use twice, or stolen; nothing more is "
               "taken from it until \"banmesh trust reset\"",
               node != NULL ? node->name : "this node's own key", fork->seq, fork->feed.epoch, here,
               there);
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

void mesh_reload(mesh_t *self, trust_t **trust_p, const settings_t *settings)
{
    trust_t *old = self->trust;
    self->trust = *trust_p;
    *trust_p = NULL;
    if (settings->mesh.heartbeat_ms != self->config.settings->mesh.heartbeat_ms) {
        ticker_destroy(&self->heartbeat);
        self->heartbeat = ticker_new(self->config.loop, settings->mesh.heartbeat_ms, tick, self);
    }
    self->config.settings = settings;
    replica_set_trust(self->replica, self->trust, settings);
    replay_set_trust(self->replay, self->trust);
    twins_keep(self->twins, self->trust);
    bool cut = link_reload(self->link, self->trust, settings);
    trust_destroy(&old);
    warn_of_missing_certificates(self);
    log_info("trust directory %s: %zu certificates%s", settings->node.trust,
             trust_size(self->trust), cut ? ", connections of removed ones cut" : "");
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
    return link_is_peer_address(self->link, addr);
}

static int open_parts(mesh_t *self, fault_t *fault)
{
    const mesh_config_t *config = &self->config;
    const replica_config_t replica = {config->feed, config->wire, stored, taken_back, forked, self};
    self->heads = heads_new(config->feed, config->wire);
    self->digest = digest_new(config->feed);
    const progress_calls_t progress = {name_of, say, self};
    self->progress = progress_new(config->feed, &progress);
    self->replica = replica_new(&replica, self->trust, config->settings, fault);
    if (self->replica == NULL)
        return -1;
    self->catchup = catchup_new(config->feed, config->wire, self->replica);
    const inbox_config_t inbox = {config->loop,  config->feed,   config->wire, self->replica,
                                  self->catchup, connected,      feed_began,   asked,
                                  heard,         storage_failed, settle,       self};
    self->inbox = inbox_new(&inbox);
    const link_config_t link = {config->loop,
                                config->own,
                                {receive, visited, settle, owes, let_go, self}};
    self->link = link_new(&link, self->trust, config->settings, fault);
    if (self->link == NULL)
        return -1;
    const replay_config_t replay = {self->link,   config->feed, config->wire, self->replica,
                                    self->digest, offered,      tell,         self};
    self->replay = replay_new(&replay);
    return 0;
}

mesh_t *mesh_new(const mesh_config_t *config, trust_t **trust_p, fault_t *fault)
{
    mesh_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->trust = *trust_p;
    *trust_p = NULL;
    self->surveyed_at = mono_now();
    self->twins = twins_new();
    chance_fill(&self->run, sizeof self->run);
    self->run |= 1; /* 0 means none */
    if (open_parts(self, fault) == -1) {
        mesh_destroy(&self);
        return NULL;
    }
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
    link_destroy(&self->link);
    replay_destroy(&self->replay);
    inbox_destroy(&self->inbox);
    if (self->replica != NULL)
        replica_commit(self->replica);
    replica_destroy(&self->replica);
    progress_destroy(&self->progress);
    catchup_destroy(&self->catchup);
    heads_destroy(&self->heads);
    digest_destroy(&self->digest);
    twins_destroy(&self->twins);
    trust_destroy(&self->trust);
    free(self);
}

int mesh_reset(mesh_t *self, const char *name)
{
    const trusted_t *node = trust_by_name(self->trust, name);
    /* Our own certificate need not lie in the directory. */
    if (node == NULL && strcmp(name, self->config.settings->node.name) == 0)
        return replica_reset(self->replica, &self->config.own->sign_public);
    return node != NULL ? replica_reset(self->replica, &node->sign_public) : 0;
}

json_t *mesh_status(const mesh_t *self)
{
    overview_t overview = {
        .trust = self->trust,
        .own_name = self->config.settings->node.name,
        .feed = self->config.feed,
        .catchup = self->catchup,
        .progress = self->progress,
        .replica = self->replica,
        .replay = self->replay,
        .twins = self->twins,
        .connections = link_counters(self->link),
        .announced = self->announced,
        .relayed = self->relayed,
    };
    overview.peers = link_peers(self->link, &overview.peer_count);
    return overview_json(&overview);
}
