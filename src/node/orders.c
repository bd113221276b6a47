#include "orders.h"

#include <errno.h>
#include <inttypes.h>

#define COVERED_MAX 100 /* bans that an answer names */

typedef struct {
    event_t event;
    bool dry_run;
} order_t;

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

/* Fill in an order. NULL, or why it is none. */
static json_t *read_order(const json_t *asked, event_kind_t kind, order_t *order)
{
    grace_t *grace = &order->event.grace;
    const char *network = json_string_value(json_object_get(asked, "network"));
    const char *text = json_string_value(json_object_get(asked, "text"));
    json_int_t for_s = json_integer_value(json_object_get(asked, "for_s"));
    if (network == NULL)
        return refuse("expected a JSON object with a network");
    addr_error_t wrong = addr_parse(network, &grace->network);
    if (wrong != ADDR_OK)
        return refuse("%.100s: %s", network, addr_error_text(wrong));
    if (text != NULL && strlen(text) > EVENT_TEXT_MAX)
        return refuse("\"%.20s...\": expected at most %d bytes", text, EVENT_TEXT_MAX);
    if (for_s < 0 || for_s > EVENT_GRACE_MAX_MS / MS_PER_S)
        return refuse("%" JSON_INTEGER_FORMAT " s: expected at most ten years", for_s);
    order->dry_run = json_is_true(json_object_get(asked, "dry_run"));
    order->event.kind = kind;
    snprintf(grace->text, sizeof grace->text, "%s", text != NULL ? text : "");
    grace->time_ms = wall_now().ms;
    grace->until_ms = for_s > 0 ? grace->time_ms + for_s * MS_PER_S : 0;
    event_error_t malformed = event_check(&order->event);
    return malformed == EVENT_OK ? NULL
                                 : refuse("%.100s: %s", network, event_error_text(malformed));
}

/* Not before a ban that it is about: another host's clock may be ahead. */
static void set_behind(grace_t *grace, int64_t latest_ms)
{
    int64_t ahead_ms = latest_ms - grace->time_ms;
    if (ahead_ms <= 0)
        return;
    grace->time_ms += ahead_ms;
    grace->until_ms += grace->until_ms != 0 ? ahead_ms : 0;
}

/* This host's own allowance of the same network would outlast this one. */
static bool shortens(const questions_parts_t *parts, const grace_t *grace)
{
    const grace_entry_t *entry;
    uint16_t ours = index_origin(parts->index, &service_cert(parts->service)->sign_public);
    for (size_t i = 0; (entry = graces_at(parts->graces, i)) != NULL; i++)
        if (entry->kind == EVENT_ALLOW && entry->origin == ours &&
            addr_equal(&entry->network, &grace->network) && entry->until_ms > grace_until_ms(grace))
            return true;
    return false;
}

/* Compaction forgets an allowance when it has ended: what it shortened would hold again for those
 * that come later. A withdrawal is kept for as long as anything that it may withdraw. */
static int append(const questions_parts_t *parts, event_t *event)
{
    event_t withdrawal = *event;
    own_feed_t *feed = service_own_feed(parts->service);
    if (event->kind == EVENT_ALLOW && event->grace.until_ms > event->grace.time_ms &&
        shortens(parts, &event->grace)) {
        withdrawal.grace.until_ms = withdrawal.grace.time_ms;
        if (own_feed_append_grace(feed, &withdrawal) == -1)
            return -1;
        event->grace.time_ms++;
    }
    return own_feed_append_grace(feed, event);
}

static json_t *carry_out(const questions_parts_t *parts, entries_t *entries, order_t *order)
{
    questions_covered_t covered;
    char network[ADDR_TEXT_MAX];
    grace_t *grace = &order->event.grace;
    json_t *reports = questions_covered(parts, &grace->network, COVERED_MAX, &covered);
    set_behind(grace, covered.latest_ms);
    if (!order->dry_run && append(parts, &order->event) == -1) {
        json_decref(reports);
        return refuse("the state directory cannot be written: %s", strerror(errno));
    }
    if (!order->dry_run)
        entries_take_own_grace(entries, &order->event);
    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:b}", "network",
                     addr_print(&grace->network, network), "covered", reports, "covered_count",
                     (json_int_t)covered.count, "time", (json_int_t)(grace->time_ms / MS_PER_S),
                     "until", (json_int_t)(grace->until_ms / MS_PER_S), "done", !order->dry_run);
}

static json_t *run(const questions_parts_t *parts, entries_t *entries, event_kind_t kind,
                   bool withdraws, const char *text)
{
    order_t order = {0};
    json_t *asked = json_loads(text, 0, NULL);
    json_t *answer = read_order(asked, kind, &order);
    json_decref(asked);
    if (answer != NULL)
        return answer;
    grace_t *grace = &order.event.grace;
    if (withdraws)
        grace->until_ms = grace->time_ms;
    else if (kind == EVENT_ALLOW && grace->until_ms == 0)
        return refuse("expected for how long");
    return carry_out(parts, entries, &order);
}

json_t *orders_carry_out(const questions_parts_t *parts, entries_t *entries, const char *line)
{
    if (strncmp(line, "pardon ", 7) == 0)
        return run(parts, entries, EVENT_PARDON, false, line + 7);
    if (strncmp(line, "allow ", 6) == 0)
        return run(parts, entries, EVENT_ALLOW, false, line + 6);
    if (strncmp(line, "disallow ", 9) == 0)
        return run(parts, entries, EVENT_ALLOW, true, line + 9);
    return NULL;
}
