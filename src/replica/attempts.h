/* attempts - what the intake has taken in already, so that a repeated request is harmless.
 * fail2ban runs a failing hook twice, a spool may be read twice, and a prolongation comes with the
 * time of the ban that it prolongs. Rows of own.db, written in the transaction of the batch. */
#ifndef BANMESH_REPLICA_ATTEMPTS_H
#define BANMESH_REPLICA_ATTEMPTS_H

#include "clock.h"
#include "db.h"
#include "event.h"

#define ATTEMPTS_KEY_BYTES 16
#define ATTEMPTS_KEPT_MS   (30LL * 24 * 3600 * MS_PER_S)

/* Its first event's position is an attempt's identity; at_*, if set, is where a prolongation or a
 * copy carries it now. Of own.db. */
extern const char attempts_table[];

/* They are of events of another key then. */
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

/* Another event carries an attempt that is there, and says how long it runs. 0, or -1 and errno. */
int attempts_move(attempts_t *self, const uint8_t key[static ATTEMPTS_KEY_BYTES],
                  const event_position_t *place, int64_t duration_s);

/* Take in a ban that is known from a feed: what claim, find and prolong would have done when it was
 * announced. Old ones are passed over. Returns 0 if that ban was known, by this position and for as
 * long; else 1; -1 and errno. */
int attempts_learn(attempts_t *self, const ban_t *ban, const event_position_t *position,
                   wall_t now);

/* Forget bans that began longer ago than ATTEMPTS_KEPT_MS. 0, or -1 and errno. */
int attempts_prune(attempts_t *self, wall_t now);

#endif
