/* trimmer - removes stored batches that lie under their feed's floor, and feeds whose epoch has
 * ended, in small steps, once all is here that their origin signed for with that floor: the copies
 * of what still counts. Some are kept for a time, for aggregators that were away. */
#ifndef BANMESH_REPLICA_TRIMMER_H
#define BANMESH_REPLICA_TRIMMER_H

#include "feed.h"
#include "wire.h"

#define TRIMMER_ENDED_KEPT 7 /* of our own epochs */

typedef struct trimmer trimmer_t;

/* All borrowed for as long as the trimmer lives. Batches of our own feeds, and where the history is
 * kept those of all, stay until their newest event is kept_ms old. */
trimmer_t *trimmer_new(feed_t *feed, wire_t *wire);
void trimmer_destroy(trimmer_t **self_p);

void trimmer_set_kept(trimmer_t *self, int64_t kept_ms);

/* One step, at most some dozen batches of one feed; call outside a transaction. Returns 1 if there
 * is more, 0 if there is nothing to do for now; -1 and errno of db_step. */
int trimmer_step(trimmer_t *self, wall_t now);

#endif
