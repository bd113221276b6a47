/* endpoint - one place where a store may be: "unix:PATH" or "HOST:PORT" ("[V6]:PORT"). Connects
 * without ever waiting: names are resolved by the C library's own thread. */
#ifndef BANMESH_AGGREGATOR_ENDPOINT_H
#define BANMESH_AGGREGATOR_ENDPOINT_H

#include "log.h"

#include <hiredis/hiredis.h>

typedef struct endpoint endpoint_t;

/* NULL with the fault if the text is malformed. */
endpoint_t *endpoint_new(const char *text, fault_t *fault);
void endpoint_destroy(endpoint_t **self_p);

/* As the operator wrote it; lives as long as the endpoint. */
const char *endpoint_text(const endpoint_t *self);

/* Find the address. Returns 1 once it is known, 0 while it is being looked for (call again), -1
 * with the fault. A later call after 1 or -1 looks anew. */
int endpoint_resolve(endpoint_t *self, fault_t *fault);

/* Connect to the address that endpoint_resolve found, non-blocking: it is up when the descriptor
 * becomes writable. The caller owns the result. NULL with the fault. */
redisContext *endpoint_connect(const endpoint_t *self, fault_t *fault);

#endif
