#include "nid.h"

#include "bytes.h"

#include <sodium.h>

int64_t nid_of(const pubkey_t *origin, const event_position_t *position)
{
    const feed_id_t feed = {*origin, position->epoch, position->channel};
    uint8_t id[FEED_ID_BYTES + 8 + 4];
    uint8_t hash[crypto_generichash_BYTES_MIN];
    feed_id_put(id, &feed);
    put_u64(id + FEED_ID_BYTES, position->seq);
    put_u32(id + FEED_ID_BYTES + 8, position->index);
    crypto_generichash(hash, sizeof hash, id, sizeof id, NULL, 0);
    return (int64_t)(get_u64(hash) >> 1);
}
