#include "curve_pair.h"

#include "log.h"

#include <stdlib.h>
#include <zmq.h>

#define KEY_TEXT_SIZE 41 /* Z85, with its NUL */
#define WAIT_MS       10000

struct curve_pair {
    void *pub_context;
    void *sub_context;
    void *pub;
    void *sub;
};

static void check(int rc, const char *what)
{
    if (rc == -1)
        fatalx("%s: %s", what, zmq_strerror(zmq_errno()));
}

static void set_number(void *socket, int option, int value)
{
    check(zmq_setsockopt(socket, option, &value, sizeof value), "ZeroMQ option");
}

static void set_key(void *socket, int option, const char *key)
{
    check(zmq_setsockopt(socket, option, key, KEY_TEXT_SIZE), "ZeroMQ key");
}

static void open_publisher(curve_pair_t *self, const char *secret_key)
{
    self->pub_context = zmq_ctx_new();
    self->pub = zmq_socket(self->pub_context, ZMQ_XPUB);
    set_number(self->pub, ZMQ_LINGER, 0);
    set_number(self->pub, ZMQ_XPUB_NODROP, 1);
    set_number(self->pub, ZMQ_CURVE_SERVER, 1);
    set_key(self->pub, ZMQ_CURVE_SECRETKEY, secret_key);
    check(zmq_bind(self->pub, "tcp://127.0.0.1:*"), "bind");
}

static void open_subscriber(curve_pair_t *self, const char *server_key)
{
    char public_key[KEY_TEXT_SIZE];
    char secret_key[KEY_TEXT_SIZE];
    char endpoint[256];
    size_t size = sizeof endpoint;
    check(zmq_curve_keypair(public_key, secret_key), "key pair");
    check(zmq_getsockopt(self->pub, ZMQ_LAST_ENDPOINT, endpoint, &size), "endpoint");
    self->sub_context = zmq_ctx_new();
    self->sub = zmq_socket(self->sub_context, ZMQ_SUB);
    set_number(self->sub, ZMQ_LINGER, 0);
    set_key(self->sub, ZMQ_CURVE_SERVERKEY, server_key);
    set_key(self->sub, ZMQ_CURVE_PUBLICKEY, public_key);
    set_key(self->sub, ZMQ_CURVE_SECRETKEY, secret_key);
    check(zmq_setsockopt(self->sub, ZMQ_SUBSCRIBE, "", 0), "subscribe");
    check(zmq_connect(self->sub, endpoint), "connect");
}

/* The publisher tells of the subscription once the handshake is through. */
static void wait_connected(curve_pair_t *self)
{
    char subscription[1];
    set_number(self->pub, ZMQ_RCVTIMEO, WAIT_MS);
    set_number(self->sub, ZMQ_RCVTIMEO, WAIT_MS);
    check(zmq_recv(self->pub, subscription, sizeof subscription, 0), "subscription");
    curve_pair_send(self, "", 0);
    curve_pair_receive(self);
}

curve_pair_t *curve_pair_new(void)
{
    char public_key[KEY_TEXT_SIZE];
    char secret_key[KEY_TEXT_SIZE];
    curve_pair_t *self = xcalloc(1, sizeof *self);
    check(zmq_curve_keypair(public_key, secret_key), "key pair");
    open_publisher(self, secret_key);
    open_subscriber(self, public_key);
    wait_connected(self);
    return self;
}

void curve_pair_destroy(curve_pair_t **self_p)
{
    curve_pair_t *self = *self_p;
    *self_p = NULL;
    zmq_close(self->pub);
    zmq_close(self->sub);
    zmq_ctx_term(self->pub_context);
    zmq_ctx_term(self->sub_context);
    free(self);
}

void curve_pair_send(curve_pair_t *self, const void *bytes, size_t size)
{
    check(zmq_send(self->pub, bytes, size, 0), "send");
}

void curve_pair_receive(curve_pair_t *self)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    check(zmq_msg_recv(&message, self->sub, 0), "receive");
    zmq_msg_close(&message);
}
