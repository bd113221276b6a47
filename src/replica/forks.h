/* forks - origins that signed two bodies under one number. Nobody who follows the rules does that:
 * the key is in two places. Such an origin is quarantined, nothing more is taken in from it, until
 * the operator resets it. Rows of peers.db and a list in memory. Knows neither sockets nor feeds.
 */
#ifndef BANMESH_REPLICA_FORKS_H
#define BANMESH_REPLICA_FORKS_H

#include "clock.h"
#include "db.h"
#include "event.h"
#include "wire.h"

typedef struct {
    feed_id_t feed;
    uint64_t seq;
    uint8_t hash_here[WIRE_HASH_BYTES]; /* of the body that this host holds */
    uint8_t hash_there[WIRE_HASH_BYTES];
    int64_t found_ms; /* since 1970 */
    bool reset;       /* by the operator: what this host holds stands */
} fork_t;

extern const char forks_table[]; /* of peers.db */

typedef struct forks forks_t;

/* Read what was found before. db is peers.db, borrowed. NULL with the fault. */
forks_t *forks_new(db_t *db, fault_t *fault);
void forks_destroy(forks_t **self_p);

/* True if the origin is in quarantine. */
bool forks_holds(const forks_t *self, const pubkey_t *origin);

/* True if bodies of this feed are still compared: after a reset what is held stands. */
bool forks_compares(const forks_t *self, const feed_id_t *feed);

/* Remember a fork; the first of a feed counts. Returns true if it is new. It counts from now on
 * even if the disk says no. */
bool forks_add(forks_t *self, const fork_t *fork);

/* The operator's word: the origin counts again. Returns how many of its forks that was about; -1
 * and errno of db_step: nothing changed. */
int forks_reset(forks_t *self, const pubkey_t *origin);

/* All of them, oldest first; NULL behind the last. */
const fork_t *forks_at(const forks_t *self, size_t index);

#endif
