#include "origin_orders.h"

#include <string.h>

static json_t *admit(const origin_orders_parts_t *parts, uint16_t origin, const char *name)
{
    uint32_t waiting = index_origin_at(parts->index, origin)->waiting;
    admission_admit(parts->admission, origin, standing_steady(parts->standing));
    log_info("%s: %u bans that waited for its rate are let in, by order", name, waiting);
    return json_pack("{s:s, s:I}", "origin", name, "admitted", (json_int_t)waiting);
}

/* Those that began up to now: if it is trusted again, what it bans from then on counts. */
static json_t *undo(const origin_orders_parts_t *parts, uint16_t origin, const char *name)
{
    uint32_t bans = index_origin_at(parts->index, origin)->bans;
    memo_change_origin(parts->memo, origin)->undone_ms = standing_now(parts->standing).ms;
    standing_sweep(parts->standing);
    log_info("%s: the %u bans of it that run here are void, by order", name, bans);
    return json_pack("{s:s, s:I}", "origin", name, "undone", (json_int_t)bans);
}

static json_t *count(const origin_orders_parts_t *parts, uint16_t origin, const char *name)
{
    const index_origin_t *of = index_origin_at(parts->index, origin);
    return json_pack("{s:s, s:I, s:I}", "origin", name, "bans", (json_int_t)of->bans, "waiting",
                     (json_int_t)of->waiting);
}

static json_t *run(const origin_orders_parts_t *parts, const char *name,
                   json_t *(*order)(const origin_orders_parts_t *, uint16_t, const char *))
{
    uint32_t origin = memo_find_origin(parts->memo, name);
    if (origin == INDEX_NONE && order == count)
        return json_pack("{s:s, s:i, s:i}", "origin", name, "bans", 0, "waiting", 0);
    return origin != INDEX_NONE
               ? order(parts, (uint16_t)origin, name)
               : json_pack("{s:s, s:s}", "error", "no bans of a node of that name were ever here",
                           "value", name);
}

json_t *origin_orders_carry_out(const origin_orders_parts_t *parts, const char *line)
{
    if (strncmp(line, "admit ", 6) == 0)
        return run(parts, line + 6, admit);
    if (strncmp(line, "origin ", 7) == 0)
        return run(parts, line + 7, count);
    return strncmp(line, "undo ", 5) == 0 ? run(parts, line + 5, undo) : NULL;
}
