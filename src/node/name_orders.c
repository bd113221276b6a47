#include "name_orders.h"

#include <inttypes.h>
#include <string.h>

static json_t *refuse(const fault_t *why)
{
    return json_pack("{s:s}", "error", why->text);
}

static json_t *answer_of(const char *name, int64_t until_ms, bool done)
{
    return json_pack("{s:s, s:s, s:[], s:I, s:I, s:I, s:b}", "name", name, "network", name,
                     "covered", "covered_count", (json_int_t)0, "time",
                     (json_int_t)(wall_now().ms / MS_PER_S), "until",
                     (json_int_t)(until_ms / MS_PER_S), "done", done);
}

/* 0, or -1 and why it is no order. */
static int check(const char *name, json_int_t for_s, const char *text, fault_t *fault)
{
    event_t event = {.kind = EVENT_ALLOW};
    if (for_s < 1 || for_s > EVENT_GRACE_MAX_MS / MS_PER_S)
        return fault_set(fault,
                         "%" JSON_INTEGER_FORMAT " s: expected for how long, at most ten years",
                         for_s);
    if (strlen(text) > allowed_names_text_max(name))
        return fault_set(fault, "\"%.20s...\": expected at most %zu bytes beside that name", text,
                         allowed_names_text_max(name));
    snprintf(event.grace.text, sizeof event.grace.text, "%s", text);
    event.grace.network = (addr_t){.family = 4, .bytes = {1, 1, 1, 1}, .prefix = 32};
    event.grace.time_ms = wall_now().ms;
    event.grace.until_ms = event.grace.time_ms + for_s * MS_PER_S;
    event_error_t malformed = event_check(&event);
    return malformed == EVENT_OK ? 0 : fault_set(fault, "%s", event_error_text(malformed));
}

static json_t *allow(allowed_names_t *names, const char *name, const json_t *asked)
{
    fault_t fault;
    const char *text = json_string_value(json_object_get(asked, "text"));
    json_int_t for_s = json_integer_value(json_object_get(asked, "for_s"));
    bool dry_run = json_is_true(json_object_get(asked, "dry_run"));
    if (check(name, for_s, text != NULL ? text : "", &fault) == -1)
        return refuse(&fault);
    int64_t until_ms = wall_now().ms + for_s * MS_PER_S;
    if (!dry_run &&
        allowed_names_put(names, name, until_ms, text != NULL ? text : "", &fault) == -1)
        return refuse(&fault);
    return answer_of(name, until_ms, !dry_run);
}

static json_t *disallow(allowed_names_t *names, const char *name)
{
    fault_t fault;
    int rc = allowed_names_remove(names, name, &fault);
    if (rc == 0)
        fault_set(&fault, "%s: this node does not allow that name", name);
    return rc == 1 ? answer_of(name, 0, true) : refuse(&fault);
}

json_t *name_orders_carry_out(allowed_names_t *names, const char *line)
{
    static const char allow_word[] = "allow ";
    static const char disallow_word[] = "disallow ";
    char name[HOSTNAME_MAX + 1];
    json_t *answer = NULL;
    bool allows = strncmp(line, allow_word, sizeof allow_word - 1) == 0;
    if (!allows && strncmp(line, disallow_word, sizeof disallow_word - 1) != 0)
        return NULL;
    json_t *asked =
        json_loads(line + (allows ? sizeof allow_word : sizeof disallow_word) - 1, 0, NULL);
    const char *network = json_string_value(json_object_get(asked, "network"));
    if (network != NULL && hostname_valid(network)) {
        hostname_fold(network, name);
        answer = allows ? allow(names, name, asked) : disallow(names, name);
    }
    json_decref(asked);
    return answer;
}
