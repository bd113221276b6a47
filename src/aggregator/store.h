/* store - the connection to KeyDB, Valkey or Redis: finds the first endpoint that is a writable
 * master, logs in, sends requests and hands out the answers. Never waits: a store that hangs costs
 * nothing but its own connection.
 *
 * An error answer, of whatever kind (LOADING, READONLY, OOM, MISCONF, one inside an EXEC), ends the
 * connection, as does silence: what was asked counts as not done, and is done again after a pause,
 * perhaps elsewhere. So callers see good answers only. Knows nothing of bans.
 *
 * Each store carries an id, the dataset, under banmesh:dataset: set once, kept by all aggregators.
 * Where it is missing or another one, the contents are not those that were written before.
 * Commands of Redis 6.2 only. The user needs @connection, @transaction, SELECT GET SET MGET MSET
 * DEL EXISTS HMGET HSET SADD ZADD ZSCORE ZMSCORE ZREMRANGEBYSCORE PUBLISH, and the keys f2b:* and
 * banmesh:*; INFO, to be warned of what a store
 * may lose. */
#ifndef BANMESH_AGGREGATOR_STORE_H
#define BANMESH_AGGREGATOR_STORE_H

#include "commands.h"
#include "settings.h"

#include <czmq.h>
#include <hiredis/hiredis.h>
#include <jansson.h>

#define STORE_DATASET_KEY   "banmesh:dataset"
#define STORE_DATASET_BYTES 33 /* 32 hex digits and a NUL */
#define STORE_REQUESTS_MAX  16

typedef struct store store_t;

typedef struct {
    /* Connected: now requests may be sent. */
    void (*ready)(void *arg);
    /* The answer to command `index` of a request, in order; borrowed. Never an error. */
    void (*answer)(void *arg, void *tag, size_t index, const redisReply *reply);
    /* That was the last one of it. */
    void (*answered)(void *arg, void *tag);
    /* Not connected any more: what has not been answered will not be. */
    void (*lost)(void *arg);
    void *arg;
} store_calls_t;

/* Begin to connect. settings are borrowed for the call. Calls come from the loop only, never out of
 * this function. NULL with the fault. */
store_t *store_new(zloop_t *loop, const settings_t *settings, const store_calls_t *calls,
                   fault_t *fault);
void store_destroy(store_t **self_p);

/* New settings: if they say another store or user, connect anew. -1 with the fault: the old ones
 * stay. */
int store_reload(store_t *self, const settings_t *settings, fault_t *fault);

/* The request being made; empty after ready and after store_send. */
commands_t *store_commands(store_t *self);

/* Send it. At most STORE_REQUESTS_MAX may be on their way; their answers come in the same order.
 *   tag  borrowed; handed back with the answers */
void store_send(store_t *self, void *tag);

/* Nothing is on its way. */
bool store_is_idle(const store_t *self);

/* The dataset's id, while connected. */
const char *store_dataset(const store_t *self);

/* Whether its user may SELECT a database. */
bool store_may_select(const store_t *self);

/* The caller found that the store is not as it should be: connect anew, after a pause. Calls
 * lost. */
void store_fail(store_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The caller got something done: the next pause is a short one again. */
void store_settled(store_t *self);

/* For the status; the caller owns it. */
json_t *store_status(const store_t *self);

#endif
