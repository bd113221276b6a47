#include "nets.h"

#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define NET_BITS  64
#define NET_BYTES 8
#define CHAINS    65536

typedef struct {
    uint32_t before;
    uint32_t after;
} link_t;

struct nets {
    uint8_t
        key[crypto_shorthash_KEYBYTES]; /* attackers choose their networks, not the place here */
    uint32_t first[CHAINS];
    link_t *links; /* of each slot */
    size_t size;
};

nets_t *nets_new(void)
{
    nets_t *self = xcalloc(1, sizeof *self);
    randombytes_buf(self->key, sizeof self->key);
    memset(self->first, 0xff, sizeof self->first);
    return self;
}

void nets_destroy(nets_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->links);
    free(*self_p);
    *self_p = NULL;
}

bool nets_takes(const addr_t *address)
{
    return address->family == 6 && address->prefix >= NET_BITS;
}

static size_t chain_of(const nets_t *self, const addr_t *address)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint16_t number;
    crypto_shorthash(hash, address->bytes, NET_BYTES, self->key);
    memcpy(&number, hash, sizeof number);
    return number;
}

static void make_room(nets_t *self, uint32_t slot)
{
    if (slot < self->size)
        return;
    self->size = (size_t)slot * 2 + 1;
    self->links = xrealloc(self->links, self->size * sizeof *self->links);
}

void nets_add(nets_t *self, uint32_t slot, const addr_t *address)
{
    uint32_t *first = &self->first[chain_of(self, address)];
    make_room(self, slot);
    self->links[slot] = (link_t){NETS_NONE, *first};
    if (*first != NETS_NONE)
        self->links[*first].before = slot;
    *first = slot;
}

void nets_remove(nets_t *self, uint32_t slot, const addr_t *address)
{
    link_t link = self->links[slot];
    if (link.before != NETS_NONE)
        self->links[link.before].after = link.after;
    else
        self->first[chain_of(self, address)] = link.after;
    if (link.after != NETS_NONE)
        self->links[link.after].before = link.before;
}

uint32_t nets_first(const nets_t *self, const addr_t *address)
{
    return self->first[chain_of(self, address)];
}

uint32_t nets_next(const nets_t *self, uint32_t slot)
{
    return self->links[slot].after;
}

bool nets_are_near(const addr_t *one, const addr_t *other)
{
    return nets_takes(one) && nets_takes(other) && memcmp(one->bytes, other->bytes, NET_BYTES) == 0;
}
