/* guard - whether a peer's ban is applied here. A pure function; tests/cases/guard.txt holds its
 * decisions as a table. */
#ifndef BANMESH_NODE_GUARD_H
#define BANMESH_NODE_GUARD_H

#include "clock.h"
#include "event.h"

typedef enum {
    GUARD_APPLY = 0,    /* write it to the shared log */
    GUARD_HELD,         /* this host holds it for as long already */
    GUARD_LATER,        /* held, but for a shorter time: apply when that ends */
    GUARD_OURSELVES,    /* we made it */
    GUARD_UNTRUSTED,    /* its origin is trusted no longer */
    GUARD_MALFORMED,    /* a field breaks the rules of event.h */
    GUARD_UNKNOWN_KIND, /* of a newer version */
    GUARD_NOT_YET,      /* a pardon or an allowance: this version keeps them, but cannot act */
    GUARD_SPECIAL,      /* private, loopback, ... or a network that contains such */
    GUARD_PROTECTED,    /* own, peer's, gateway, resolver, protect list */
    GUARD_TOO_WIDE,     /* IPv4 wider than /32, IPv6 wider than /64 */
    GUARD_SHARED_JAIL,  /* it says that it came from a shared jail: a loop */
    GUARD_EXPIRED,      /* it has ended */
    GUARD_PACED,        /* nothing against it, but the pace: it waits in the backlog */
    GUARD_OUTCOME_COUNT,
} guard_outcome_t;

/* What the pace of the shared log lets through. */
typedef enum {
    GUARD_PACE_FREE = 0, /* anything */
    GUARD_PACE_LIVE,     /* bans that have just begun; others wait, newest first */
    GUARD_PACE_SPENT,    /* nothing for now */
} guard_pace_t;

/* A word for counters: "applied", "already-held", "special-address"... */
const char *guard_outcome_name(guard_outcome_t outcome);

typedef struct {
    bool origin_trusted;
    bool from_ourselves;
    event_error_t malformed; /* of event_check */
    const event_t *event;
    const char *protected_by; /* why its address is protected; NULL: it is not */
    int64_t held_until_ms;    /* this host holds the address until then; 0: it does not */
    guard_pace_t pace;
    wall_t now;
    const char *shared_jail;
    bool allow_special;
    int64_t max_ban_s;
} guard_case_t;

typedef struct {
    guard_outcome_t outcome;
    int64_t start_ms; /* APPLY, LATER, PACED: when it began; not after now, whatever it says */
    int64_t until_ms; /* when it ends, clipped to max_ban_s */
    bool from_future; /* its origin's clock is ahead, or it lies: the time was clamped */
    int64_t due_ms;   /* GUARD_LATER: when to decide again */
} guard_verdict_t;

guard_verdict_t guard_decide(const guard_case_t *in);

#endif
