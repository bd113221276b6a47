/* attempts - what the intake has taken in already, so that a repeated request is harmless.
 * fail2ban runs a failing hook twice, a spool may be read twice, and a prolongation comes with the
 * time of the ban that it prolongs. So does an unban: here is which event it is about, and that it
 * was lifted. Rows of own.db, written in the transaction of the batch. */
#ifndef BANMESH_REPLICA_ATTEMPTS_H
#define BANMESH_REPLICA_ATTEMPTS_H

#include "clock.h"
#include "db.h"
#include "event.h"

#define ATTEMPTS_KEY_BYTES 16
#define ATTEMPTS_KEPT_MS   (30LL * 24 * 3600 * MS_PER_S) /* and as long as the ban runs */

/* Its first event's position is an attempt's identity; at_*, if set, is where a prolongation or a
 * copy carries it now. Those that were lifted, by identity, stand in a table of their own: it takes
 * in a pardon that comes back from peers before its ban does. Of own.db. */
extern const char attempts_table[];

/* SQL that makes version 6 of own.db of version 5. */
extern const char attempts_6[];

/* They are of events of another key then. Nothing of ours will ever have the identity of one that
 * it lifted. */
extern const char attempts_rekeyed[];

typedef struct attempts attempts_t;

typedef struct {
    event_position_t position; /* of the first event of this attempt: its nid */
    event_position_t place;    /* of the newest event that carries it: a prolongation, a copy */
    int64_t duration_s;        /* the longest so far; -1: for ever */
} attempt_t;

/* The key of (jail, address, time): 48 bits of the time, then 80 bits of a hash of all three. */
void attempts_key(const ban_t *ban, uint8_t key[static ATTEMPTS_KEY_BYTES]);

/* db is own.db, borrowed and closed after us. */
attempts_t *attempts_new(db_t *db);
void attempts_destroy(attempts_t **self_p);

/* Write an attempt that is new; its place is its position. Returns 1; 0 if there is one with that
 * key, which is left as it is; -1 and errno of db_step. */
int attempts_claim(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES],
                   const attempt_t *attempt);

/* Returns 1 and the attempt, 0 if there is none, -1 and errno. */
int attempts_find(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES], attempt_t *out);

/* The same by (jail, address, time), also where one of the two times is but its second: fail2ban's
 * database keeps it rounded, so that is all that is known of a ban which it restored; and it says
 * no more of a ban that was imported, cut off. */
int attempts_find_near(attempts_t *self, const ban_t *ban, attempt_t *out);

/* Another event carries an attempt that is there, and says how long it runs. 0, or -1 and errno. */
int attempts_move(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES],
                  const event_position_t *place, int64_t duration_s);

/* Note that the attempt of that identity was lifted. Returns 1; 0 if it was already; -1 and errno.
 */
int attempts_lift(attempts_t *self, const event_position_t *position, int64_t time_ms);

/* Returns 1 if it was lifted, 0 if not, -1 and errno. */
int attempts_is_lifted(attempts_t *self, const event_position_t *position);

/* Take in an event that is known from a feed of ours, original set: what claim, find, move and lift
 * would have done when it was announced. Old bans that have ended are passed over. Returns 0 if it
 * was known (a ban by this identity and for as long), else 1; -1 and errno. */
int attempts_learn(attempts_t *self, const event_t *event, wall_t now);

/* Forget bans that began longer ago than ATTEMPTS_KEPT_MS and have ended, in small steps; call it
 * again while it returns 1. 0: that was all; -1 and errno. */
int attempts_prune(attempts_t *self, wall_t now);

#endif
