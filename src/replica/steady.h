/* steady - the wall clock, as far as it can be believed: for what cannot be undone.
 * A clock may be wrong for some seconds (a machine goes on, its hardware clock is in local time
 * until NTP steps), and whatever is let go of by it is gone. So the time to judge by is the earlier
 * of two: what the clock says, and what it said while it was believed, plus what has passed since
 * by the monotonic clock. Too early is never wrong, only late: so nothing has to stop while a clock
 * is in doubt, and one that is set back is followed at once. A clock that has gone on for an hour
 * without a step is believed again, wherever it stands then: an operator may have corrected it.
 * Monotonic, not boot time: that takes how long a machine slept from the same hardware clock. A
 * sleep looks like a jump, and costs that hour. A clock that is wrong from the start on cannot be
 * told from here: see compaction.h. Pure: both clocks come from the caller. */
#ifndef BANMESH_REPLICA_STEADY_H
#define BANMESH_REPLICA_STEADY_H

#include "clock.h"

#include <stdbool.h>

#define STEADY_TOLERANCE_MS (10LL * MS_PER_S)   /* smaller steps are corrections, and followed */
#define STEADY_CALM_MS      (60LL * MS_PER_S)   /* back for so long, and it is as it was */
#define STEADY_BELIEVED_MS  (3600LL * MS_PER_S) /* elsewhere for so long, and it is right there */

/* For the log: one of each that begins and ends, however often the clock jumps in between. */
typedef enum {
    STEADY_AS_BEFORE,
    STEADY_JUMPED,   /* in doubt from now on */
    STEADY_RETURNED, /* it is where it would be without the jump */
    STEADY_BELIEVED, /* it counts where it is now */
} steady_change_t;

typedef struct {
    int64_t believed_ms; /* wall minus monotonic time, as believed */
    int64_t seen_ms;     /* the same, as seen last */
    mono_t seen_since;   /* without a step */
    bool in_doubt;
} steady_t;

/* Believes what it is given. */
steady_t steady_begin(wall_t wall, mono_t mono);

/* Look at the clock; a jump that nobody looks at did not happen. */
steady_change_t steady_look(steady_t *self, wall_t wall, mono_t mono);

/* The time to judge by, once those were looked at. */
wall_t steady_time(const steady_t *self, wall_t wall, mono_t mono);

/* By how much the clock is ahead of what is believed, ms. */
int64_t steady_ahead_ms(const steady_t *self);

#endif
