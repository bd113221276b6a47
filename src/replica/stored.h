/* stored - the batches of a feed, read back from the replica and decoded. Every room that looks at
 * events again reads them here. */
#ifndef BANMESH_REPLICA_STORED_H
#define BANMESH_REPLICA_STORED_H

#include "feed.h"
#include "wire.h"

typedef enum {
    STORED_BATCH,
    STORED_NOTHING,    /* it is not there */
    STORED_UNREADABLE, /* of a shape that this version refuses and another one did not: pass over */
} stored_t;

/* Read one batch as it is. Borrows what feed_read does. False: it is not there, or it is of a
 * version that this one cannot open. */
bool stored_open(feed_t *feed, const feed_ref_t *ref, uint64_t seq, envelope_t *out);

/* Read one batch and decode it. Its events are those of wire_event until wire decodes something
 * else. What is damaged is fatal: see feed_read. */
stored_t stored_batch(feed_t *feed, wire_t *wire, const feed_ref_t *ref, uint64_t seq,
                      wire_batch_t *out);

#endif
