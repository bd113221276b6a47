#include "bans.h"

#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 64

/* Open addressing with linear probing, kept at most 3/4 full. */
typedef struct {
    uint8_t bytes[16];
    uint8_t family;
    uint8_t prefix;
    int64_t until_ms;
} slot_t;

#define TAG_FREE 0

struct bans {
    uint8_t
        key[crypto_shorthash_KEYBYTES]; /* attackers choose addresses: they must not choose slots */
    slot_t *slots;
    /* A byte of each slot's hash, never TAG_FREE if it is taken: most of a search looks at no slot,
     * each of which is a cache line to be fetched. */
    uint8_t *tags;
    size_t size;
    size_t used;
};

static void allocate(bans_t *self, size_t size)
{
    self->size = size;
    self->used = 0;
    self->slots = xmalloc(size * sizeof *self->slots);
    self->tags = xcalloc(size, 1);
}

bans_t *bans_new(void)
{
    bans_t *self = xcalloc(1, sizeof *self);
    randombytes_buf(self->key, sizeof self->key);
    allocate(self, SIZE_MIN);
    return self;
}

void bans_destroy(bans_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->slots);
    free((*self_p)->tags);
    free(*self_p);
    *self_p = NULL;
}

static bool is_slot_of(const slot_t *slot, const addr_t *address)
{
    return slot->family == address->family && slot->prefix == address->prefix &&
           memcmp(slot->bytes, address->bytes, sizeof slot->bytes) == 0;
}

/* The slot of an address, or the free one where it would go, and its tag. */
static size_t find(const bans_t *self, const addr_t *address, uint8_t *tag)
{
    uint8_t id[18];
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;
    memcpy(id, address->bytes, 16);
    id[16] = address->family;
    id[17] = address->prefix;
    crypto_shorthash(hash, id, sizeof id, self->key);
    memcpy(&number, hash, sizeof number);
    *tag = (uint8_t)(number >> 56 | 1);
    size_t at = number % self->size;
    while (self->tags[at] != TAG_FREE &&
           (self->tags[at] != *tag || !is_slot_of(&self->slots[at], address)))
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

/* Put a slot of another place or table where it belongs. */
static void place(bans_t *self, const slot_t *slot)
{
    uint8_t tag;
    addr_t address = address_of(slot);
    size_t at = find(self, &address, &tag);
    self->slots[at] = *slot;
    self->tags[at] = tag;
}

/* Move what ends after a time into a table of another size. */
static void rebuild(bans_t *self, size_t size, int64_t after_ms)
{
    slot_t *slots = self->slots;
    uint8_t *tags = self->tags;
    size_t old_size = self->size;
    allocate(self, size);
    for (size_t i = 0; i < old_size; i++) {
        if (tags[i] == TAG_FREE || slots[i].until_ms <= after_ms)
            continue;
        place(self, &slots[i]);
        self->used++;
    }
    free(slots);
    free(tags);
}

int64_t bans_until(const bans_t *self, const addr_t *address)
{
    uint8_t tag;
    size_t at = find(self, address, &tag);
    return self->tags[at] != TAG_FREE ? self->slots[at].until_ms : 0;
}

/* Take a slot out and close the chain behind it. */
static void cut(bans_t *self, size_t at)
{
    self->tags[at] = TAG_FREE;
    self->used--;
    for (size_t i = at + 1 == self->size ? 0 : at + 1; self->tags[i] != TAG_FREE;
         i = i + 1 == self->size ? 0 : i + 1) {
        slot_t moved = self->slots[i];
        self->tags[i] = TAG_FREE;
        place(self, &moved);
    }
}

void bans_raise(bans_t *self, const addr_t *address, int64_t until_ms)
{
    if (until_ms > wall_now().ms && until_ms > bans_until(self, address))
        bans_set(self, address, until_ms);
}

int64_t bans_set(bans_t *self, const addr_t *address, int64_t until_ms)
{
    uint8_t tag;
    if ((self->used + 1) * 4 > self->size * 3)
        rebuild(self, self->size + self->size / 2, 0);
    size_t at = find(self, address, &tag);
    int64_t before = self->tags[at] != TAG_FREE ? self->slots[at].until_ms : 0;
    if (until_ms > 0) {
        self->used += self->tags[at] == TAG_FREE;
        self->tags[at] = tag;
        fill(&self->slots[at], address, until_ms);
    } else if (before != 0)
        cut(self, at);
    return before;
}

size_t bans_active(const bans_t *self, wall_t now)
{
    size_t active = 0;
    for (size_t i = 0; i < self->size; i++)
        active += self->tags[i] != TAG_FREE && self->slots[i].until_ms > now.ms;
    return active;
}

void bans_sweep(bans_t *self, wall_t now)
{
    size_t size = (bans_active(self, now) + 1) * 3 / 2;
    rebuild(self, size > SIZE_MIN ? size : SIZE_MIN, now.ms);
}
