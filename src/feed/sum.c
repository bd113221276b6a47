#include "sum.h"

#include "bytes.h"

#include <sodium.h>

/* What a sum is of: two rows with the same bytes have different sums. */
enum { OF_BATCH = 1, OF_FEED, OF_CURSOR };

static uint64_t sum(uint64_t one, uint64_t other, const uint8_t *bytes, size_t size)
{
    uint8_t key[crypto_shorthash_KEYBYTES];
    uint8_t hash[crypto_shorthash_BYTES];
    put_u64(key, one);
    put_u64(key + 8, other);
    crypto_shorthash(hash, bytes, size, key);
    return get_u64(hash);
}

static uint64_t sum_id(const feed_id_t *feed, int what)
{
    uint8_t id[FEED_ID_BYTES];
    feed_id_put(id, feed);
    return sum((uint64_t)what, 0, id, sizeof id);
}

static int64_t shorten(uint64_t whole)
{
    return (int64_t)(whole >> 32);
}

int64_t sum_batch(const feed_id_t *feed, int64_t key, const uint8_t *bytes, size_t size)
{
    return shorten(sum(sum_id(feed, OF_BATCH), (uint64_t)key, bytes, size));
}

int64_t sum_feed(const feed_id_t *feed, const feed_mark_t *mark, const uint8_t *head, size_t size)
{
    static const uint8_t none[1];
    uint64_t first = sum(sum_id(feed, OF_FEED), mark->floor, none, 0);
    uint64_t second = sum(first, mark->epoch_floor, none, 0);
    return shorten(sum(second, mark->seq, size > 0 ? head : none, size));
}

int64_t sum_cursor(const feed_id_t *feed, uint64_t seq)
{
    static const uint8_t none[1];
    return shorten(sum(sum_id(feed, OF_CURSOR), seq, none, 0));
}
