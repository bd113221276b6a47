/* local_lifts - has this host's own jails let go, once, of what has just become allowed: of an
 * address wherever it is banned; of a network those addresses that are known to be banned here, by
 * our own bans in the index. Each is asked for once, and once more seconds later, since fail2ban
 * may act on what it was told just before. What waits is lost with the process; a later ban is kept
 * away by allowed_file. With guard / local-allow = 0 nothing is asked. */
#ifndef BANMESH_NODE_LOCAL_LIFTS_H
#define BANMESH_NODE_LOCAL_LIFTS_H

#include "jailer.h"
#include "judge.h"

typedef struct local_lifts local_lifts_t;

/* All borrowed for as long as it lives. */
typedef struct {
    const index_t *index;
    judge_t *judge;
    jailer_t *jailer;
    uint16_t ours; /* the origin that is this host */
    /* An answer is in: there is work. */
    void (*done)(void *arg);
    void *arg;
} local_lifts_parts_t;

local_lifts_t *local_lifts_new(const local_lifts_parts_t *parts, const settings_t *settings);
void local_lifts_destroy(local_lifts_t **self_p);

void local_lifts_set(local_lifts_t *self, const settings_t *settings);

/* This address or network was not allowed, and is now. */
void local_lifts_push(local_lifts_t *self, const addr_t *network);

/* Look for addresses, some milliseconds of it, and ask for them if jailer is free. Returns whether
 * there is more to look at. */
bool local_lifts_step(local_lifts_t *self);

size_t local_lifts_waiting(const local_lifts_t *self); /* addresses and networks */
uint64_t local_lifts_done(const local_lifts_t *self);  /* addresses that a jail held */

#endif
