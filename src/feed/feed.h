/* feed - events in order, per origin, durable: the replica on disk.
 * Owns the state directory: own.db (our own feeds; a commit is on disk) and peers.db (copies, which
 * can be fetched again, and what the consumer of this host keeps beside its cursor). Batches are
 * bytes as received; this room neither signs nor decodes. Knows nothing of sockets or policy.
 * Loop thread only. */
#ifndef BANMESH_FEED_FEED_H
#define BANMESH_FEED_FEED_H

#include "catalog.h"
#include "clock.h"
#include "db.h"
#include "state.h"

#define FEED_PER_ORIGIN_MAX       1024  /* epochs of one peer that count at a time */
#define FEED_EMPTY_PER_ORIGIN_MAX 256   /* of these, without a batch of what was promised */
#define FEED_ENDED_PER_ORIGIN_MAX 10000 /* that have ended, where the history is kept */
#define FEED_BUCKETS              256 /* feeds fall into these by the first byte of their origin */

typedef struct feed feed_t;

/* Open the state directory (it must exist) and read which feeds it holds. A damaged database is
 * mended or set aside: state_note says so, and state_wreck whether there is something to salvage.
 *   self_key  the public signing key of this node; borrowed for the call
 *   more      what rooms above keep there, too; as state_open
 * NULL with the fault; also if another process uses the directory. */
feed_t *feed_open(const char *directory, const pubkey_t *self_key, const state_tables_t *more,
                  fault_t *fault);
void feed_close(feed_t **self_p);

/* From now on batches under a floor are missed like any: this host keeps the history. Call before
 * anything comes in. */
void feed_keep_history(feed_t *self);
bool feed_keeps_history(const feed_t *self);

/* How many feeds of another key this start found in own.db: they are a peer's now. */
size_t feed_rekeyed(const feed_t *self);

state_t *feed_state(feed_t *self);

/* The databases, for rooms that keep rows in the same transaction. */
db_t *feed_own_db(feed_t *self);
db_t *feed_peers_db(feed_t *self);

/* All feeds, in no order of meaning; index from 0. NULL behind the last. */
const feed_ref_t *feed_at(feed_t *self, size_t index);
size_t feed_count(const feed_t *self);

/* The feeds of one origin, the oldest epoch first; NULL behind the last. */
const feed_ref_t *feed_of(feed_t *self, const pubkey_t *origin, size_t index);
/* How often something changed of the feeds of a bucket: one came, or have, floor or kept_seq of one
 * moved. */
size_t feed_bucket(const feed_ref_t *feed);
uint64_t feed_changes(const feed_t *self, size_t bucket);

/* How often more was promised of any feed than is here. */
uint64_t feed_promises(const feed_t *self);

/* The feed of an id; NULL if we do not hold it. */
const feed_ref_t *feed_find(feed_t *self, const feed_id_t *id);

/* The same, made if there is none; call outside a transaction, so that a rollback cannot undo it.
 * NULL: errno ESTALE if its epoch has ended, and this host does not keep the history; EDQUOT if its
 * origin has too many; or of db_step. */
const feed_ref_t *feed_add(feed_t *self, const feed_id_t *id);

/* True if that is the key of this node, the one given to feed_open. */
bool feed_is_ours(const feed_t *self, const pubkey_t *origin);

/* Our own feed to append to, next number have + 1. The first call after a start begins a new epoch,
 * the larger of now and one more than any that we know of ours: so neither a restored backup nor a
 * lost disk ever uses a number twice. So does the first call after a later epoch of ours, or an
 * epoch floor above the running one, came back from peers. Call outside a transaction. NULL as
 * feed_add. */
const feed_ref_t *feed_own(feed_t *self, wall_t now);

/* Our own feeds, those of ended epochs included, the oldest epoch first; NULL behind the last. */
const feed_ref_t *feed_own_at(feed_t *self, size_t index);

/* The newest of them, without beginning one; NULL if there never was any. */
const feed_ref_t *feed_own_newest(feed_t *self);

/* The one that this run appends to; NULL before the first append. */
const feed_ref_t *feed_own_current(feed_t *self);

/* ---- what rooms keep of each feed ---- */

/* As catalog_reserve. A room that remembers something of each feed lays it beside the feed, where
 * it begins as zero and ends with the feed; what else a room has of a feed it gives up in `leave`.
 */
size_t feed_reserve(feed_t *self, size_t size, feed_leave_fn *leave, void *arg);
void feed_release(feed_t *self, size_t note);

static inline void *feed_note(const feed_ref_t *feed, size_t note)
{
    return feed->notes[note];
}

/* ---- epochs that end ---- */

/* The oldest epoch of an origin that counts, by the highest that it ever signed; 0: all do. */
uint64_t feed_epoch_floor(const feed_t *self, const pubkey_t *origin);

/* An origin signed that epochs before this one have ended; lower than what is known changes
 * nothing. In memory: it is on disk once the head that said so is kept. Nothing in an ended feed
 * counts; what is stored of it stays until feed_trim, and ours until it is copied. */
void feed_raise_epoch_floor(feed_t *self, const pubkey_t *origin, uint64_t epoch);

/* The same of our own epochs, on disk: inside the caller's transaction of own.db, with the running
 * epoch open. 0, or -1 and errno. */
int feed_end_own_epochs(feed_t *self, uint64_t epoch);

/* Remove a feed that has ended and of which nothing is stored, its cursor included. Call outside a
 * transaction. Returns 1; 0: a room needs it yet, try again later; -1 and errno. */
int feed_remove(feed_t *self, const feed_ref_t *feed);

/* ---- batches and heads ---- */

/* Store the next batch, seq have + 1, inside the caller's transaction of its database. Returns 0,
 * or -1 and errno of db_step. `have` moves at once: after a failed commit call feed_forget. */
int feed_store(feed_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t *bytes,
               size_t size);

/* Its origin signed for seq: until that is here it is missed. Not on disk: a kept head is. */
void feed_promise(feed_t *self, const feed_ref_t *feed, uint64_t seq);

/* Nothing more of an origin is taken in, until the quarantine ends: what it signed for and is not
 * here is not missed, so nobody is to ask for it. Of any other origin all is missed that a kept
 * head tells of. Holds for the feeds that are here, also after feed_forget. */
void feed_quarantine(feed_t *self, const pubkey_t *origin, bool quarantined);

/* Commit a transaction of own.db, and note beside it how far our own feed is (witness.h). 0, or -1
 * and errno as db_commit. */
int feed_commit_own(feed_t *self);

/* After a rolled back transaction: read where all feeds stand from disk again. A failure here is
 * fatal: the databases cannot be trusted. */
void feed_forget(feed_t *self);

/* Keep a signed head, verbatim, if it is newer than the one held. A floor above have + 1 means that
 * what lies between no longer counts: have moves up to it, unless this host keeps the history. What
 * is stored under it stays until feed_trim. Returns 1 if kept, 0 if not newer, -1 and errno. */
int feed_keep_head(feed_t *self, const feed_ref_t *feed, const feed_mark_t *mark,
                   const uint8_t *bytes, size_t size);

/* Raise the floor of one of our own feeds, inside the caller's transaction of its database. 0, or
 * -1 and errno. */
int feed_raise_floor(feed_t *self, const feed_ref_t *feed, uint64_t floor);

/* Nobody has what lies between have and seq any more: have moves up to seq, at most to the floor.
 */
void feed_give_up(feed_t *self, const feed_ref_t *feed, uint64_t seq);

/* Remove stored batches up to seq, which must lie under the floor; the newest one stays, since
 * heads show its hash, unless the feed has ended. 0, or -1 and errno. Cost: one row each. */
int feed_trim(feed_t *self, const feed_ref_t *feed, uint64_t seq);

/* The oldest stored seq that is larger than seq; 0 if there is none; -1 and errno of db_step. */
int64_t feed_next(feed_t *self, const feed_ref_t *feed, uint64_t seq);

/* The head kept. Returns its size, 0 if there is none; at most max bytes are written. */
size_t feed_read_head(feed_t *self, const feed_ref_t *feed, uint8_t *out, size_t max);

/* One batch. *bytes lives until the next call on this feed_t. Returns its size, 0 if not held. One
 * that should be there and is not, or is not what was stored, is fatal: the next start mends it. */
size_t feed_read(feed_t *self, const feed_ref_t *feed, uint64_t seq, const uint8_t **bytes);

/* Move our consumer's cursor, inside the caller's transaction of peers.db. 0 or -1 and errno. */
int feed_set_cursor(feed_t *self, const feed_ref_t *feed, uint64_t seq);

#endif
