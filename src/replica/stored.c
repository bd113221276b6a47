#include "stored.h"

bool stored_open(feed_t *feed, const feed_ref_t *ref, uint64_t seq, envelope_t *out)
{
    const uint8_t *bytes;
    size_t size = feed_read(feed, ref, seq, &bytes);
    return size > 0 && wire_open(bytes, size, out) == WIRE_OK;
}

stored_t stored_batch(feed_t *feed, wire_t *wire, const feed_ref_t *ref, uint64_t seq,
                      wire_batch_t *out)
{
    const uint8_t *bytes;
    envelope_t envelope;
    size_t size = feed_read(feed, ref, seq, &bytes);
    if (size == 0)
        return STORED_NOTHING;
    if (wire_open(bytes, size, &envelope) != WIRE_OK ||
        wire_read_batch(wire, &envelope, out) != WIRE_OK)
        return STORED_UNREADABLE;
    return STORED_BATCH;
}
