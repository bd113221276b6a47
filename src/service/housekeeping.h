/* housekeeping - when the housekeeper works, and what the operator is told of it. Ends the process
 * if the disk fails. */
#ifndef BANMESH_SERVICE_HOUSEKEEPING_H
#define BANMESH_SERVICE_HOUSEKEEPING_H

#include "housekeeper.h"
#include "settings.h"

#include <czmq.h>

typedef struct housekeeping housekeeping_t;

/* All borrowed for as long as the housekeeping lives, settings until housekeeping_set. */
housekeeping_t *housekeeping_new(zloop_t *loop, const housekeeper_config_t *config,
                                 const settings_t *settings);
void housekeeping_destroy(housekeeping_t **self_p);

void housekeeping_set(housekeeping_t *self, const settings_t *settings);

#endif
