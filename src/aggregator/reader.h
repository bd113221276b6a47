/* reader - from the replica into blocks: takes batches as they come in, or reads them back; decides
 * what is history, and looks up countries. All well-formed bans are, those that ended long ago,
 * too; bans of special addresses only with guard/allow-special; pardons, allowances and unknown
 * kinds are counted. */
#ifndef BANMESH_AGGREGATOR_READER_H
#define BANMESH_AGGREGATOR_READER_H

#include "block.h"
#include "service.h"

typedef struct reader reader_t;

/* All borrowed for as long as the reader lives. */
reader_t *reader_new(service_t *service, enrich_t *enrich, cursors_t *cursors);
void reader_destroy(reader_t **self_p);

/* Add a batch to a block as it comes in, while it is decoded, if it is the next behind its feed's
 * cursor and the block has room; move `taken` on. Otherwise it is read back when its turn comes.
 *   node  its origin, as the trust set has it; NULL if it has not */
void reader_take(reader_t *self, block_t *block, const trusted_t *node, const feed_ref_t *feed,
                 const wire_batch_t *batch);

/* Add to a block what the feeds have behind their cursors, as far as it has room, and move `taken`
 * on. Each time another feed is the first. */
void reader_fill(reader_t *self, block_t *block);

#endif
