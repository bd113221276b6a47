#include "seen.h"

#include "chance.h"
#include "log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_COUNT 4096 /* 32 KiB; each slot holds the last one that fell on it */
#define HASH_BYTES crypto_shorthash_siphashx24_BYTES

typedef struct {
    uint8_t bytes[HASH_BYTES];
} hash_t;

struct seen {
    /* Secret: nobody can make an envelope that is taken for another one. */
    uint8_t key[crypto_shorthash_siphashx24_KEYBYTES];
    hash_t slots[SLOT_COUNT];
};

seen_t *seen_new(void)
{
    seen_t *self = xcalloc(1, sizeof *self);
    chance_fill(self->key, sizeof self->key);
    return self;
}

void seen_destroy(seen_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static size_t find(const seen_t *self, const uint8_t *bytes, size_t size, hash_t *hash)
{
    uint16_t place;
    crypto_shorthash_siphashx24(hash->bytes, bytes, size, self->key);
    memcpy(&place, hash->bytes, sizeof place);
    return place % SLOT_COUNT;
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
    memset(self->slots, 0, sizeof self->slots);
}
