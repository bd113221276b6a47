#include "guard.h"

#include "ahead.h"
#include "special.h"

#include <string.h>

#define V4_PREFIX_MIN 32
#define V6_PREFIX_MIN 64
#define LIVE_MS       60000 /* clocks differ: a ban that began so long ago may be of now */

static const char *const outcome_names[GUARD_OUTCOME_COUNT] = {
    [GUARD_APPLY] = "applied",
    [GUARD_HELD] = "already-held",
    [GUARD_LATER] = "later",
    [GUARD_OURSELVES] = "ourselves",
    [GUARD_UNTRUSTED] = "untrusted",
    [GUARD_MALFORMED] = "malformed",
    [GUARD_UNKNOWN_KIND] = "unknown-kind",
    [GUARD_NOT_YET] = "not-acted-on",
    [GUARD_SPECIAL] = "special-address",
    [GUARD_PROTECTED] = "protected-address",
    [GUARD_TOO_WIDE] = "too-wide",
    [GUARD_SHARED_JAIL] = "shared-jail",
    [GUARD_EXPIRED] = "expired",
    [GUARD_PACED] = "paced",
};

const char *guard_outcome_name(guard_outcome_t outcome)
{
    return outcome_names[outcome];
}

static bool is_too_wide(const addr_t *address)
{
    return address->prefix < (address->family == 4 ? V4_PREFIX_MIN : V6_PREFIX_MIN);
}

/* What speaks against the ban as such, whatever this host holds. GUARD_APPLY: nothing. */
static guard_outcome_t refuse(const guard_case_t *in)
{
    if (in->from_ourselves)
        return GUARD_OURSELVES;
    if (!in->origin_trusted)
        return GUARD_UNTRUSTED;
    if (in->malformed != EVENT_OK)
        return GUARD_MALFORMED;
    if (in->event->kind == EVENT_UNKNOWN)
        return GUARD_UNKNOWN_KIND;
    if (in->event->kind != EVENT_BAN)
        return GUARD_NOT_YET;
    const ban_t *ban = &in->event->ban;
    if (!in->allow_special && special_name(&ban->address) != NULL)
        return GUARD_SPECIAL;
    if (in->protected_by != NULL)
        return GUARD_PROTECTED;
    if (is_too_wide(&ban->address))
        return GUARD_TOO_WIDE;
    if (strcmp(ban->jail, in->shared_jail) == 0)
        return GUARD_SHARED_JAIL;
    return GUARD_APPLY;
}

static bool is_over_pace(const guard_case_t *in, int64_t start_ms)
{
    return in->pace == GUARD_PACE_SPENT ||
           (in->pace == GUARD_PACE_LIVE && start_ms < in->now.ms - LIVE_MS);
}

guard_verdict_t guard_decide(const guard_case_t *in)
{
    guard_verdict_t out = {.outcome = refuse(in)};
    if (out.outcome != GUARD_APPLY)
        return out;
    int64_t max_until_ms = in->now.ms + in->max_ban_s * MS_PER_S;
    ban_t ban = in->event->ban;
    out.from_future = ban.time_ms > in->now.ms + AHEAD_FUTURE_MS;
    if (ban.time_ms > in->now.ms)
        ban.time_ms = in->now.ms;
    out.start_ms = ban.time_ms;
    out.until_ms = ban_end_ms(&ban);
    if (out.until_ms > max_until_ms)
        out.until_ms = max_until_ms;
    if (out.until_ms <= in->now.ms)
        out.outcome = GUARD_EXPIRED;
    else if (in->held_until_ms >= out.until_ms)
        out.outcome = GUARD_HELD;
    else if (in->held_until_ms > in->now.ms) {
        /* fail2ban runs no action for an address that it holds: wait until it lets go. */
        out.outcome = GUARD_LATER;
        out.due_ms = in->held_until_ms;
    } else if (is_over_pace(in, out.start_ms))
        out.outcome = GUARD_PACED;
    return out;
}
