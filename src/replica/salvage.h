/* salvage - what a damaged own.db still holds, taken over into the new one. Our own bans are the
 * only ones that nobody else need have: each batch that SQLite can still read proves itself by our
 * signature, and all its events are announced again, in a new epoch, as copies that carry their
 * true identity. What peers hold of the old epochs comes back under its own numbers (catchup.h),
 * and a copy of what is known is harmless. */
#ifndef BANMESH_REPLICA_SALVAGE_H
#define BANMESH_REPLICA_SALVAGE_H

#include "feed.h"
#include "wire.h"

typedef struct {
    uint64_t batches;    /* of ours that were read */
    uint64_t copied;     /* events of theirs that were not known here, announced again */
    char name[PATH_MAX]; /* where the damaged file is now; "": there was none */
} salvage_result_t;

/* Take over what state_wreck names, if anything, and set it aside. May be called again after a
 * crash in the middle of it. Before anything is appended. wire has our key. 0, or -1 with the
 * fault: the wreck is left for the next start. */
int salvage_run(feed_t *feed, wire_t *wire, salvage_result_t *result, fault_t *fault);

/* The same from a database that "sqlite3 COPY .recover | sqlite3 PATH" made, which stays as it is.
 * 0, or -1 with the fault: it cannot be read, or not all of it was taken over. */
int salvage_file(feed_t *feed, wire_t *wire, const char *path, salvage_result_t *result,
                 fault_t *fault);

#endif
