#include "heads.h"

#include <string.h>

size_t heads_sign(feed_t *feed, wire_t *wire, const feed_ref_t *ref, wall_t now, uint8_t *out)
{
    wire_head_t head = {.floor = 1, .time_ms = now.ms};
    if (ref != NULL) {
        const uint8_t *batch;
        head.feed = ref->id;
        head.floor = ref->floor;
        size_t size = feed_read(feed, ref, ref->have, &batch);
        if (size > 0) {
            head.seq = ref->have;
            wire_hash(batch, size, head.hash);
        }
    }
    return wire_write_head(wire, &head, out);
}

size_t heads_read(feed_t *feed, wire_t *wire, const uint8_t own[static WIRE_KEY_BYTES],
                  const feed_ref_t *ref, wall_t now, uint8_t *out)
{
    if (memcmp(ref->id.origin, own, WIRE_KEY_BYTES) == 0)
        return heads_sign(feed, wire, ref, now, out);
    return feed_read_head(feed, ref, out, HEADS_ENVELOPE_MAX);
}
