#include "peer.h"

#include "chance.h"
#include "lookup.h"
#include "readers.h"

#define SILENT_HEARTBEATS 5
#define BACKOFF_MAX_MS    60000
#define REFUSES_MS        5000 /* a full queue has room again by then, if it has a reader */
#define LOOKUP_MS         20   /* between looks whether its name was found */

/* What is known of the peer's heartbeat by one way. */
typedef struct {
    bool connected;
    int64_t head_time_ms; /* of the newest one, by the peer's clock */
    mono_t heard_at;
} way_t;

struct peer {
    readers_t *readers;
    const cert_t *own;
    trusted_t node;
    char endpoint[CERT_ENDPOINT_MAX + 1];
    char replay[CERT_ENDPOINT_MAX + 1];
    const peer_calls_t *calls;
    socket_t *sub; /* both NULL: it is not connected to */
    socket_t *dealer;
    reader_t *sub_reader;
    reader_t *dealer_reader;
    lookup_t *sub_lookup; /* both NULL: no name is being looked up */
    lookup_t *dealer_lookup;
    int lookup_timer;   /* -1: none */
    bool lookup_failed; /* and the log knows */
    peer_route_t route; /* back to where it offers */
    addr_t address;
    char address_text[ADDR_TEXT_MAX];
    way_t out;
    way_t in;
    bool refuses; /* the last thing that it was to be sent had no room, or no connection */
    mono_t refuses_since;
    bool heard; /* ever, by whichever way */
    mono_t heard_at;
    bool said; /* how long ago it heard us */
    int64_t said_ms_ago;
    mono_t said_at;
    bool unheard; /* as it says */
    mono_t unheard_since;
    mono_t made_at;
    int64_t backoff_ms;
    uint64_t reconnects;
};

/* libzmq knows the address that a message came from: kept so that no ban cuts the mesh. */
static void note_address(peer_t *self, const char *text)
{
    if (text == NULL || streq(text, self->address_text) || strlen(text) >= ADDR_TEXT_MAX)
        return;
    snprintf(self->address_text, sizeof self->address_text, "%s", text);
    if (addr_parse(text, &self->address) != ADDR_OK)
        self->address.family = 0;
}

static void read_socket(void *arg, socket_t *socket)
{
    peer_t *self = arg;
    const mono_t since = mono_now();
    zmq_msg_t message;
    zmq_msg_init(&message);
    for (int i = 0; socket_may_read(i, since); i++) {
        int rc = socket_receive(socket, &message);
        if (rc == 0)
            break;
        if (rc == 1)
            note_address(self, zmq_msg_gets(&message, "Peer-Address"));
        peer_message_t received = {zmq_msg_data(&message), zmq_msg_size(&message), rc == -1,
                                   socket == self->dealer ? PEER_ANSWERED : PEER_ANNOUNCED};
        self->calls->message(self->calls->arg, self, &received);
    }
    zmq_msg_close(&message);
    self->calls->idle(self->calls->arg);
}

static socket_t *connect_one(peer_t *self, int type, const char *endpoint, reader_t **reader,
                             fault_t *fault)
{
    socket_t *socket = socket_client(type, self->own, &self->node.curve_public, endpoint, fault);
    if (socket != NULL)
        *reader = readers_add(self->readers, socket, read_socket, self);
    return socket;
}

static void stop_lookup(peer_t *self)
{
    if (self->lookup_timer != -1)
        zloop_timer_end(readers_loop(self->readers), self->lookup_timer);
    self->lookup_timer = -1;
    lookup_destroy(&self->sub_lookup);
    lookup_destroy(&self->dealer_lookup);
}

static void disconnect_both(peer_t *self)
{
    stop_lookup(self);
    readers_remove(self->readers, &self->sub_reader);
    readers_remove(self->readers, &self->dealer_reader);
    socket_destroy(&self->sub, 0);
    socket_destroy(&self->dealer, 0);
}

static int connect_found(peer_t *self, const char *endpoint, const char *replay, fault_t *fault)
{
    self->made_at = mono_now();
    self->sub = connect_one(self, ZMQ_SUB, endpoint, &self->sub_reader, fault);
    if (self->sub != NULL && *replay != '\0')
        self->dealer = connect_one(self, ZMQ_DEALER, replay, &self->dealer_reader, fault);
    if (self->sub != NULL && (self->dealer != NULL || *replay == '\0'))
        return 0;
    disconnect_both(self);
    return -1;
}

static int look(zloop_t *loop, int timer, void *arg);

/* Connect if both addresses are known; or look again later. 0, or -1 with the fault. */
static int go_on(peer_t *self, fault_t *fault)
{
    char endpoint[CERT_ENDPOINT_MAX + 1];
    char replay[CERT_ENDPOINT_MAX + 1] = "";
    size_t turn = (size_t)self->reconnects;
    int rc = lookup_result(self->sub_lookup, turn, endpoint, fault);
    if (rc == 1 && self->dealer_lookup != NULL)
        rc = lookup_result(self->dealer_lookup, turn, replay, fault);
    if (rc == 0) {
        self->lookup_timer = zloop_timer(readers_loop(self->readers), LOOKUP_MS, 1, look, self);
        return 0;
    }
    stop_lookup(self);
    return rc == 1 ? connect_found(self, endpoint, replay, fault) : -1;
}

/* It only adds readers: a zloop timer may. */
static int look(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    peer_t *self = arg;
    fault_t fault;
    self->lookup_timer = -1;
    int rc = go_on(self, &fault);
    if (rc == -1) {
        self->made_at = mono_now();
        if (!self->lookup_failed)
            log_warnx("peer %s: %s; trying again", self->node.name, fault.text);
    }
    self->lookup_failed = rc == -1;
    return 0;
}

static int begin_lookups(peer_t *self, fault_t *fault)
{
    self->made_at = mono_now();
    /* Its clock may have been set back: what it signs from now on counts again. */
    self->out = (way_t){0};
    self->refuses = false;
    if (self->endpoint[0] == '\0')
        return 0;
    self->sub_lookup = lookup_new(self->endpoint, fault);
    if (self->sub_lookup != NULL && self->replay[0] != '\0')
        self->dealer_lookup = lookup_new(self->replay, fault);
    if (self->sub_lookup == NULL || (self->dealer_lookup == NULL && self->replay[0] != '\0')) {
        stop_lookup(self);
        return -1;
    }
    return go_on(self, fault);
}

static void connect_anew(peer_t *self)
{
    fault_t fault;
    if (begin_lookups(self, &fault) == -1)
        log_warnx("peer %s: %s; trying again", self->node.name, fault.text);
}

peer_t *peer_new(readers_t *readers, const cert_t *own, const trusted_t *node, const char *endpoint,
                 const char *replay, const peer_calls_t *calls)
{
    peer_t *self = xcalloc(1, sizeof *self);
    self->readers = readers;
    self->own = own;
    self->node = *node;
    self->calls = calls;
    snprintf(self->endpoint, sizeof self->endpoint, "%s", endpoint);
    snprintf(self->replay, sizeof self->replay, "%s", replay);
    self->lookup_timer = -1;
    connect_anew(self);
    return self;
}

void peer_destroy(peer_t **self_p)
{
    if (*self_p == NULL)
        return;
    disconnect_both(*self_p);
    free(*self_p);
    *self_p = NULL;
}

const trusted_t *peer_node(const peer_t *self)
{
    return &self->node;
}

const char *peer_endpoint(const peer_t *self)
{
    return self->endpoint;
}

const char *peer_replay(const peer_t *self)
{
    return self->replay;
}

bool peer_is_at(const peer_t *self, const addr_t *address)
{
    return self->address.family != 0 && addr_overlaps(&self->address, address);
}

int peer_send_out(peer_t *self, const uint8_t *bytes, size_t size)
{
    if (self->dealer == NULL || !self->out.connected)
        return -1;
    int rc = socket_send(self->dealer, bytes, size);
    readers_look(self->readers, self->dealer_reader);
    if (rc == -1 && !self->refuses)
        self->refuses_since = mono_now();
    self->refuses = rc == -1;
    return rc;
}

bool peer_takes_nothing(const peer_t *self)
{
    return self->refuses && mono_since_ms(self->refuses_since) >= REFUSES_MS;
}

int peer_send(peer_t *self, const uint8_t *bytes, size_t size)
{
    if (!self->in.connected || self->out.connected)
        return peer_send_out(self, bytes, size);
    return self->calls->send_back(self->calls->arg, &self->route, bytes, size);
}

void peer_take_route(peer_t *self, const peer_route_t *route, const char *address)
{
    self->route = *route;
    note_address(self, address);
}

bool peer_heartbeat(peer_t *self, int64_t time_ms, peer_way_t by)
{
    way_t *way = by == PEER_OFFERED ? &self->in : &self->out;
    if (time_ms <= way->head_time_ms)
        return false;
    bool fresh = !peer_connected(self);
    *way = (way_t){true, time_ms, mono_now()};
    self->heard = true;
    self->heard_at = way->heard_at;
    if (way == &self->out)
        self->backoff_ms = 0;
    return fresh;
}

bool peer_connected(const peer_t *self)
{
    return self->out.connected || self->in.connected;
}

bool peer_offers(const peer_t *self)
{
    return self->in.connected;
}

int64_t peer_heard_ms(const peer_t *self)
{
    return self->heard ? mono_since_ms(self->heard_at) : -1;
}

void peer_said_heard(peer_t *self, int64_t ms_ago, int64_t limit_ms)
{
    bool was = self->unheard;
    self->unheard = ms_ago < 0 || ms_ago > limit_ms;
    if (!was)
        self->unheard_since = mono_now();
    self->said = true;
    self->said_ms_ago = ms_ago;
    self->said_at = mono_now();
}

int64_t peer_unheard_ms(const peer_t *self)
{
    return self->unheard ? mono_since_ms(self->unheard_since) : -1;
}

bool peer_hears(const peer_t *self, int64_t *ms_ago)
{
    *ms_ago = self->said_ms_ago < 0 ? -1 : self->said_ms_ago + mono_since_ms(self->said_at);
    return self->said;
}

uint64_t peer_reconnects(const peer_t *self)
{
    return self->reconnects;
}

void peer_reconnect(peer_t *self)
{
    disconnect_both(self);
    self->reconnects++;
    connect_anew(self);
}

/* What it offers came last a while ago: it may come back by another route. */
static bool watch_offers(peer_t *self, int64_t limit_ms)
{
    if (!self->in.connected || mono_since_ms(self->in.heard_at) < limit_ms)
        return false;
    self->in = (way_t){0};
    return true;
}

bool peer_watch(peer_t *self, int64_t heartbeat_ms)
{
    int64_t limit = heartbeat_ms * SILENT_HEARTBEATS;
    /* Where the way out stands, nothing is lost with the other one. */
    bool offers_ended = watch_offers(self, limit) && !self->out.connected;
    if (self->sub_lookup != NULL)
        return offers_ended; /* it ends by itself, when the name servers had their time */
    int64_t silent = mono_since_ms(self->made_at);
    if (self->out.connected && mono_since_ms(self->out.heard_at) < silent)
        silent = mono_since_ms(self->out.heard_at);
    if (self->endpoint[0] == '\0' || silent < (self->backoff_ms > limit ? self->backoff_ms : limit))
        return offers_ended;
    int64_t next = self->backoff_ms == 0 ? limit * 2 : self->backoff_ms * 2;
    if (next > BACKOFF_MAX_MS)
        next = BACKOFF_MAX_MS;
    self->backoff_ms = next - chance_below((uint32_t)(next / 4 + 1));
    peer_reconnect(self);
    return true;
}
