#include "protect.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESOLV_CONF "/etc/resolv.conf"

typedef struct {
    addr_t network;
    const char *reason;
} guarded_t;

struct protect {
    guarded_t *items;
    size_t size;
};

protect_t *protect_new(void)
{
    return xcalloc(1, sizeof(protect_t));
}

void protect_destroy(protect_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->items);
    free(*self_p);
    *self_p = NULL;
}

/* Once each: a router has thousands of routes through a few gateways. */
static void add(protect_t *self, const addr_t *network, const char *reason)
{
    for (size_t i = 0; i < self->size; i++)
        if (addr_equal(&self->items[i].network, network))
            return;
    self->items = xrealloc(self->items, (self->size + 1) * sizeof *self->items);
    self->items[self->size++] = (guarded_t){*network, reason};
}

static void add_bytes(protect_t *self, const void *bytes, size_t size, const char *reason)
{
    addr_t address;
    if (addr_from_bytes(bytes, size, (uint32_t)size * 8, &address) == ADDR_OK)
        add(self, &address, reason);
}

static void add_interfaces(protect_t *self)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) == -1)
        return;
    for (struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        if (one->ifa_addr == NULL)
            continue;
        if (one->ifa_addr->sa_family == AF_INET)
            add_bytes(self, &((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr, 4,
                      "own address");
        else if (one->ifa_addr->sa_family == AF_INET6)
            add_bytes(self, &((struct sockaddr_in6 *)(void *)one->ifa_addr)->sin6_addr, 16,
                      "own address");
    }
    freeifaddrs(all);
}

/* /proc/net/route: interface, destination, gateway, flags; addresses in hexadecimal as they lie in
 * memory. */
static void add_v4_gateways(protect_t *self)
{
    char line[256];
    FILE *file = fopen("/proc/net/route", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned gateway;
        unsigned flags;
        if (sscanf(line, "%*31s %*8x %8x %4x", &gateway, &flags) == 2 && (flags & RTF_GATEWAY) != 0)
            add_bytes(self, &gateway, 4, "gateway");
    }
    fclose(file);
}

static bool parse_hex(const char *text, uint8_t bytes[static 16])
{
    for (int i = 0; i < 16; i++)
        if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
            return false;
    return true;
}

/* /proc/net/ipv6_route: destination, its length, source, its length, next hop, ... */
static void add_v6_gateways(protect_t *self)
{
    static const uint8_t none[16];
    char line[256];
    FILE *file = fopen("/proc/net/ipv6_route", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        char hop[33];
        uint8_t bytes[16];
        if (sscanf(line, "%*32s %*2s %*32s %*2s %32s", hop) == 1 && strlen(hop) == 32 &&
            parse_hex(hop, bytes) && memcmp(bytes, none, sizeof none) != 0)
            add_bytes(self, bytes, 16, "gateway");
    }
    fclose(file);
}

static void add_resolvers(protect_t *self)
{
    char line[256];
    FILE *file = fopen(RESOLV_CONF, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        char text[ADDR_TEXT_MAX];
        addr_t address;
        if (sscanf(line, "nameserver %47s", text) == 1 && addr_parse(text, &address) == ADDR_OK)
            add(self, &address, "resolver");
    }
    fclose(file);
}

void protect_refresh(protect_t *self, const settings_t *settings)
{
    self->size = 0;
    for (size_t i = 0; i < settings->guard.protect.size; i++)
        add(self, &settings->guard.protect.items[i], "protect list");
    add_interfaces(self);
    add_v4_gateways(self);
    add_v6_gateways(self);
    add_resolvers(self);
}

const char *protect_reason(const protect_t *self, const addr_t *address)
{
    for (size_t i = 0; i < self->size; i++)
        if (addr_overlaps(&self->items[i].network, address))
            return self->items[i].reason;
    return NULL;
}
