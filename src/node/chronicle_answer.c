#include "chronicle_answer.h"

#include <string.h>

#define PORTION 1000 /* events in one answer: a millisecond or two */

static json_t *entry_json(const chronicle_parts_t *parts, uint64_t number)
{
    const chronicle_entry_t *entry = chronicle_at(parts->chronicle, number);
    bool is_grace = entry->event == CHRONICLE_PARDON || entry->event == CHRONICLE_ALLOWANCE;
    char address[ADDR_TEXT_MAX];
    json_t *out = json_pack("{s:I, s:I, s:s, s:s}", "number", (json_int_t)number, "time",
                            (json_int_t)(entry->at.ms / MS_PER_S), "event",
                            chronicle_event_name(entry->event), "address",
                            addr_print(&entry->address, address));
    if (entry->origin != CHRONICLE_NO_ORIGIN) {
        const pubkey_t *key = &index_origin_at(parts->index, entry->origin)->key;
        json_object_set_new(out, "origin", json_string(judge_name(parts->judge, key)));
    }
    if (*entry->text != '\0')
        json_object_set_new(out, is_grace ? "text" : "jail", json_string(entry->text));
    if (entry->outcome != NULL)
        json_object_set_new(out, "outcome", json_string(entry->outcome));
    if (entry->nid != 0)
        json_object_set_new(out, "nid", json_integer(entry->nid));
    if (entry->until_ms != 0)
        json_object_set_new(out, "until", json_integer(entry->until_ms / MS_PER_S));
    return out;
}

/* Up to which number somebody has seen them. */
static uint64_t seen_up_to(const chronicle_parts_t *parts, const json_t *asked)
{
    uint64_t newest = chronicle_newest(parts->chronicle);
    uint64_t last = (uint64_t)json_integer_value(json_object_get(asked, "last"));
    uint64_t after = (uint64_t)json_integer_value(json_object_get(asked, "after"));
    const json_t *run = json_object_get(asked, "run");
    if (run == NULL) {
        uint64_t there = newest - chronicle_oldest(parts->chronicle) + 1;
        return newest - (last < there ? last : there);
    }
    return json_integer_value(run) == parts->run && after <= newest ? after : 0;
}

json_t *chronicle_answer(const chronicle_parts_t *parts, const char *line)
{
    if (strncmp(line, "events ", 7) != 0)
        return NULL;
    json_t *asked = json_loads(line + 7, 0, NULL);
    if (!json_is_object(asked)) {
        json_decref(asked);
        return json_pack("{s:s, s:s}", "error", "expected a JSON object", "value", line + 7);
    }
    uint64_t after = seen_up_to(parts, asked);
    uint64_t newest = chronicle_newest(parts->chronicle);
    uint64_t first = chronicle_oldest(parts->chronicle);
    uint64_t missed = after + 1 < first ? first - after - 1 : 0;
    uint64_t end = after + missed + PORTION < newest ? after + missed + PORTION : newest;
    json_t *events = json_array();
    json_decref(asked);
    for (uint64_t i = after + missed + 1; i <= end; i++)
        json_array_append_new(events, entry_json(parts, i));
    return json_pack("{s:o, s:I, s:I, s:I, s:b}", "events", events, "run", (json_int_t)parts->run,
                     "next", (json_int_t)end, "missed", (json_int_t)missed, "more", end < newest);
}
