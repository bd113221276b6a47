/* recall - epochs of this host's own that come back from peers, after its state directory was lost
 * or restored from a backup. Says so, and makes their bans what they were: this host's own, held by
 * its jails, and known to the intake if they are handed in once more, or lifted. */
#ifndef BANMESH_NODE_RECALL_H
#define BANMESH_NODE_RECALL_H

#include "applier.h"

typedef struct recall recall_t;

/* Begin behind what is on disk now: the applier has read that. All borrowed for as long as the
 * recall lives. */
recall_t *recall_new(service_t *service, applier_t *applier);
void recall_destroy(recall_t **self_p);

#endif
