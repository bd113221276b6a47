/* consumer - the history: follows the replica and puts every ban into the store, once.
 *
 *   replica ─► block ─► LOOK   EXISTS, HMGET: what is there already?
 *                       ─► WRITE  MULTI; token, mark; HSET, SADD...; EXEC
 *                       ─► NOTE   MULTI; token, mark; MSET cursors of blocks before; EXEC
 *
 * Some blocks are on their way at once, and the store has the next one when it is done with one.
 * Two promises rest on the order:
 *
 * Nothing is lost. A cursor is written after every command of its blocks was answered without an
 * error, never with them: a command that fails inside EXEC does not undo the others, and a cursor
 * among them would say that all went well. It is written only where the blocks still are: in a link
 * of the same chain, which is refused once the store was flushed or an old copy was put in its
 * place. Who finds the dataset gone writes all of it again; who finds the store older than it was
 * reads the cursors that came with it.
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

/* Settings or trust changed. */
void consumer_reload(consumer_t *self);

/* Add store, events and what is behind to the status. */
void consumer_status(consumer_t *self, json_t *status);

#endif
