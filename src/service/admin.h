/* admin - the local socket on which the operator's command asks. One line in, one JSON text out,
 * then the connection ends. For root and the service's own user only. */
#ifndef BANMESH_SERVICE_ADMIN_H
#define BANMESH_SERVICE_ADMIN_H

#include "log.h"

#include <czmq.h>
#include <jansson.h>

typedef struct admin admin_t;

/* Answers a command line, e.g. "status". The result is taken over; NULL: no such command. */
typedef json_t *(admin_answer_fn)(void *arg, const char *command);

/* Listen at path. NULL with the fault. */
admin_t *admin_new(zloop_t *loop, const char *path, admin_answer_fn *answer, void *arg,
                   fault_t *fault);
void admin_destroy(admin_t **self_p);

/* The other side: send a command and wait for the answer. The caller owns it. NULL with the
 * fault. */
json_t *admin_ask(const char *path, const char *command, fault_t *fault);

#endif
