#include "sum.h"

#include "bytes.h"

#include <sodium.h>

int64_t sum_of(int64_t id, const uint8_t *bytes, size_t size)
{
    uint8_t key[crypto_shorthash_KEYBYTES] = {0};
    uint8_t hash[crypto_shorthash_BYTES];
    put_u64(key, (uint64_t)id);
    crypto_shorthash(hash, bytes, size, key);
    return (int64_t)(get_u64(hash) >> 32);
}
