/* guard - whether a ban is to hold here, until when, and if not, why not. A pure function;
 * tests/cases/guard.txt holds its decisions as a table. It is asked whenever something that it
 * depends on may have changed, and says the same to the same question: a ban's end counts from its
 * begin, never from the moment of asking. */
#ifndef BANMESH_NODE_GUARD_H
#define BANMESH_NODE_GUARD_H

#include "clock.h"
#include "event.h"

typedef enum {
    GUARD_STANDS = 0,   /* it is to hold here */
    GUARD_OURSELVES,    /* we made it: our own jail holds it */
    GUARD_MALFORMED,    /* a field breaks the rules of event.h */
    GUARD_UNKNOWN_KIND, /* of a newer version */
    GUARD_SPECIAL,      /* private, loopback, ... or a network that contains such */
    GUARD_PROTECTED,    /* own, peer's, gateway, resolver, protect list */
    GUARD_TOO_WIDE,     /* IPv4 wider than /32, IPv6 wider than /64 */
    GUARD_SHARED_JAIL,  /* it says that it came from a shared jail: a loop */
    GUARD_PARDONED,     /* its origin or an operator took it back */
    GUARD_ALLOWED,      /* an operator allows the address, for now */
    GUARD_EXPIRED,      /* it has ended */
    GUARD_LEFT_OUT,     /* no place for it among the bans that are considered */
    GUARD_OUTCOME_COUNT,
} guard_outcome_t;

/* A word for counters and answers: "special-address"... */
const char *guard_outcome_name(guard_outcome_t outcome);

typedef struct {
    bool from_ourselves;
    const addr_t *address;
    const char *jail;
    int64_t time_ms;          /* when it began, by its origin */
    int64_t duration_s;       /* -1: for ever */
    const char *protected_by; /* why its address is protected; NULL: it is not */
    event_kind_t void_by;     /* EVENT_PARDON, EVENT_ALLOW; EVENT_UNKNOWN: nothing */
    wall_t now;
    wall_t steady; /* ends are judged by this time: a clock that jumps ahead ends nothing */
    const char *shared_jail;
    bool allow_special;
    int64_t max_ban_s;
} guard_case_t;

typedef struct {
    guard_outcome_t outcome;
    int64_t begin_ms; /* not after now, whatever it says */
    int64_t until_ms; /* when it ends, clipped to max_ban_s */
} guard_verdict_t;

guard_verdict_t guard_decide(const guard_case_t *in);

#endif
