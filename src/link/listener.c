#include "listener.h"

#include "clock.h"
#include "descriptors.h"

#define RETRY_MS      20
#define FILES_NEEDED  16 /* to make a socket and bind it, and what is accepted meanwhile */
#define LAST_WORDS_MS 1000
#define COMPLAIN_MS   5000

struct listener {
    int type;
    const cert_t *own;
    char *endpoint;
    readers_t *readers;
    readers_fn *read;
    void *arg;
    socket_t *socket;
    reader_t *reader;
    int timer; /* -1: none */
    mono_t since;
};

static int listen_now(listener_t *self, fault_t *fault)
{
    if (*self->endpoint == '\0')
        return 0;
    /* libzmq looks for an interface of that name first, and aborts if it has no descriptor for it.
     */
    if (descriptors_open() + FILES_NEEDED > descriptors_limit()) {
        errno = EMFILE;
        return fault_set(fault, "cannot listen on %s: %s", self->endpoint, strerror(errno));
    }
    self->socket = socket_server(self->type, self->own, fault);
    if (self->socket == NULL)
        return -1;
    if (socket_bind(self->socket, self->endpoint, fault) == -1) {
        socket_destroy(&self->socket, 0);
        return -1;
    }
    if (self->read != NULL)
        self->reader = readers_add(self->readers, self->socket, self->read, self->arg);
    return 0;
}

listener_t *listener_new(readers_t *readers, int type, const cert_t *own, const char *endpoint,
                         readers_fn *read, void *arg, fault_t *fault)
{
    listener_t *self = xcalloc(1, sizeof *self);
    self->readers = readers;
    self->type = type;
    self->own = own;
    self->endpoint = xstrdup(endpoint);
    self->read = read;
    self->arg = arg;
    self->timer = -1;
    if (listen_now(self, fault) == -1)
        listener_destroy(&self);
    return self;
}

static void stop(listener_t *self, int linger_ms)
{
    if (self->timer != -1)
        zloop_timer_end(readers_loop(self->readers), self->timer);
    self->timer = -1;
    readers_remove(self->readers, &self->reader);
    socket_destroy(&self->socket, linger_ms);
}

void listener_destroy(listener_t **self_p)
{
    listener_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    /* What was announced a moment ago still goes out, as far as peers take it. */
    stop(self, LAST_WORDS_MS);
    free(self->endpoint);
    free(self);
}

static int retry(zloop_t *loop, int timer, void *arg)
{
    (void)timer;
    listener_t *self = arg;
    fault_t fault;
    self->timer = -1;
    if (listen_now(self, &fault) == 0)
        return 0;
    if (mono_since_ms(self->since) >= COMPLAIN_MS) {
        log_warnx("%s; still trying", fault.text);
        self->since = mono_now();
    }
    self->timer = zloop_timer(loop, RETRY_MS, 1, retry, self);
    return 0;
}

void listener_renew(listener_t *self)
{
    stop(self, 0);
    self->since = mono_now();
    retry(readers_loop(self->readers), 0, self);
}

socket_t *listener_socket(listener_t *self)
{
    return self->socket;
}

void listener_look(listener_t *self)
{
    if (self->reader != NULL)
        readers_look(self->readers, self->reader);
}
