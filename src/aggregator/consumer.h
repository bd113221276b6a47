/* consumer - the history: follows the replica and puts every ban into the store, once.
 *
 *   replica ─► block ─► 1 WATCH dataset, writer; MSET cursors of blocks before; GET dataset;
 *                         EXISTS, HMGET: what is there already?
 *                       2 MULTI; SET writer; HSET, SADD...; EXEC, and behind it 1 of the next block
 *
 * One block is being written while the next one is collected and looked up, so the store is never
 * idle for longer than a round trip. Two promises rest on this order:
 *
 * Nothing is lost. A cursor is written after every command of its blocks was answered without an
 * error, never with them: a command that fails inside EXEC does not undo the others, and a cursor
 * among them would say that all went well. The dataset's id is watched, so a block goes into the
 * store that its cursor will speak of, or nowhere; after a flush all is written again.
 *
 * Nothing is there twice. What a block would write is looked up first, and banmesh:writer, which
 * every block sets, is watched: nobody else has written in between. See block.h. */
#ifndef BANMESH_AGGREGATOR_CONSUMER_H
#define BANMESH_AGGREGATOR_CONSUMER_H

#include "enrich.h"
#include "service.h"

typedef struct consumer consumer_t;

/* service and enrich are borrowed for as long as the consumer lives. NULL with the fault. */
consumer_t *consumer_new(service_t *service, enrich_t *enrich, fault_t *fault);
void consumer_destroy(consumer_t **self_p);

/* The replica moved. */
void consumer_run(consumer_t *self);

/* Settings or trust changed. */
void consumer_reload(consumer_t *self);

/* Add store, events and what is behind to the status. */
void consumer_status(consumer_t *self, json_t *status);

#endif
