/* early - verified batches that came before their turn, in memory, until the gap before them is
 * closed. Bounded, in all and for each origin, so that one with many gaps takes no other's place:
 * what does not fit is dropped, and catch-up fetches it again. */
#ifndef BANMESH_REPLICA_EARLY_H
#define BANMESH_REPLICA_EARLY_H

#include "feed.h"
#include "wire.h"

#define EARLY_COUNT_MAX 1024
#define EARLY_BYTES_MAX (4 * 1024 * 1024)
#define EARLY_SHARES    4 /* one origin has at most one of these, of count and of bytes */

typedef struct early early_t;

early_t *early_new(void);
void early_destroy(early_t **self_p);

/* Keep a copy. Returns false if there is no room. */
bool early_put(early_t *self, const feed_ref_t *feed, uint64_t seq, const envelope_t *batch);

/* Take out one batch, for wire_free. False: it is not here. */
bool early_take(early_t *self, const feed_ref_t *feed, uint64_t seq, envelope_t *out);

/* The feed goes: so does what is here of it. */
void early_forget(early_t *self, const feed_ref_t *feed);

#endif
