#include "protect.h"

#include "places.h"
#include "resolvers.h"
#include "routes.h"
#include "special.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MAX 8

typedef struct {
    addr_t network;
    const char *reason;
} guarded_t;

struct protect {
    places_t *places;
    guarded_t *items;
    size_t size;
    fault_t faults[FAULTS_MAX]; /* of the last refresh */
    size_t fault_count;
    bool knows_resolvers;
};

protect_t *protect_new(zloop_t *loop)
{
    protect_t *self = xcalloc(1, sizeof *self);
    self->places = places_new(loop);
    return self;
}

void protect_destroy(protect_t **self_p)
{
    if (*self_p == NULL)
        return;
    places_destroy(&(*self_p)->places);
    free((*self_p)->items);
    free(*self_p);
    *self_p = NULL;
}

/* ---- what this host has ---- */

/* Once each: a router has thousands of routes through a few gateways. */
static void add(protect_t *self, const addr_t *network, const char *reason)
{
    for (size_t i = 0; i < self->size; i++)
        if (addr_equal(&self->items[i].network, network))
            return;
    self->items = xrealloc(self->items, (self->size + 1) * sizeof *self->items);
    self->items[self->size++] = (guarded_t){*network, reason};
}

static void add_gateway(void *arg, const addr_t *address)
{
    add(arg, address, "gateway");
}

static void add_resolver(void *arg, const addr_t *address)
{
    add(arg, address, "resolver");
}

static void add_own(protect_t *self, const void *bytes, size_t size)
{
    addr_t address;
    if (addr_from_bytes(bytes, size, (uint32_t)size * 8, &address) == ADDR_OK)
        add(self, &address, "own address");
}

static void note_fault(void *arg, const fault_t *fault)
{
    protect_t *self = arg;
    if (self->fault_count < FAULTS_MAX)
        self->faults[self->fault_count++] = *fault;
}

static void add_interfaces(protect_t *self)
{
    fault_t fault;
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) == -1) {
        fault_set(&fault, "addresses of interfaces cannot be read: %s", strerror(errno));
        note_fault(self, &fault);
        return;
    }
    for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        if (one->ifa_addr == NULL)
            continue;
        if (one->ifa_addr->sa_family == AF_INET)
            add_own(self, &((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr, 4);
        else if (one->ifa_addr->sa_family == AF_INET6)
            add_own(self, &((struct sockaddr_in6 *)(void *)one->ifa_addr)->sin6_addr, 16);
    }
    freeifaddrs(all);
}

static void read_host(protect_t *self, const settings_t *settings)
{
    fault_t fault;
    self->size = self->fault_count = 0;
    for (size_t i = 0; i < settings->guard.protect.size; i++)
        add(self, &settings->guard.protect.items[i], "protect list");
    add_interfaces(self);
    if (routes_each(add_gateway, self, &fault) == -1)
        note_fault(self, &fault);
    self->knows_resolvers = resolvers_each(add_resolver, note_fault, self);
}

static bool has_fault(const fault_t *faults, size_t count, const fault_t *fault)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(faults[i].text, fault->text) == 0)
            return true;
    return false;
}

void protect_refresh(protect_t *self, const cert_t *own, const trust_t *trust,
                     const settings_t *settings)
{
    fault_t before[FAULTS_MAX];
    size_t before_count = self->fault_count;
    memcpy(before, self->faults, sizeof before);
    read_host(self, settings);
    for (size_t i = 0; i < self->fault_count; i++)
        if (!has_fault(before, before_count, &self->faults[i]))
            log_warnx("%s; what it would name is not protected from bans", self->faults[i].text);
    places_set(self->places, own, trust, settings);
}

const char *protect_reason(const protect_t *self, const addr_t *address)
{
    for (size_t i = 0; i < self->size; i++)
        if (addr_overlaps(&self->items[i].network, address))
            return self->items[i].reason;
    return places_reason(self->places, address);
}

void protect_complain(const protect_t *self, void (*complain)(void *arg, const fault_t *fault),
                      void *arg)
{
    for (size_t i = 0; i < self->fault_count; i++)
        complain(arg, &self->faults[i]);
    places_complain(self->places, complain, arg);
}

/* ---- what only the operator can know ---- */

static bool knows_public_address(const protect_t *self, const cert_t *own)
{
    for (size_t i = 0; i < self->size; i++)
        if (strcmp(self->items[i].reason, "gateway") != 0 &&
            strcmp(self->items[i].reason, "resolver") != 0 &&
            special_name(&self->items[i].network) == NULL)
            return true;
    return own->endpoint[0] != '\0';
}

void protect_advise(const cert_t *own, const settings_t *settings)
{
    protect_t *self = xcalloc(1, sizeof *self);
    read_host(self, settings);
    if (!knows_public_address(self, own))
        log_warnx("this host has no public address on an interface, nor an endpoint in its "
                  "certificate: if others reach it by one, put that into guard / protect");
    if (!self->knows_resolvers)
        log_warnx("resolvers: only one on loopback is named; if it asks others, put them into "
                  "guard / protect");
    free(self->items);
    free(self);
}
