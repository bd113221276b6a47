/* judge - decides events: knows what the guard must be told of an origin and an address, and gives
 * the sink what it lets through. Knows neither where events come from nor when they become true. */
#ifndef BANMESH_NODE_JUDGE_H
#define BANMESH_NODE_JUDGE_H

#include "service.h"
#include "sink.h"

typedef struct judge judge_t;

/* Both borrowed for as long as the judge lives. */
judge_t *judge_new(service_t *service, sink_t *sink);
void judge_destroy(judge_t **self_p);

/* Read again what is protected here: on reload and each minute. */
void judge_refresh(judge_t *self);

/* Whose key it is, as the trust set has it. NULL: nobody whom we trust, or this node. */
const trusted_t *judge_node(const judge_t *self, const pubkey_t *origin);

/* Decide all events of the batch that was decoded last.
 *   node  judge_node of its origin */
void judge_batch(judge_t *self, const trusted_t *node, const wire_batch_t *batch);

/* Decide a ban that waited. */
void judge_row(judge_t *self, const pending_row_t *row, guard_pace_t pace);

/* Add to a status what cannot be protected. */
void judge_attention(const judge_t *self, json_t *status);

/* Whose clocks are ahead, by name, in seconds. */
json_t *judge_clocks(const judge_t *self);

#endif
