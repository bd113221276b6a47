/* watch - tells when something in a directory changed: inotify, or where the system has no instance
 * left for us, a look each second. */
#ifndef BANMESH_LOOP_WATCH_H
#define BANMESH_LOOP_WATCH_H

#include "log.h"

#include <czmq.h>

typedef struct watch watch_t;

/* Call back on the loop after files in a directory were written, renamed or removed; several
 * changes at once make one call. NULL with the fault. */
watch_t *watch_new(zloop_t *loop, const char *directory, void (*changed)(void *arg), void *arg,
                   fault_t *fault);
void watch_destroy(watch_t **self_p);

#endif
