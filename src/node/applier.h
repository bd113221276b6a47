/* applier - the consumer of this host: follows the replica with a cursor, asks the guard, and gives
 * what it lets through to the sink. A batch that is its feed's next is decided as it comes in, and
 * becomes true behind the replica's commit; all others are read back, in slices, others on the loop
 * in between. At least once; the sink sees to it that no line stands twice. Never touches the
 * network. */
#ifndef BANMESH_NODE_APPLIER_H
#define BANMESH_NODE_APPLIER_H

#include "service.h"

typedef struct applier applier_t;

/* Read back what is held, from own feeds and from the rows of earlier runs. service is borrowed for
 * as long as the applier lives. NULL with the fault. */
applier_t *applier_new(service_t *service, fault_t *fault);
void applier_destroy(applier_t **self_p);

/* Settings or trust changed. */
void applier_reload(applier_t *self);

/* One of this host's own jails banned: it is on disk in our feed. */
void applier_note_local(applier_t *self, const ban_t *ban);

/* Add outcomes, held addresses and the state of the log to the status. */
/* Whether the socket of a fail2ban is there. */
bool applier_sees_fail2ban(const applier_t *self);

void applier_status(const applier_t *self, json_t *status);

#endif
