/* quorum - how many origins ban an address at about the same time. Votes are gathered, then
 * counted. Pure; knows no policy. */
#ifndef BANMESH_NODE_QUORUM_H
#define BANMESH_NODE_QUORUM_H

#include <stddef.h>
#include <stdint.h>

#define QUORUM_VOTES_MAX 1024 /* more are not counted */

typedef struct {
    int64_t begin_ms;
    uint16_t origin;
} quorum_vote_t;

/* All zero: no votes. */
typedef struct {
    quorum_vote_t votes[QUORUM_VOTES_MAX];
    size_t count;
    uint16_t seen[UINT16_MAX + 1]; /* votes of each origin in the window that is counted */
} quorum_t;

void quorum_clear(quorum_t *self);

/* A ban of an origin runs, which began then. */
void quorum_add(quorum_t *self, uint16_t origin, int64_t begin_ms);

/* All are in: call before counting. */
void quorum_close(quorum_t *self);

/* The most origins whose bans began within window_ms of each other, one of them at begin_ms. */
int64_t quorum_origins(quorum_t *self, int64_t begin_ms, int64_t window_ms);

#endif
