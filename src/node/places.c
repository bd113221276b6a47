#include "places.h"

#include "clock.h"
#include "lookup.h"

#include <czmq.h>

#define LOOK_MS   50
#define AGAIN_MS  (10 * 60 * MS_PER_S)
#define FOUND_MAX 16 /* addresses of one name: whoever has the zone must not protect the world */

typedef struct {
    char endpoint[CERT_ENDPOINT_MAX + 1]; /* of its ports the last one seen: only the host counts */
    const char *reason;
    bool wanted;
    lookup_t *lookup; /* NULL: none is under way */
    mono_t looked_at;
    fault_t fault; /* why it is not known, or not any more; "": it is */
    addr_t *found;
    size_t found_count;
} place_t;

struct places {
    zloop_t *loop;
    int timer; /* -1: no name is being looked up */
    place_t *items;
    size_t count;
};

places_t *places_new(zloop_t *loop)
{
    places_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->timer = -1;
    return self;
}

static void drop(place_t *place)
{
    lookup_destroy(&place->lookup);
    free(place->found);
}

void places_destroy(places_t **self_p)
{
    places_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->timer != -1)
        zloop_timer_end(self->loop, self->timer);
    for (size_t i = 0; i < self->count; i++)
        drop(&self->items[i]);
    free(self->items);
    free(self);
}

/* ---- looking up ---- */

static void add_found(void *arg, const addr_t *address)
{
    place_t *place = arg;
    if (place->found_count == FOUND_MAX)
        fault_set(&place->fault, "%s has more than %d addresses: the others are not protected",
                  place->endpoint, FOUND_MAX);
    if (place->found_count == FOUND_MAX)
        return;
    place->found = xrealloc(place->found, (place->found_count + 1) * sizeof *place->found);
    place->found[place->found_count++] = *address;
}

/* What was known stays until something else is. */
static void take_result(place_t *place)
{
    const place_t before = *place;
    place->found = NULL;
    place->found_count = 0;
    place->fault.text[0] = '\0';
    fault_t fault;
    int rc = lookup_each(place->lookup, add_found, place, &fault);
    if (rc == 1)
        free(before.found);
    else {
        place->found = before.found;
        place->found_count = before.found_count;
        place->fault = rc == -1 ? fault : before.fault;
    }
    if (rc != 0 && place->fault.text[0] != '\0' &&
        strcmp(before.fault.text, place->fault.text) != 0)
        log_warnx("%s; a ban of it could not be kept away from here", place->fault.text);
    if (rc != 0)
        lookup_destroy(&place->lookup);
}

static int look(zloop_t *loop, int timer, void *arg);

static void look_at_all(places_t *self)
{
    bool waiting = false;
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].lookup != NULL)
            take_result(&self->items[i]);
        waiting = waiting || self->items[i].lookup != NULL;
    }
    if (waiting && self->timer == -1)
        self->timer = zloop_timer(self->loop, LOOK_MS, 1, look, self);
}

static int look(zloop_t *loop, int timer, void *arg)
{
    places_t *self = arg;
    (void)loop;
    (void)timer;
    self->timer = -1;
    look_at_all(self);
    return 0;
}

static void begin(place_t *place)
{
    place->looked_at = mono_now();
    if (place->lookup == NULL)
        place->lookup = lookup_new(place->endpoint, &place->fault);
}

/* ---- which ---- */

static size_t host_length(const char *endpoint)
{
    return (size_t)(strrchr(endpoint, ':') - endpoint);
}

static place_t *find(places_t *self, const char *endpoint)
{
    size_t length = host_length(endpoint);
    for (size_t i = 0; i < self->count; i++) {
        place_t *place = &self->items[i];
        if (host_length(place->endpoint) == length &&
            strncmp(place->endpoint, endpoint, length) == 0)
            return place;
    }
    return NULL;
}

static void want(places_t *self, const char *endpoint, const char *reason)
{
    if (*endpoint == '\0' || strchr(endpoint, '*') != NULL)
        return;
    place_t *place = find(self, endpoint);
    if (place == NULL) {
        self->items = xrealloc(self->items, (self->count + 1) * sizeof *self->items);
        place = &self->items[self->count++];
        memset(place, 0, sizeof *place);
        snprintf(place->endpoint, sizeof place->endpoint, "%s", endpoint);
        begin(place);
    }
    place->reason = reason;
    place->wanted = true;
}

/* A name may move; one that could not be looked up may come. */
static bool is_old(const place_t *place)
{
    return place->fault.text[0] != '\0' || mono_since_ms(place->looked_at) >= AGAIN_MS;
}

static void drop_unwanted(places_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].wanted)
            self->items[kept++] = self->items[i];
        else
            drop(&self->items[i]);
    }
    self->count = kept;
}

void places_set(places_t *self, const cert_t *own, const trust_t *trust, const settings_t *settings)
{
    for (size_t i = 0; i < self->count; i++)
        self->items[i].wanted = false;
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
    drop_unwanted(self);
    for (size_t i = 0; i < self->count; i++)
        if (is_old(&self->items[i]))
            begin(&self->items[i]);
    look_at_all(self);
}

const char *places_reason(const places_t *self, const addr_t *address)
{
    for (size_t i = 0; i < self->count; i++)
        for (size_t j = 0; j < self->items[i].found_count; j++)
            if (addr_overlaps(&self->items[i].found[j], address))
                return self->items[i].reason;
    return NULL;
}

void places_complain(const places_t *self, void (*complain)(void *arg, const fault_t *fault),
                     void *arg)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].fault.text[0] != '\0')
            complain(arg, &self->items[i].fault);
}
