#include "socket.h"

/* A draft macro in Debian's zmq.h, though the option works: our own name for it (fact: without it a
 * missing handler lets everybody in). */
#define OPTION_ZAP_ENFORCE_DOMAIN 93

#define MESSAGE_MAX_BYTES (66 * 1024) /* an envelope and some */
#define HANDSHAKE_MS      3000
#define CONNECT_MS        3000 /* TCP alone would try again ever more seldom in a long cut */
#define SILENT_MS         3000 /* unanswered by the other side's TCP: the connection ends */
#define KEEPALIVE_S       1
#define KEEPALIVE_COUNT   3
#define RECONNECT_MS      100
#define RECONNECT_MAX_MS  5000
#define SOCKETS_MAX       8192

void socket_setup(void)
{
    zsys_init();
    zsys_handler_set(NULL);
    zsys_set_ipv6(1);
    zsys_set_linger(0);
    zsys_set_max_sockets(SOCKETS_MAX);
    zsys_set_logstream(stderr);
}

void socket_teardown(void)
{
    zsys_shutdown();
}

static socket_t *make(int type, fault_t *fault)
{
    socket_t *self = zmq_socket(zsys_init(), type);
    if (self == NULL) {
        errno = zmq_errno();
        fault_set(fault, "cannot create a ZeroMQ socket: %s", zmq_strerror(errno));
    }
    return self;
}

static void set_common(socket_t *self)
{
    zsock_set_ipv6(self, 1);
    zsock_set_sndhwm(self, SOCKET_QUEUE_MAX);
    zsock_set_rcvhwm(self, SOCKET_QUEUE_MAX);
    zsock_set_maxmsgsize(self, MESSAGE_MAX_BYTES);
    zsock_set_linger(self, 0);
    zsock_set_handshake_ivl(self, HANDSHAKE_MS);
    /* Not libzmq's own heartbeats: they abort the process when a peer leaves while its messages
     * wait for us (libzmq issue 4364). TCP finds the dead, our signed heads the silent. */
    zsock_set_tcp_maxrt(self, SILENT_MS);
    zsock_set_tcp_keepalive(self, 1);
    zsock_set_tcp_keepalive_idle(self, KEEPALIVE_S);
    zsock_set_tcp_keepalive_intvl(self, KEEPALIVE_S);
    zsock_set_tcp_keepalive_cnt(self, KEEPALIVE_COUNT);
    zsock_set_reconnect_ivl(self, RECONNECT_MS);
    zsock_set_reconnect_ivl_max(self, RECONNECT_MAX_MS);
}

static void set_own_keys(socket_t *self, const cert_t *own)
{
    zsock_set_curve_publickey_bin(self, own->curve_public.bytes);
    zsock_set_curve_secretkey_bin(self, own->curve_secret);
}

socket_t *socket_server(int type, const cert_t *own, fault_t *fault)
{
    socket_t *self = make(type, fault);
    if (self == NULL)
        return NULL;
    set_common(self);
    int enforce = 1;
    if (zmq_setsockopt(self, OPTION_ZAP_ENFORCE_DOMAIN, &enforce, sizeof enforce) == -1)
        fatalx("this libzmq cannot enforce authentication (ZMQ_ZAP_ENFORCE_DOMAIN): %s",
               zmq_strerror(zmq_errno()));
    zsock_set_zap_domain(self, SOCKET_ZAP_DOMAIN);
    zsock_set_curve_server(self, 1);
    set_own_keys(self, own);
    if (type == ZMQ_ROUTER)
        zsock_set_router_mandatory(self, 1);
    return self;
}

int socket_bind(socket_t *self, const char *endpoint, fault_t *fault)
{
    if (zmq_bind(self, endpoint) == 0)
        return 0;
    errno = zmq_errno();
    return fault_set(fault, "cannot listen on %s: %s", endpoint, zmq_strerror(errno));
}

socket_t *socket_client(int type, const cert_t *own, const pubkey_t *server_key,
                        const char *endpoint, fault_t *fault)
{
    socket_t *self = make(type, fault);
    if (self == NULL)
        return NULL;
    set_common(self);
    set_own_keys(self, own);
    zsock_set_connect_timeout(self, CONNECT_MS);
    zsock_set_curve_serverkey_bin(self, server_key->bytes);
    if (type == ZMQ_SUB)
        zsock_set_subscribe(self, "");
    if (zmq_connect(self, endpoint) == -1) {
        fault_set(fault, "cannot connect to %s: %s", endpoint, zmq_strerror(zmq_errno()));
        socket_destroy(&self, 0);
    }
    return self;
}

void socket_destroy(socket_t **self_p, int linger_ms)
{
    if (*self_p == NULL)
        return;
    zsock_set_linger(*self_p, linger_ms);
    zmq_close(*self_p);
    *self_p = NULL;
}

int socket_send(socket_t *self, const void *bytes, size_t size)
{
    return zmq_send(self, bytes, size, ZMQ_DONTWAIT) == -1 ? -1 : 0;
}

int socket_receive(socket_t *self, zmq_msg_t *message)
{
    if (zmq_msg_recv(message, self, ZMQ_DONTWAIT) == -1)
        return 0;
    if (!zmq_msg_more(message))
        return 1;
    do
        if (zmq_msg_recv(message, self, 0) == -1)
            return 0;
    while (zmq_msg_more(message));
    return -1;
}
