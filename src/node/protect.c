#include "protect.h"

#include "names.h"
#include "places.h"
#include "resolvers.h"
#include "routes.h"
#include "special.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MAX     8
#define NAMES_AGAIN_MS (5 * 60 * MS_PER_S)

typedef struct {
    addr_t network;
    const char *reason;
} guarded_t;

typedef struct {
    guarded_t *items;
    size_t size;
} list_t;

/* Each is kept as it was while it cannot be read. */
typedef enum { GIVEN, INTERFACES, ROUTES, RESOLVERS, SOURCE_COUNT } source_t;

struct protect {
    places_t *places;
    names_t *names; /* of the operator's list */
    char given[64]; /* where that stands */
    bool has_news;
    list_t lists[SOURCE_COUNT];
    list_t fresh;               /* being read */
    fault_t faults[FAULTS_MAX]; /* of the last refresh */
    size_t fault_count;
    bool knows_resolvers;
};

static void note_news(void *arg)
{
    ((protect_t *)arg)->has_news = true;
}

protect_t *protect_new(zloop_t *loop)
{
    protect_t *self = xcalloc(1, sizeof *self);
    const names_rules_t rules = {
        .again_ms = NAMES_AGAIN_MS,
        .strict = true,
        .consequence = "guard / protect: a ban of it could not be kept away from here",
        .answered = note_news,
        .arg = self,
    };
    self->names = names_new(loop, &rules);
    self->places = places_new(loop);
    return self;
}

static void free_lists(protect_t *self)
{
    for (int i = 0; i < SOURCE_COUNT; i++)
        free(self->lists[i].items);
    free(self->fresh.items);
}

void protect_destroy(protect_t **self_p)
{
    if (*self_p == NULL)
        return;
    places_destroy(&(*self_p)->places);
    names_destroy(&(*self_p)->names);
    free_lists(*self_p);
    free(*self_p);
    *self_p = NULL;
}

/* ---- what this host has ---- */

/* Once each: a router has thousands of routes through a few gateways. */
static void add_to(list_t *list, const addr_t *network, const char *reason)
{
    for (size_t i = 0; i < list->size; i++)
        if (addr_equal(&list->items[i].network, network))
            return;
    list->items = xrealloc(list->items, (list->size + 1) * sizeof *list->items);
    list->items[list->size++] = (guarded_t){*network, reason};
}

static void add(protect_t *self, const addr_t *network, const char *reason)
{
    add_to(&self->fresh, network, reason);
}

/* What was read takes the place of what was there before; of what could not be read, what there is
 * of it is added. */
static void take(protect_t *self, source_t source, bool whole)
{
    list_t *list = &self->lists[source];
    list_t before = *list;
    if (whole) {
        *list = self->fresh;
        self->fresh = before;
    } else
        for (size_t i = 0; i < self->fresh.size; i++)
            add_to(list, &self->fresh.items[i].network, self->fresh.items[i].reason);
    self->fresh.size = 0;
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

static int add_interfaces(protect_t *self, fault_t *fault)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) == -1)
        return fault_set(fault, "addresses of interfaces cannot be read: %s", strerror(errno));
    for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        if (one->ifa_addr == NULL)
            continue;
        if (one->ifa_addr->sa_family == AF_INET)
            add_own(self, &((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr, 4);
        else if (one->ifa_addr->sa_family == AF_INET6)
            add_own(self, &((struct sockaddr_in6 *)(void *)one->ifa_addr)->sin6_addr, 16);
    }
    freeifaddrs(all);
    return 0;
}

static void read_host(protect_t *self, const settings_t *settings)
{
    fault_t fault;
    self->fault_count = 0;
    snprintf(self->given, sizeof self->given, "guard / protect in line %d of the settings",
             settings->guard.protect.line);
    for (size_t i = 0; i < settings->guard.protect.size; i++)
        add(self, &settings->guard.protect.items[i], self->given);
    take(self, GIVEN, true);
    int rc = add_interfaces(self, &fault);
    if (rc == -1)
        note_fault(self, &fault);
    take(self, INTERFACES, rc == 0);
    rc = routes_each(add_gateway, self, &fault);
    if (rc == -1)
        note_fault(self, &fault);
    take(self, ROUTES, rc == 0);
    size_t faults = self->fault_count;
    self->knows_resolvers = resolvers_each(add_resolver, note_fault, self);
    take(self, RESOLVERS, self->fault_count == faults);
}

static bool has_fault(const fault_t *faults, size_t count, const fault_t *fault)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(faults[i].text, fault->text) == 0)
            return true;
    return false;
}

static void take_names(protect_t *self, const text_list_t *names)
{
    char reason[HOSTNAME_MAX + sizeof self->given + sizeof " ()"];
    names_begin(self->names);
    for (size_t i = 0; i < names->size; i++) {
        snprintf(reason, sizeof reason, "%s (%s)", self->given, names->items[i]);
        names_want(self->names, names->items[i], reason);
    }
    names_end(self->names);
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
    take_names(self, &settings->guard.protect.names);
    places_set(self->places, own, trust, settings);
}

bool protect_take_news(protect_t *self)
{
    bool had_news = self->has_news;
    self->has_news = false;
    return had_news;
}

const char *protect_reason(const protect_t *self, const addr_t *address)
{
    for (int source = 0; source < SOURCE_COUNT; source++) {
        const list_t *list = &self->lists[source];
        for (size_t i = 0; i < list->size; i++)
            if (addr_overlaps(&list->items[i].network, address))
                return list->items[i].reason;
    }
    const char *reason = names_reason(self->names, address);
    return reason != NULL ? reason : places_reason(self->places, address);
}

void protect_complain(const protect_t *self, void (*complain)(void *arg, const fault_t *fault),
                      void *arg)
{
    for (size_t i = 0; i < self->fault_count; i++)
        complain(arg, &self->faults[i]);
    names_complain(self->names, complain, arg);
    places_complain(self->places, complain, arg);
}

/* ---- what only the operator can know ---- */

static bool has_public(const list_t *list)
{
    for (size_t i = 0; i < list->size; i++)
        if (special_name(&list->items[i].network) == NULL)
            return true;
    return false;
}

void protect_advise(const cert_t *own, const settings_t *settings)
{
    protect_t *self = xcalloc(1, sizeof *self);
    read_host(self, settings);
    if (own->endpoint[0] == '\0' && !has_public(&self->lists[GIVEN]) &&
        settings->guard.protect.names.size == 0 && !has_public(&self->lists[INTERFACES]))
        log_warnx("this host has no public address on an interface, nor an endpoint in its "
                  "certificate: if others reach it by one, put that into guard / protect");
    if (!self->knows_resolvers)
        log_warnx("resolvers: only one on loopback is named; if it asks others, put them into "
                  "guard / protect");
    free_lists(self);
    free(self);
}
