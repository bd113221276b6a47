/* status_detail - what `banmesh status --verbose` adds: feeds, and counters by outcome. */
#ifndef BANMESH_CLI_STATUS_DETAIL_H
#define BANMESH_CLI_STATUS_DETAIL_H

#include <jansson.h>

void status_detail_print(const json_t *status);

#endif
