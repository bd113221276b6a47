/* feeder - a client of the intake that streams bans over one connection, with many outstanding.
 * The requests are written beforehand: what it costs while the clock runs is the system calls, for
 * many requests each, so that it takes as little as possible from what is measured. */
#ifndef BANMESH_BENCH_FEEDER_H
#define BANMESH_BENCH_FEEDER_H

#include "event.h"

typedef struct feeder feeder_t;

/* `count` bans of distinct addresses (26.0.0.0/8: global, held by nobody who would run this) at
 * distinct times. At most 2^24. */
feeder_t *feeder_new(size_t count);
void feeder_destroy(feeder_t **self_p);

/* Stream them all over a connected socket, at most `outstanding` unanswered. Returns
 * how long it took from the first request to the last answer. Any answer but "ok" is fatal. */
int64_t feeder_run(feeder_t *self, int fd, size_t outstanding);

/* The text of the address of ban i. */
void feeder_address(size_t i, char text[static 16]);

/* Ban i of `count` that began until now, one each ms: jail sshd, for a day. */
void feeder_ban(size_t i, size_t count, int64_t now_ms, ban_t *ban);

#endif
