/* graces - the pardons and allowances that this host has heard of, by the network that they are
 * about, and which bans they make void. The order in which they and the bans come never matters:
 * a ban is void if one of them says so. In memory only: put in from the replica, as bans are.
 *
 * A pardon that names bans is about exactly these, whatever their address; an origin can name bans
 * of its own only. Of all others of one origin, one network and one kind, the one with the latest
 * time counts, so a later one withdraws what was said before. Knows no policy but that. */
#ifndef BANMESH_NODE_GRACES_H
#define BANMESH_NODE_GRACES_H

#include "clock.h"
#include "event.h"

typedef struct graces graces_t;

#define GRACES_PER_ORIGIN_MAX 100000 /* more are left out, and counted by the caller */

/* One that is known; lives until the next call that puts one in. */
typedef struct {
    addr_t network;
    event_kind_t kind; /* EVENT_PARDON, EVENT_ALLOW */
    uint16_t origin;   /* of the index */
    int64_t nid;
    int64_t time_ms;
    int64_t until_ms; /* grace_until_ms */
    char *text;       /* the reason or comment */
} grace_entry_t;

graces_t *graces_new(void);
void graces_destroy(graces_t **self_p);

/* Forget all: they are about to be put in again. */
void graces_clear(graces_t *self);

typedef enum {
    GRACES_ADDED, /* it may change what stands */
    GRACES_KNOWN, /* it changes nothing */
    GRACES_TOO_MANY,
} graces_result_t;

/* Put in a pardon or an allowance.
 *   nids  of the bans that it names, count of them; none: it is about all in its network */
graces_result_t graces_put(graces_t *self, const grace_entry_t *entry, const int64_t *nids,
                           size_t count);

/* A ban that may be void. */
typedef struct {
    const addr_t *address;
    int64_t nid;
    int64_t time_ms;
    uint16_t origin;
    wall_t now;
} graces_ban_t;

/* Whether an origin's word holds for bans of others. */
typedef bool(graces_authority_fn)(void *arg, uint16_t origin);

/* What makes a ban void; NULL if nothing does. */
const grace_entry_t *graces_find(const graces_t *self, const graces_ban_t *ban,
                                 graces_authority_fn *holds_for_all, void *arg);

/* The allowance that covers a network and runs, whoever's bans they are; NULL: none. */
const grace_entry_t *graces_allowance(const graces_t *self, const addr_t *network, wall_t now,
                                      graces_authority_fn *holds_for_all, void *arg);

/* Whether it is an allowance that runs. */
bool grace_entry_allows(const grace_entry_t *entry, wall_t now);

/* What an origin said last of exactly that network; NULL: nothing. */
const grace_entry_t *graces_said(const graces_t *self, uint16_t origin, event_kind_t kind,
                                 const addr_t *network);

/* A number that grows whenever an allowance is put in that may change something. */
uint64_t graces_allow_changes(const graces_t *self);

/* All of them that are not about named bans, in no order; NULL behind the last. */
const grace_entry_t *graces_at(const graces_t *self, size_t index);

/* When the first allowance ends that runs now; EVENT_FOREVER: none. Looks at each. */
int64_t graces_next_end_ms(const graces_t *self, wall_t now);

#endif
