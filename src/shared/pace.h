/* pace - how many lines the shared log may get now, so that fail2ban keeps up.
 * A token bucket: lines a second, and ten seconds' worth at once. Half of it is kept for bans of
 * now: what waits in a backlog gets the rest, so a live ban is written at once while a million old
 * ones wait. Pure; told the time. */
#ifndef BANMESH_SHARED_PACE_H
#define BANMESH_SHARED_PACE_H

#include "clock.h"

#define PACE_NO_LIMIT INT64_MAX

typedef struct {
    int64_t rate;   /* lines a second; 0: no limit */
    int64_t credit; /* thousandths of a line */
    mono_t at;      /* of the credit */
} pace_t;

/* Begins with a full bucket. */
pace_t pace_of(int64_t rate, mono_t now);

/* Another rate from now on; a bucket that had no limit is full. */
void pace_set(pace_t *self, int64_t rate, mono_t now);

/* Add what has come since the last call. */
void pace_refill(pace_t *self, mono_t now);

/* How many lines may be written now: of bans of now, and of bans that waited. PACE_NO_LIMIT if
 * there is no limit. */
int64_t pace_live(const pace_t *self);
int64_t pace_spare(const pace_t *self);

/* So many were written. */
void pace_spend(pace_t *self, int64_t lines);

#endif
