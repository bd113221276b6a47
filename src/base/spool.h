/* spool - bans on disk that the local node has not taken in yet. Both sides of it: the hook adds a
 * record when nobody answers, the node takes all of them. libc only.
 *
 * The file is DIR/spool, a line a record (request.h). Writers hold an exclusive flock while they
 * append and sync. The node renames the file under the same lock to DIR/spool.taking, so a writer
 * that got the lock afterwards finds another file behind the name and opens that. What cannot be
 * read goes to DIR/spool.rejected, which grows to 1 MiB; what stands in the place of one of these
 * and is no file with one name, to DIR/spool.strange-TIME. DIR is made by the package, never here.
 */
#ifndef BANMESH_BASE_SPOOL_H
#define BANMESH_BASE_SPOOL_H

#include "log.h"
#include "request.h"

#define SPOOL_GROUP_MAX 512 /* bans handed over at once */

/* Add the line of a request. 0 once it is on disk, -1 with the fault. Waits for the lock: others
 * hold it for one sync each. */
int spool_append(const char *directory, const char *line, fault_t *fault);

/* Store a group, durably. 0, or -1: not now, keep it. */
typedef int(spool_take_fn)(void *arg, const request_t *requests, size_t count);

typedef struct {
    uint64_t taken;
    uint64_t rejected;
    uint64_t moved; /* out of the way, to spool.strange-TIME */
} spool_result_t;

/* The node's side. It knows how far it is in the file at hand: a spool of a million records is
 * taken in steps, between which others get their turn. */
typedef struct spool_taker spool_taker_t;

/* directory is copied, take called with arg. */
spool_taker_t *spool_taker_new(const char *directory, spool_take_fn *take, void *arg);
void spool_taker_destroy(spool_taker_t **self_p);

/* Hand over the next group, oldest first; what was done is added to result. Each file is removed
 * only after all of it was stored; a crash before that, or a taker that was destroyed, hands all of
 * it over again. Returns 1: call again, there may be more; 0: nothing is left; -1 with the fault:
 * go on from there another time. */
int spool_take(spool_taker_t *self, spool_result_t *result, fault_t *fault);

#endif
