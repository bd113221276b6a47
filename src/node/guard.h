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
    GUARD_OURSELVES,    /* one of our own jails made it, and holds it */
    GUARD_MALFORMED,    /* a field breaks the rules of event.h */
    GUARD_UNKNOWN_KIND, /* of a newer version */
    GUARD_SPECIAL,      /* private, loopback, ... or a network that contains such */
    GUARD_PROTECTED,    /* own, peer's, gateway, resolver, protect list */
    GUARD_TOO_WIDE,     /* a network wider than is taken of its origin */
    GUARD_SHARED_JAIL,  /* it says that it came from a shared jail: a loop */
    GUARD_JAIL,         /* bans of its jail are not wanted here */
    GUARD_PARDONED,     /* its origin or an operator took it back */
    GUARD_ALLOWED,      /* an operator allows the address, for now */
    GUARD_UNDONE,       /* all that its origin banned was made void here, when it was removed */
    GUARD_LIFTED,       /* somebody lifted it in the shared jail */
    GUARD_EXPIRED,      /* it has ended */
    GUARD_RATE,         /* its origin bans too fast: it waits */
    GUARD_QUORUM,       /* too few origins ban the address */
    GUARD_LEFT_OUT,     /* no place for it among the bans that are considered */
    GUARD_OUTCOME_COUNT,
} guard_outcome_t;

/* A word for counters and answers: "special-address"... */
const char *guard_outcome_name(guard_outcome_t outcome);

typedef struct {
    bool from_ourselves;
    bool by_hand; /* an operator banned: of ourselves, no jail but the shared one holds it */
    const addr_t *address;
    const char *jail;
    int64_t time_ms;          /* when it began, by its origin */
    int64_t duration_s;       /* -1: for ever */
    const char *protected_by; /* why its address is protected; NULL: it is not */
    event_kind_t void_by;     /* EVENT_PARDON, EVENT_ALLOW; EVENT_UNKNOWN: nothing */
    bool undone;
    bool lifted_by_hand;
    bool waits;       /* for the rate of its origin */
    bool by_operator; /* its origin is one: it needs no quorum, and may ban wider networks */
    int64_t origins;  /* that ban the address, this one included: quorum.h */
    wall_t now;
    wall_t steady; /* ends are judged by this time: a clock that jumps ahead ends nothing */
    const char *shared_jail;
    bool allow_special;
    bool jail_wanted;
    int64_t widest_v4; /* the shortest prefix that is taken of this origin */
    int64_t widest_v6;
    int64_t max_ban_s;
    int64_t quorum; /* origins */
} guard_case_t;

typedef struct {
    guard_outcome_t outcome;
    int64_t begin_ms; /* not after now, whatever it says */
    int64_t until_ms; /* when it ends, clipped to max_ban_s */
} guard_verdict_t;

guard_verdict_t guard_decide(const guard_case_t *in);

#endif
