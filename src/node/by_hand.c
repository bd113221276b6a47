#include "by_hand.h"

#include "special.h"

#include <errno.h>
#include <inttypes.h>

static json_t *refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
static json_t *refuse(const char *format, ...)
{
    fault_t why;
    va_list args;
    va_start(args, format);
    vsnprintf(why.text, sizeof why.text, format, args);
    va_end(args);
    return json_pack("{s:s}", "error", why.text);
}

/* ---- what is ordered ---- */

/* NULL, or what is wrong with it. */
static json_t *set_jail(const char *name, ban_t *ban)
{
    size_t longest = EVENT_NAME_MAX - sizeof EVENT_BY_HAND; /* a '.' stands in between */
    if (name == NULL) {
        memcpy(ban->jail, EVENT_BY_HAND, sizeof EVENT_BY_HAND);
        return NULL;
    }
    if (!event_name_valid(name, strlen(name)) || strlen(name) > longest)
        return refuse("jail \"%.100s\": expected 1 to %zu of A-Z a-z 0-9 _ . -", name, longest);
    snprintf(ban->jail, sizeof ban->jail, EVENT_BY_HAND ".%s", name);
    return NULL;
}

static json_t *set_reason(const char *reason, ban_t *ban)
{
    if (reason == NULL || *reason == '\0')
        return refuse("expected a reason");
    if (strlen(reason) > EVENT_TEXT_MAX)
        return refuse("\"%.20s...\": expected at most %d bytes", reason, EVENT_TEXT_MAX);
    snprintf(ban->reason, sizeof ban->reason, "%s", reason);
    return NULL;
}

/* Fill in a ban. NULL, or what is wrong with the order. */
static json_t *read_order(const json_t *asked, ban_t *ban)
{
    const char *address = json_string_value(json_object_get(asked, "address"));
    json_int_t for_s = json_integer_value(json_object_get(asked, "for_s"));
    if (address == NULL)
        return refuse("expected a JSON object with an address");
    addr_error_t wrong = addr_parse(address, &ban->address);
    if (wrong != ADDR_OK)
        return refuse("%.100s: %s", address, addr_error_text(wrong));
    if (for_s < 1)
        return refuse("%" JSON_INTEGER_FORMAT " s: expected for how long", for_s);
    ban->time_ms = wall_now().ms;
    ban->duration_s = for_s;
    json_t *refusal = set_jail(json_string_value(json_object_get(asked, "jail")), ban);
    if (refusal == NULL)
        refusal = set_reason(json_string_value(json_object_get(asked, "reason")), ban);
    if (refusal != NULL)
        return refusal;
    event_error_t malformed = event_check_ban(ban);
    return malformed == EVENT_OK ? NULL
                                 : refuse("%.100s: %s", address, event_error_text(malformed));
}

/* ---- what this node would do with it ---- */

static json_t *say_void(const questions_parts_t *parts, const char *address,
                        const grace_entry_t *grace)
{
    char network[ADDR_TEXT_MAX];
    if (grace == NULL)
        return refuse("%s: it would be void here", address);
    const pubkey_t *origin = &index_origin_at(parts->index, grace->origin)->key;
    bool is_pardon = grace->kind == EVENT_PARDON;
    return refuse("%s: %s of %s by %s covers it: \"%s\"; banmesh %s", address,
                  is_pardon ? "a pardon" : "an allowance", addr_print(&grace->network, network),
                  judge_name(parts->judge, origin), grace->text,
                  is_pardon ? "why tells more" : "allow list tells more");
}

static json_t *say_refusal(const questions_parts_t *parts, const ban_t *ban,
                           guard_outcome_t outcome, const grace_entry_t *grace)
{
    char address[ADDR_TEXT_MAX];
    addr_print(&ban->address, address);
    switch (outcome) {
    case GUARD_SPECIAL:
        return refuse("%s is special (%s): expected an address of the public internet", address,
                      special_name(&ban->address));
    case GUARD_PROTECTED:
        return refuse("%s is protected here (%s)", address,
                      judge_protected_by(parts->judge, &ban->address));
    case GUARD_TOO_WIDE:
        return refuse("%s is a wider network than this node takes (guard)", address);
    case GUARD_PARDONED:
    case GUARD_ALLOWED:
        return say_void(parts, address, grace);
    default:
        return refuse("%s: this node would not hold it: %s", address, guard_outcome_name(outcome));
    }
}

/* Look at it as if it had come in already. NULL, or why it would not hold here; *until_ms: when it
 * would end. */
static json_t *try(const questions_parts_t *parts, const ban_t *ban, int64_t *until_ms)
{
    uint32_t number;
    json_t *refusal = NULL;
    const index_entry_t entry = {
        .address = &ban->address,
        .jail = ban->jail,
        .time_ms = ban->time_ms,
        .duration_s = ban->duration_s,
        .origin = index_origin(parts->index, &service_cert(parts->service)->sign_public),
    };
    if (index_put(parts->index, &entry, &number) == INDEX_LEFT_OUT)
        return refuse("no place for one more ban (guard / max-active)");
    const index_slot_t *slot = index_slot(parts->index, number);
    const index_ban_t *tried = index_find_ban(parts->index, number, entry.nid);
    judge_open(parts->judge, number);
    guard_verdict_t verdict = judge_ban(parts->judge, number, tried);
    if (verdict.outcome != GUARD_STANDS)
        refusal = say_refusal(parts, ban, verdict.outcome, judge_grace(parts->judge, slot, tried));
    index_remove(parts->index, number, tried);
    index_tidy(parts->index, number);
    *until_ms = verdict.until_ms;
    return refusal;
}

/* ---- the order ---- */

static json_t *announce(const questions_parts_t *parts, entries_t *entries, const ban_t *ban,
                        int64_t until_ms)
{
    char address[ADDR_TEXT_MAX];
    own_feed_item_t item = {.ban = ban};
    if (own_feed_append(service_own_feed(parts->service), &item, 1) == -1)
        return refuse("the state directory cannot be written: %s", strerror(errno));
    entries_take_own(entries, ban, item.nid);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "address",
                     addr_print(&ban->address, address), "jail", ban->jail, "reason", ban->reason,
                     "nid", (json_int_t)item.nid, "time", (json_int_t)(ban->time_ms / MS_PER_S),
                     "duration", (json_int_t)ban->duration_s, "until",
                     (json_int_t)(until_ms / MS_PER_S));
}

json_t *by_hand_carry_out(const questions_parts_t *parts, entries_t *entries, const char *line)
{
    ban_t ban = {0};
    int64_t until_ms = 0;
    if (strncmp(line, "ban ", 4) != 0)
        return NULL;
    json_t *asked = json_loads(line + 4, 0, NULL);
    json_t *refusal = read_order(asked, &ban);
    json_decref(asked);
    if (refusal == NULL)
        refusal = try(parts, &ban, &until_ms);
    return refusal != NULL ? refusal : announce(parts, entries, &ban, until_ms);
}
