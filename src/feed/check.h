/* check - look at the whole of a state database: every page, every sum, every number. Costs about
 * 2 s for 1 GB that is in memory, else the time to read it, so it is done where there is a reason:
 * SQLite or a sum saw damage, or a small own.db was not closed. */
#ifndef BANMESH_FEED_CHECK_H
#define BANMESH_FEED_CHECK_H

#include "db.h"

/* Look, and if `mend`, drop the batches of each feed from the first damaged one on, and a cursor
 * that is beyond it: they are fetched again, and all of that feed is decided anew. For copies of
 * others' feeds only. what  what was found, in words Returns 0: in order. 1: mended. -1 and errno:
 * EBADMSG damaged beyond that; others of db_step. */
int check_whole(db_t *db, bool mend, fault_t *what);

#endif
