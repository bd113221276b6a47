/* salvage - what a damaged own.db still holds, taken over into the new one. Our own bans are the
 * only ones that nobody else need have: each batch whose bytes are whole is found in the file,
 * proves itself by our signature, and says itself which number it has.
 *
 * The batches of an epoch up to the first that is lost keep their numbers. What stands behind it
 * cannot: it is announced again in a new epoch, as copies that carry the true identity of each ban.
 * Whoever has the lost ones passes them back (catchup.h), and a copy of what is known is harmless.
 */
#ifndef BANMESH_REPLICA_SALVAGE_H
#define BANMESH_REPLICA_SALVAGE_H

#include "feed.h"
#include "wire.h"

typedef struct {
    uint64_t kept;       /* batches under their own numbers */
    uint64_t copied;     /* events announced again */
    char name[PATH_MAX]; /* where the damaged file is now; "": there was none */
} salvage_result_t;

/* Take over what state_wreck names, if anything, and set it aside. May be called again after a
 * crash in the middle of it. Before anything is appended. wire has our key. 0, or -1 with the
 * fault: the wreck is left for the next start. */
int salvage_run(feed_t *feed, wire_t *wire, salvage_result_t *result, fault_t *fault);

#endif
