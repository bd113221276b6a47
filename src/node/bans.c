#include "bans.h"

#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 64

/* Open addressing with linear probing; free: until_ms is 0. 32 bytes, kept at most 3/4 full. */
typedef struct {
    uint8_t bytes[16];
    uint8_t family;
    uint8_t prefix;
    int64_t until_ms;
} slot_t;

struct bans {
    uint8_t
        key[crypto_shorthash_KEYBYTES]; /* attackers choose addresses: they must not choose slots */
    slot_t *slots;
    size_t size;
    size_t used;
};

bans_t *bans_new(void)
{
    bans_t *self = xcalloc(1, sizeof *self);
    randombytes_buf(self->key, sizeof self->key);
    self->size = SIZE_MIN;
    self->slots = xcalloc(self->size, sizeof *self->slots);
    return self;
}

void bans_destroy(bans_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->slots);
    free(*self_p);
    *self_p = NULL;
}

static bool is_slot_of(const slot_t *slot, const addr_t *address)
{
    return slot->family == address->family && slot->prefix == address->prefix &&
           memcmp(slot->bytes, address->bytes, sizeof slot->bytes) == 0;
}

/* The slot of an address, or the free one where it would go. */
static size_t find(const bans_t *self, const addr_t *address)
{
    uint8_t id[18];
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;
    memcpy(id, address->bytes, 16);
    id[16] = address->family;
    id[17] = address->prefix;
    crypto_shorthash(hash, id, sizeof id, self->key);
    memcpy(&number, hash, sizeof number);
    size_t at = number % self->size;
    while (self->slots[at].until_ms != 0 && !is_slot_of(&self->slots[at], address))
        at = at + 1 == self->size ? 0 : at + 1;
    return at;
}

static addr_t address_of(const slot_t *slot)
{
    addr_t address = {.family = slot->family, .prefix = slot->prefix};
    memcpy(address.bytes, slot->bytes, sizeof address.bytes);
    return address;
}

static void fill(slot_t *slot, const addr_t *address, int64_t until_ms)
{
    memcpy(slot->bytes, address->bytes, sizeof slot->bytes);
    slot->family = address->family;
    slot->prefix = address->prefix;
    slot->until_ms = until_ms;
}

/* Move what ends after a time into a table of another size. */
static void rebuild(bans_t *self, size_t size, int64_t after_ms)
{
    slot_t *old = self->slots;
    size_t old_size = self->size;
    self->slots = xcalloc(size, sizeof *self->slots);
    self->size = size;
    self->used = 0;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].until_ms <= after_ms)
            continue;
        addr_t address = address_of(&old[i]);
        self->slots[find(self, &address)] = old[i];
        self->used++;
    }
    free(old);
}

int64_t bans_until(const bans_t *self, const addr_t *address)
{
    return self->slots[find(self, address)].until_ms;
}

/* Take a slot out and close the chain behind it. */
static void cut(bans_t *self, size_t at)
{
    self->slots[at].until_ms = 0;
    self->used--;
    for (size_t i = at + 1 == self->size ? 0 : at + 1; self->slots[i].until_ms != 0;
         i = i + 1 == self->size ? 0 : i + 1) {
        slot_t moved = self->slots[i];
        addr_t address = address_of(&moved);
        self->slots[i].until_ms = 0;
        self->slots[find(self, &address)] = moved;
    }
}

int64_t bans_set(bans_t *self, const addr_t *address, int64_t until_ms)
{
    if ((self->used + 1) * 4 > self->size * 3)
        rebuild(self, self->size + self->size / 2, 0);
    size_t at = find(self, address);
    int64_t before = self->slots[at].until_ms;
    if (until_ms > 0) {
        self->used += before == 0;
        fill(&self->slots[at], address, until_ms);
    } else if (before != 0)
        cut(self, at);
    return before;
}

size_t bans_active(const bans_t *self, wall_t now)
{
    size_t active = 0;
    for (size_t i = 0; i < self->size; i++)
        active += self->slots[i].until_ms > now.ms;
    return active;
}

void bans_sweep(bans_t *self, wall_t now)
{
    size_t size = (bans_active(self, now) + 1) * 3 / 2;
    rebuild(self, size > SIZE_MIN ? size : SIZE_MIN, now.ms);
}
