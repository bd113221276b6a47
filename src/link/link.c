#include "link.h"

#include "descriptors.h"
#include "gate.h"
#include "listener.h"
#include "roster.h"
#include "router.h"

/* Of a queue's places almost half may look taken though they are free: libzmq returns them by
 * halves. */
_Static_assert(LINK_ANSWER_MAX <= SOCKET_QUEUE_MAX / 2 - 4, "an answer fits a peer's queue");

struct link {
    link_config_t config;
    const trust_t *trust;
    const settings_t *settings;
    peer_calls_t peer_calls;
    crowd_t *crowd;
    gate_t *gate;
    listener_t *publisher;
    router_t *router;
    readers_t *readers; /* of all sockets */
    roster_t roster;
};

/* ---- what goes out ---- */

void link_announce(link_t *self, const uint8_t *bytes, size_t size)
{
    socket_t *socket = listener_socket(self->publisher);
    if (socket != NULL)
        socket_send(socket, bytes, size);
    for (size_t i = 0; self->settings->mesh.offer != 0 && i < self->roster.count; i++)
        peer_send_out(self->roster.peers[i], bytes, size);
}

int link_answer(link_t *self, const peer_route_t *route, const uint8_t *bytes, size_t size)
{
    return router_send(self->router, route, bytes, size);
}

static int send_back(void *arg, const peer_route_t *route, const uint8_t *bytes, size_t size)
{
    return link_answer(arg, route, bytes, size);
}

/* ---- what comes in ---- */

static void receive(void *arg, peer_t *peer, const peer_message_t *message)
{
    const link_t *self = arg;
    self->config.calls.message(self->config.calls.arg, peer, message);
}

static void idle(void *arg)
{
    const link_t *self = arg;
    self->config.calls.idle(self->config.calls.arg);
}

peer_t *link_offered(link_t *self, const link_visit_t *visit)
{
    if (roster_is_self(&self->roster, visit->sender))
        return NULL;
    peer_t *peer = roster_offers(&self->roster, visit->sender);
    peer_take_route(peer, &visit->route, visit->address);
    return peer;
}

/* ---- connections ---- */

static void let_go(void *arg, const peer_t *peer)
{
    const link_t *self = arg;
    self->config.calls.let_go(self->config.calls.arg, peer);
}

static void watch_peer(link_t *self, peer_t *peer)
{
    bool was_connected = peer_connected(peer);
    bool takes_nothing = peer_takes_nothing(peer);
    if (takes_nothing || self->config.calls.owes(self->config.calls.arg, peer)) {
        log_warnx("peer %s: %s; connecting anew", peer_node(peer)->name,
                  takes_nothing ? "takes no requests" : "owes an answer for too long");
        let_go(self, peer);
        peer_reconnect(peer);
    } else if (peer_watch(peer, self->settings->mesh.heartbeat_ms)) {
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
static void cut_all(link_t *self)
{
    listener_renew(self->publisher);
    router_renew(self->router);
}

void link_tick(link_t *self)
{
    size_t room = crowd_room(trust_size(self->trust), descriptors_limit());
    if (crowd_look(self->crowd, descriptors_open(), room, mono_now()))
        cut_all(self);
    for (size_t i = 0; i < self->roster.count; i++)
        watch_peer(self, self->roster.peers[i]);
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

bool link_reload(link_t *self, const trust_t *trust, const settings_t *settings)
{
    bool drop = somebody_left(self->trust, trust);
    self->trust = trust;
    self->settings = settings;
    gate_set_trust(self->gate, trust);
    router_set_trust(self->router, trust);
    if (drop)
        cut_all(self);
    roster_set(&self->roster, trust, settings, let_go, self);
    return drop;
}

/* ---- who there is ---- */

peer_t *const *link_peers(const link_t *self, size_t *count)
{
    *count = self->roster.count;
    return self->roster.peers;
}

size_t link_unseen(const link_t *self)
{
    return roster_unseen(&self->roster, self->trust);
}

bool link_is_peer_address(const link_t *self, const addr_t *address)
{
    return roster_is_at(&self->roster, address);
}

link_counters_t link_counters(const link_t *self)
{
    const gate_counters_t *gate = gate_counters(self->gate);
    return (link_counters_t){gate->admitted, gate->refused, gate->kept_out};
}

/* ---- start and end ---- */

static int listen_at(link_t *self, fault_t *fault)
{
    const link_config_t *config = &self->config;
    const settings_t *settings = self->settings;
    self->publisher =
        listener_new(self->readers, ZMQ_PUB, config->own, settings->mesh.listen, NULL, NULL, fault);
    if (self->publisher == NULL)
        return -1;
    self->router = router_new(self->readers, config->own, settings->mesh.replay, self->trust,
                              &config->calls, fault);
    return self->router != NULL ? 0 : -1;
}

link_t *link_new(const link_config_t *config, const trust_t *trust, const settings_t *settings,
                 fault_t *fault)
{
    link_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->trust = trust;
    self->settings = settings;
    self->peer_calls = (peer_calls_t){receive, idle, send_back, self};
    self->crowd = crowd_new();
    self->readers = readers_new(config->loop);
    self->gate = gate_new(self->readers, trust, self->crowd);
    self->roster =
        (roster_t){.readers = self->readers, .own = config->own, .calls = &self->peer_calls};
    if (listen_at(self, fault) == -1) {
        link_destroy(&self);
        return NULL;
    }
    roster_set(&self->roster, trust, settings, let_go, self);
    return self;
}

void link_destroy(link_t **self_p)
{
    link_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    roster_clear(&self->roster);
    router_destroy(&self->router);
    listener_destroy(&self->publisher);
    gate_destroy(&self->gate);
    readers_destroy(&self->readers);
    crowd_destroy(&self->crowd);
    free(self);
}
