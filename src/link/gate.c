#include "gate.h"

#define ZAP_ENDPOINT   "inproc://zeromq.zap.01"
#define ZAP_VERSION    "1.0"
#define REFUSAL_LOG_MS 10000

struct gate {
    readers_t *readers;
    zsock_t *handler;
    reader_t *reader;
    const trust_t *trust;
    crowd_t *crowd;
    gate_counters_t counters;
    mono_t last_logged;
};

/* The frames of a ZAP request, in order. */
typedef struct {
    char *version;
    char *id;
    char *domain;
    char *address;
    char *identity;
    char *mechanism;
    zframe_t *key;
} zap_request_t;

static bool read_request(zmsg_t *message, zap_request_t *out)
{
    out->version = zmsg_popstr(message);
    out->id = zmsg_popstr(message);
    out->domain = zmsg_popstr(message);
    out->address = zmsg_popstr(message);
    out->identity = zmsg_popstr(message);
    out->mechanism = zmsg_popstr(message);
    out->key = zmsg_pop(message);
    return out->key != NULL;
}

static void clear_request(zap_request_t *request)
{
    zstr_free(&request->version);
    zstr_free(&request->id);
    zstr_free(&request->domain);
    zstr_free(&request->address);
    zstr_free(&request->identity);
    zstr_free(&request->mechanism);
    zframe_destroy(&request->key);
}

static void note_refusal(gate_t *self, const zap_request_t *request)
{
    self->counters.refused++;
    const char *address = request->address;
    if (strncmp(address, "::ffff:", 7) == 0)
        address += 7;
    snprintf(self->counters.refused_address, sizeof self->counters.refused_address, "%s", address);
    snprintf(self->counters.refused_key, sizeof self->counters.refused_key, "?");
    if (zframe_size(request->key) == PUBKEY_BYTES)
        cert_z85((const pubkey_t *)zframe_data(request->key), self->counters.refused_key);
    /* A stranger that tries again and again fills no disk. */
    if (self->counters.refused == 1 || mono_since_ms(self->last_logged) >= REFUSAL_LOG_MS) {
        self->last_logged = mono_now();
        log_warnx("refused a connection from %s: connection key %s is not in the trust directory; "
                  "if it is yours: banmesh trust add NAME.cert (%" PRIu64 " refused so far)",
                  self->counters.refused_address, self->counters.refused_key,
                  self->counters.refused);
    }
}

/* 200 admits; 300 refuses for now, so that the peer comes back by itself once it is trusted (after
 * a 400 libzmq never tries again). */
static const trusted_t *judge(gate_t *self, const zap_request_t *request)
{
    if (!streq(request->version, ZAP_VERSION) || !streq(request->domain, SOCKET_ZAP_DOMAIN) ||
        !streq(request->mechanism, "CURVE") || zframe_size(request->key) != PUBKEY_BYTES)
        return NULL;
    return trust_by_curve(self->trust, (const pubkey_t *)zframe_data(request->key));
}

static void answer(void *arg, socket_t *socket)
{
    gate_t *self = arg;
    zap_request_t request = {0};
    zmsg_t *message = zmsg_recv(socket);
    if (message == NULL)
        return;
    const trusted_t *peer = NULL;
    bool whole = read_request(message, &request);
    if (whole)
        peer = judge(self, &request);
    if (whole && peer == NULL)
        note_refusal(self, &request);
    if (peer != NULL && !crowd_admits(self->crowd, peer->name, mono_now())) {
        self->counters.kept_out++;
        peer = NULL;
    }
    self->counters.admitted += peer != NULL;
    zstr_sendx(socket, ZAP_VERSION, request.id != NULL ? request.id : "",
               peer != NULL ? "200" : "300", peer != NULL ? "OK" : "not trusted",
               peer != NULL ? peer->name : "", "", NULL);
    clear_request(&request);
    zmsg_destroy(&message);
}

gate_t *gate_new(readers_t *readers, const trust_t *trust, crowd_t *crowd)
{
    gate_t *self = xcalloc(1, sizeof *self);
    self->readers = readers;
    self->trust = trust;
    self->crowd = crowd;
    self->handler = zsock_new(ZMQ_REP);
    if (self->handler == NULL || zsock_bind(self->handler, "%s", ZAP_ENDPOINT) == -1)
        fatal("cannot start the authentication handler at %s", ZAP_ENDPOINT);
    self->reader = readers_add(readers, zsock_resolve(self->handler), answer, self);
    return self;
}

void gate_destroy(gate_t **self_p)
{
    gate_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    readers_remove(self->readers, &self->reader);
    /* At once: closing alone frees the address some time later, and until then handshakes hang. */
    zsock_unbind(self->handler, "%s", ZAP_ENDPOINT);
    zsock_destroy(&self->handler);
    free(self);
}

void gate_set_trust(gate_t *self, const trust_t *trust)
{
    self->trust = trust;
}

const gate_counters_t *gate_counters(const gate_t *self)
{
    return &self->counters;
}
