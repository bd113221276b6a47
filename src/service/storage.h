/* storage - looks after the state directory while the service runs: says that it is full, and that
 * it has room again, once each; ends the process if the disk fails. */
#ifndef BANMESH_SERVICE_STORAGE_H
#define BANMESH_SERVICE_STORAGE_H

#include "feed.h"

#include <czmq.h>

typedef struct storage storage_t;

/* All borrowed for as long as the storage lives. */
storage_t *storage_new(zloop_t *loop, feed_t *feed, const char *directory);
void storage_destroy(storage_t **self_p);

#endif
