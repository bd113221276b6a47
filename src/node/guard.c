#include "guard.h"

#include "special.h"

#include <string.h>

static const char *const outcome_names[GUARD_OUTCOME_COUNT] = {
    [GUARD_STANDS] = "stands",           [GUARD_OURSELVES] = "ourselves",
    [GUARD_MALFORMED] = "malformed",     [GUARD_UNKNOWN_KIND] = "unknown-kind",
    [GUARD_SPECIAL] = "special-address", [GUARD_PROTECTED] = "protected-address",
    [GUARD_TOO_WIDE] = "too-wide",       [GUARD_SHARED_JAIL] = "shared-jail",
    [GUARD_PARDONED] = "pardoned",       [GUARD_ALLOWED] = "allowed",
    [GUARD_EXPIRED] = "expired",         [GUARD_LEFT_OUT] = "left-out",
    [GUARD_JAIL] = "jail-not-wanted",    [GUARD_UNDONE] = "undone",
    [GUARD_LIFTED] = "lifted-by-hand",   [GUARD_RATE] = "over-rate",
    [GUARD_QUORUM] = "quorum",
};

const char *guard_outcome_name(guard_outcome_t outcome)
{
    return outcome_names[outcome];
}

static bool is_too_wide(const guard_case_t *in)
{
    return in->address->prefix < (in->address->family == 4 ? in->widest_v4 : in->widest_v6);
}

/* What speaks against the ban as such. GUARD_STANDS: nothing. */
static guard_outcome_t refuse(const guard_case_t *in)
{
    if (in->void_by == EVENT_PARDON)
        return GUARD_PARDONED;
    if (in->void_by == EVENT_ALLOW)
        return GUARD_ALLOWED;
    if (in->undone)
        return GUARD_UNDONE;
    if (in->lifted_by_hand)
        return GUARD_LIFTED;
    if (in->from_ourselves && !in->by_hand)
        return GUARD_OURSELVES;
    if (!in->allow_special && special_name(in->address) != NULL)
        return GUARD_SPECIAL;
    if (in->protected_by != NULL)
        return GUARD_PROTECTED;
    if (is_too_wide(in))
        return GUARD_TOO_WIDE;
    if (strcmp(in->jail, in->shared_jail) == 0)
        return GUARD_SHARED_JAIL;
    if (!in->jail_wanted)
        return GUARD_JAIL;
    return GUARD_STANDS;
}

/* What it has to wait for, though nothing speaks against it. */
static guard_outcome_t hold_back(const guard_case_t *in)
{
    if (in->waits)
        return GUARD_RATE;
    return in->origins < in->quorum && !in->by_operator ? GUARD_QUORUM : GUARD_STANDS;
}

guard_verdict_t guard_decide(const guard_case_t *in)
{
    guard_verdict_t out = {.outcome = refuse(in), .begin_ms = in->time_ms};
    if (out.begin_ms > in->now.ms)
        out.begin_ms = in->now.ms;
    int64_t duration_s =
        ban_is_longer(in->duration_s, in->max_ban_s) ? in->max_ban_s : in->duration_s;
    out.until_ms = out.begin_ms + duration_s * MS_PER_S;
    if (out.outcome == GUARD_STANDS && out.until_ms <= in->steady.ms)
        out.outcome = GUARD_EXPIRED;
    if (out.outcome == GUARD_STANDS)
        out.outcome = hold_back(in);
    return out;
}
