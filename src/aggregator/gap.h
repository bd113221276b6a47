/* gap - what the replica lacks of a feed: batches below its floor that came to nobody's hands in
 * time. Reads peers.db; its rows are described in docs/architecture.md. */
#ifndef BANMESH_AGGREGATOR_GAP_H
#define BANMESH_AGGREGATOR_GAP_H

#include "feed.h"

typedef struct gap gap_t;

/* feeds is borrowed, and closed after us. */
gap_t *gap_new(feed_t *feeds);
void gap_destroy(gap_t **self_p);

/* Find where a feed goes on: its first batch from seq on that the replica holds, or its floor if
 * there is none below that. seq is below the floor. One look into an index. Returns 0, or -1 and
 * errno of db_step. */
int gap_end(gap_t *self, const feed_ref_t *feed, uint64_t seq, uint64_t *end);

#endif
