/* consumer - the history: follows the replica and puts every ban into the store, once.
 *
 *   replica ─► block ─► LOOK   MSET cursors of blocks before; EXISTS, HMGET: what is there already?
 *                       ─► WRITE  MULTI; DEL, SADD writer; HSET, SADD...; EXEC
 *
 * Some blocks are on their way at once, and the store has the next one when it is done with one.
 * Two promises rest on the order:
 *
 * Nothing is lost. A cursor is written after every command of its blocks was answered without an
 * error, never with them: a command that fails inside EXEC does not undo the others, and a cursor
 * among them would say that all went well. A cursor names its dataset, so one that comes after a
 * flush says nothing; whoever finds the dataset gone writes all of it again.
 *
 * Nothing is there twice. What a block would write is looked up first, and it is written only if
 * nobody else has written since: see chain.h and block.h. */
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
