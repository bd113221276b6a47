/* aside - a damaged database out of the way: renamed with its write-ahead log, never deleted while
 * it is one of the newest of its kind. Knows file names only. */
#ifndef BANMESH_DISK_ASIDE_H
#define BANMESH_DISK_ASIDE_H

#include "log.h"

#include <limits.h>

#define ASIDE_KEPT 2 /* of each database */

/* Rename a database and its log; either may be missing, also because an earlier call was
 * interrupted. Nobody may have it open. Durable. 0, or -1 with the fault. */
int aside_move(const char *path, const char *to, fault_t *fault);

/* Rename what stands at `from` to "PATH.damaged-TIME" and remove all but the newest ASIDE_KEPT of
 * these. name takes the new path. 0, or -1 with the fault. */
int aside_keep(const char *from, const char *path, char name[static PATH_MAX], fault_t *fault);

#endif
