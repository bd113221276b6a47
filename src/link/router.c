#include "router.h"

#include "listener.h"

/* Before others on the loop get their turn: the hook waits for it. */
#define BURST_REQUESTS 16
#define BURST_BYTES    (64 * 1024) /* that is, one large answer */

struct router {
    const trust_t *trust;
    const link_calls_t *calls;
    listener_t *listener;
    size_t sent_bytes; /* in this turn */
};

int router_send(router_t *self, const peer_route_t *route, const uint8_t *bytes, size_t size)
{
    socket_t *socket = listener_socket(self->listener);
    if (socket == NULL) {
        errno = EHOSTUNREACH;
        return -1;
    }
    if (zmq_send(socket, route->bytes, route->size, ZMQ_SNDMORE | ZMQ_DONTWAIT) == -1 ||
        zmq_send(socket, bytes, size, ZMQ_DONTWAIT) == -1)
        return -1;
    self->sent_bytes += size;
    listener_look(self->listener);
    return 0;
}

/* The node behind a message, by the key that its connection was admitted with. It may have been
 * removed from the set since. */
static const trusted_t *sender_of(const router_t *self, zmq_msg_t *message)
{
    const char *name = zmq_msg_gets(message, "User-Id");
    return name != NULL ? trust_by_name(self->trust, name) : NULL;
}

/* Returns true if it was a request. */
static bool hand_up(router_t *self, zmq_msg_t *routing_id, zmq_msg_t *message, bool more_frames)
{
    size_t size = zmq_msg_size(routing_id);
    if (size == 0 || size > PEER_ROUTE_MAX)
        return false; /* libzmq has none such */
    link_visit_t visit = {.sender = sender_of(self, message),
                          .route.size = (uint8_t)size,
                          .address = zmq_msg_gets(message, "Peer-Address"),
                          .bytes = zmq_msg_data(message),
                          .size = zmq_msg_size(message),
                          .more_frames = more_frames};
    memcpy(visit.route.bytes, zmq_msg_data(routing_id), size);
    return self->calls->visit(self->calls->arg, &visit);
}

/* A message is two frames: who sends, and what. */
static void read_messages(void *arg, socket_t *socket)
{
    router_t *self = arg;
    int requests = 0;
    const mono_t since = mono_now();
    zmq_msg_t routing_id;
    zmq_msg_t message;
    zmq_msg_init(&routing_id);
    zmq_msg_init(&message);
    self->sent_bytes = 0;
    for (int i = 0; socket_may_read(i, since) && requests < BURST_REQUESTS; i++) {
        if (self->sent_bytes > BURST_BYTES)
            break;
        if (zmq_msg_recv(&routing_id, socket, ZMQ_DONTWAIT) == -1)
            break;
        if (!zmq_msg_more(&routing_id))
            continue;
        int rc = socket_receive(socket, &message);
        if (rc != 0)
            requests += hand_up(self, &routing_id, &message, rc == -1);
    }
    zmq_msg_close(&routing_id);
    zmq_msg_close(&message);
    self->calls->idle(self->calls->arg);
}

router_t *router_new(readers_t *readers, const cert_t *own, const char *endpoint,
                     const trust_t *trust, const link_calls_t *calls, fault_t *fault)
{
    router_t *self = xcalloc(1, sizeof *self);
    self->trust = trust;
    self->calls = calls;
    self->listener = listener_new(readers, ZMQ_ROUTER, own, endpoint, read_messages, self, fault);
    if (self->listener == NULL)
        router_destroy(&self);
    return self;
}

void router_destroy(router_t **self_p)
{
    if (*self_p == NULL)
        return;
    listener_destroy(&(*self_p)->listener);
    free(*self_p);
    *self_p = NULL;
}

void router_set_trust(router_t *self, const trust_t *trust)
{
    self->trust = trust;
}

void router_renew(router_t *self)
{
    listener_renew(self->listener);
}
