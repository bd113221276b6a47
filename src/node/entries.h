/* entries - bans, pardons and allowances on their way into what is considered here: the index and
 * the graces. Of a ban from the future it decides when it began, of one that comes too fast that it
 * waits, of one that has ended that it need not be kept; all else is decided by whoever looks at
 * its address (standing). */
#ifndef BANMESH_NODE_ENTRIES_H
#define BANMESH_NODE_ENTRIES_H

#include "admission.h"
#include "local_lifts.h"
#include "standing.h"

typedef struct entries entries_t;

/* All borrowed for as long as it lives. */
typedef struct {
    service_t *service;
    index_t *index;
    graces_t *graces;
    judge_t *judge;
    memo_t *memo;
    admission_t *admission;
    standing_t *standing;
    local_lifts_t *local_lifts;
    chronicle_t *chronicle;
} entries_parts_t;

entries_t *entries_new(const entries_parts_t *parts);
void entries_destroy(entries_t **self_p);

/* An event of a batch of a peer, and where that batch stands. */
typedef struct {
    const feed_ref_t *feed;
    uint64_t seq;
    size_t number; /* of the event in it */
    uint16_t origin;
    bool anew; /* it was counted before: it is put in again */
} entries_place_t;

void entries_take(entries_t *self, const entries_place_t *at, event_error_t malformed,
                  const event_t *event);

/* A ban of this host itself; a pardon or an allowance, with its place as original. */
void entries_take_own(entries_t *self, const ban_t *ban, int64_t nid);
void entries_take_own_grace(entries_t *self, const event_t *event);

/* What was put in since the last commit is not stored: take it out. Looks at each. */
void entries_drop_lost(entries_t *self);

/* Add to the outcomes of a status. */
void entries_status(const entries_t *self, json_t *outcomes);

#endif
