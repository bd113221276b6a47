#include "nid.h"

#include "bytes.h"

#include <sodium.h>
#include <string.h>

int64_t nid_of(const pubkey_t *origin, const event_position_t *position)
{
    uint8_t id[PUBKEY_BYTES + 8 + 4 + 8 + 4];
    uint8_t hash[crypto_generichash_BYTES_MIN];
    memcpy(id, origin->bytes, PUBKEY_BYTES);
    put_u64(id + 32, position->epoch);
    put_u32(id + 40, position->channel);
    put_u64(id + 44, position->seq);
    put_u32(id + 52, position->index);
    crypto_generichash(hash, sizeof hash, id, sizeof id, NULL, 0);
    return (int64_t)(get_u64(hash) >> 1);
}
