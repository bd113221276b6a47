/* store_endpoint - one place where a store may be: "unix:PATH" or "HOST:PORT" ("[V6]:PORT").
 * Connects without ever waiting: names are resolved by the C library's own thread. */
#ifndef BANMESH_AGGREGATOR_STORE_ENDPOINT_H
#define BANMESH_AGGREGATOR_STORE_ENDPOINT_H

#include "log.h"

#include <hiredis/hiredis.h>

typedef struct store_endpoint store_endpoint_t;

/* NULL with the fault if the text is malformed. */
store_endpoint_t *store_endpoint_new(const char *text, fault_t *fault);
void store_endpoint_destroy(store_endpoint_t **self_p);

/* As the operator wrote it; lives as long as the endpoint. */
const char *store_endpoint_text(const store_endpoint_t *self);

/* Find the address. Returns 1 once it is known, 0 while it is being looked for (call again), -1
 * with the fault. A later call after 1 or -1 looks anew. */
int store_endpoint_resolve(store_endpoint_t *self, fault_t *fault);

/* Connect to the address that store_endpoint_resolve found, non-blocking: it is up when the
 * descriptor becomes writable. The caller owns the result. NULL with the fault. */
redisContext *store_endpoint_connect(const store_endpoint_t *self, fault_t *fault);

#endif
