#include "places.h"

#include "names.h"

#include <czmq.h>

#define AGAIN_MS (10 * 60 * MS_PER_S)
#define SCHEME   "tcp://"

struct places {
    names_t *names;
};

places_t *places_new(zloop_t *loop)
{
    static const names_rules_t rules = {
        .again_ms = AGAIN_MS,
        .consequence = "a ban of it could not be kept away from here",
    };
    places_t *self = xcalloc(1, sizeof *self);
    self->names = names_new(loop, &rules);
    return self;
}

void places_destroy(places_t **self_p)
{
    if (*self_p == NULL)
        return;
    names_destroy(&(*self_p)->names);
    free(*self_p);
    *self_p = NULL;
}

/* Of an endpoint only the host counts. */
static void want(places_t *self, const char *endpoint, const char *reason)
{
    char host[CERT_ENDPOINT_MAX + 1];
    if (*endpoint == '\0' || strchr(endpoint, '*') != NULL)
        return;
    const char *begin = endpoint + strlen(SCHEME);
    snprintf(host, sizeof host, "%.*s", (int)(strrchr(endpoint, ':') - begin), begin);
    names_want(self->names, host, reason);
}

void places_set(places_t *self, const cert_t *own, const trust_t *trust, const settings_t *settings)
{
    names_begin(self->names);
    for (size_t i = 0; i < trust_size(trust); i++) {
        want(self, trust_at(trust, i)->endpoint, "peer");
        want(self, trust_at(trust, i)->replay, "peer");
    }
    for (size_t i = 0; i < settings->mesh.peer_count; i++) {
        want(self, settings->mesh.peers[i].endpoint, "peer");
        want(self, settings->mesh.peers[i].replay, "peer");
    }
    want(self, own->endpoint, "own address");
    want(self, own->replay, "own address");
    names_end(self->names);
}

const char *places_reason(const places_t *self, const addr_t *address)
{
    return names_reason(self->names, address);
}

void places_complain(const places_t *self, void (*complain)(void *arg, const fault_t *fault),
                     void *arg)
{
    names_complain(self->names, complain, arg);
}
