#include "seen.h"

#include "chance.h"
#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN    1024 /* 16 KiB; each slot holds the last one that fell on it */
#define SLOTS_A_FEED 4
#define HASH_BYTES   crypto_shorthash_siphashx24_BYTES

typedef struct {
    uint8_t bytes[HASH_BYTES];
} hash_t;

struct seen {
    /* Secret: nobody can make an envelope that is taken for another one. */
    uint8_t key[crypto_shorthash_siphashx24_KEYBYTES];
    hash_t *slots;
    size_t count; /* a power of two */
};

seen_t *seen_new(void)
{
    seen_t *self = xcalloc(1, sizeof *self);
    chance_fill(self->key, sizeof self->key);
    seen_fit(self, 0);
    return self;
}

void seen_destroy(seen_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->slots);
    free(*self_p);
    *self_p = NULL;
}

void seen_fit(seen_t *self, size_t feeds)
{
    size_t count = SLOTS_MIN;
    while (count < feeds * SLOTS_A_FEED)
        count *= 2;
    if (count <= self->count)
        return;
    free(self->slots);
    self->slots = xcalloc(count, sizeof *self->slots);
    self->count = count;
}

static size_t find(const seen_t *self, const uint8_t *bytes, size_t size, hash_t *hash)
{
    uint64_t place;
    crypto_shorthash_siphashx24(hash->bytes, bytes, size, self->key);
    memcpy(&place, hash->bytes, sizeof place);
    return place % self->count;
}

bool seen_has(const seen_t *self, const uint8_t *bytes, size_t size)
{
    hash_t hash;
    size_t at = find(self, bytes, size, &hash);
    return memcmp(&self->slots[at], &hash, sizeof hash) == 0;
}

void seen_add(seen_t *self, const uint8_t *bytes, size_t size)
{
    hash_t hash;
    size_t at = find(self, bytes, size, &hash);
    self->slots[at] = hash;
}

void seen_clear(seen_t *self)
{
    memset(self->slots, 0, self->count * sizeof *self->slots);
}
