#include "questions.h"

#include "stored.h"

#include <czmq.h>

#include <inttypes.h>

#define REPORTS_MAX     1000
#define PORTION_REPORTS 2000 /* of an answer to bans: some milliseconds */
#define PORTION_SLOTS   100000

/* ---- one ban ---- */

static const feed_ref_t *find_feed(feed_t *feeds, uint32_t number)
{
    for (size_t i = 0; i < feed_count(feeds); i++) {
        const feed_ref_t *feed = feed_at(feeds, i);
        if (!feed->own_db && feed->number == (int64_t)number)
            return feed;
    }
    return NULL;
}

/* An operator's, of whatever host: JSON holds text only. */
static json_t *words(char *text)
{
    json_t *out = json_string(text);
    if (out != NULL)
        return out;
    log_make_printable(text);
    return json_string(text);
}

/* One of this host's own: where it stands changes as the feed is compacted. */
static bool read_own(const questions_parts_t *parts, const index_slot_t *slot,
                     const index_ban_t *ban, event_t *event)
{
    ban_t asked = {.address = slot->address, .time_ms = ban->time_ms};
    snprintf(asked.jail, sizeof asked.jail, "%s", index_jail(parts->index, ban));
    return own_feed_find(service_own_feed(parts->service), &asked, event) == 1;
}

/* A peer's. */
static bool read_stored(const questions_parts_t *parts, const index_ban_t *ban, event_t *event)
{
    wire_batch_t batch;
    size_t number = ban->place & ((1U << INDEX_EVENT_BITS) - 1);
    const feed_ref_t *feed = find_feed(service_feed(parts->service), ban->feed);
    return feed != NULL &&
           stored_batch(service_feed(parts->service), service_wire(parts->service), feed,
                        ban->place >> INDEX_EVENT_BITS, &batch) == STORED_BATCH &&
           number < batch.event_count &&
           wire_event(service_wire(parts->service), number, event) == EVENT_OK &&
           event->kind == EVENT_BAN;
}

/* What the index leaves out is in the batch. */
static void add_details(const questions_parts_t *parts, const index_slot_t *slot,
                        const index_ban_t *ban, json_t *report)
{
    event_t event;
    if (ban->place != 0 ? !read_stored(parts, ban, &event) : !read_own(parts, slot, ban, &event))
        return;
    json_object_set_new(report, "failures", json_integer(event.ban.failures));
    json_object_set_new(report, "bancount", json_integer(event.ban.bancount));
    json_object_set_new(report, "port", json_string(event.ban.port));
    json_object_set_new(report, "protocol", json_string(event.ban.protocol));
    if (event.ban.reason[0] != '\0')
        json_object_set_new(report, "reason", words(event.ban.reason));
}

static json_t *seconds(int64_t ms)
{
    return json_integer(ms / MS_PER_S);
}

static json_t *grace_of(const questions_parts_t *parts, const grace_entry_t *entry)
{
    char network[ADDR_TEXT_MAX];
    const pubkey_t *origin = &index_origin_at(parts->index, entry->origin)->key;
    json_t *out = json_pack("{s:s, s:s, s:s, s:s}", "kind",
                            entry->kind == EVENT_PARDON ? "pardon" : "allowance", "network",
                            addr_print(&entry->network, network), "origin",
                            judge_name(parts->judge, origin), "text", entry->text);
    json_object_set_new(out, "time", seconds(entry->time_ms));
    json_object_set_new(out, "until", seconds(entry->until_ms));
    json_object_set_new(out, "operator", json_boolean(judge_is_operator(parts->judge, origin)));
    return out;
}

/* What an outcome alone does not say. */
static void add_reason(const questions_parts_t *parts, uint32_t number, const index_ban_t *ban,
                       const guard_verdict_t *verdict, json_t *report)
{
    const settings_t *settings = service_settings(parts->service);
    const memo_ban_t *memo = memo_ban(parts->memo, ban->nid);
    const memo_origin_t *origin = memo_origin(parts->memo, ban->origin);
    const grace_entry_t *grace = judge_grace(parts->judge, index_slot(parts->index, number), ban);
    if (grace != NULL)
        json_object_set_new(report, "lifted", grace_of(parts, grace));
    if (verdict->outcome == GUARD_LIFTED && memo != NULL)
        json_object_set_new(report, "lifted_by_hand", seconds(memo->lifted_ms));
    if (verdict->outcome == GUARD_UNDONE)
        json_object_set_new(report, "undone", seconds(origin->undone_ms));
    if (origin->removed_ms != 0)
        json_object_set_new(report, "origin_removed", seconds(origin->removed_ms));
    if (verdict->outcome != GUARD_QUORUM)
        return;
    json_object_set_new(report, "origins", json_integer(judge_origins(parts->judge, ban)));
    json_object_set_new(report, "quorum",
                        json_integer(settings_quorum(settings, index_jail(parts->index, ban))));
    json_object_set_new(report, "quorum_until",
                        seconds(verdict->begin_ms + settings->guard.quorum_window_s * MS_PER_S));
}

/* Of a slot that is open. */
static json_t *report_of(const questions_parts_t *parts, uint32_t number, const index_ban_t *ban)
{
    char address[ADDR_TEXT_MAX];
    guard_verdict_t verdict = judge_ban(parts->judge, number, ban);
    const pubkey_t *origin = &index_origin_at(parts->index, ban->origin)->key;
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:I, s:s}", "address",
                  addr_print(&index_slot(parts->index, number)->address, address), "origin",
                  judge_name(parts->judge, origin), "jail", index_jail(parts->index, ban), "nid",
                  (json_int_t)ban->nid, "outcome", guard_outcome_name(verdict.outcome));
    json_object_set_new(out, "time", seconds(ban->time_ms));
    json_object_set_new(out, "duration", json_integer(index_duration_s(ban)));
    json_object_set_new(out, "until", seconds(verdict.until_ms));
    add_reason(parts, number, ban, &verdict, out);
    return out;
}

/* ---- why ---- */

static json_t *error(const char *text, const char *what)
{
    return json_pack("{s:s, s:s}", "error", text, "value", what);
}

/* What the shared jail holds of it, by the book. */
static json_t *hold_of(const index_slot_t *slot)
{
    return json_pack("{s:b, s:I, s:b, s:b}", "held", slot->held_until_s != 0, "until",
                     (json_int_t)slot->held_until_s, "waits_for_the_pace",
                     (slot->flags & INDEX_WAITS) != 0, "to_be_let_go",
                     (slot->flags & (INDEX_LET_GO | INDEX_ASKED)) != 0);
}

static json_t *reports_of(const questions_parts_t *parts, uint32_t number)
{
    json_t *all = json_array();
    const index_ban_t *ban = index_first(parts->index, number);
    judge_open(parts->judge, number);
    for (; ban != NULL; ban = index_next(parts->index, ban)) {
        json_t *report = report_of(parts, number, ban);
        add_details(parts, index_slot(parts->index, number), ban, report);
        json_array_append_new(all, report);
    }
    return all;
}

json_t *questions_covered(const questions_parts_t *parts, const addr_t *network, size_t max,
                          questions_covered_t *covered)
{
    json_t *all = json_array();
    *covered = (questions_covered_t){0};
    for (uint32_t i = 0; i < index_reach(parts->index); i++) {
        const index_slot_t *slot = index_slot(parts->index, i);
        if ((slot->flags & INDEX_FREE) != 0 || !addr_contains(network, &slot->address))
            continue;
        const index_ban_t *ban = index_first(parts->index, i);
        if (covered->count < max)
            judge_open(parts->judge, i);
        for (; ban != NULL; ban = index_next(parts->index, ban)) {
            if (covered->count++ < max)
                json_array_append_new(all, report_of(parts, i, ban));
            if (ban->time_ms > covered->latest_ms)
                covered->latest_ms = ban->time_ms;
        }
    }
    return all;
}

/* Networks around an address of which a ban runs: it is blocked with them. */
static json_t *networks_around(const questions_parts_t *parts, const addr_t *address)
{
    json_t *all = json_array();
    for (uint8_t prefix = 8; prefix < address->prefix; prefix++) {
        addr_t network;
        addr_from_bytes(address->bytes, addr_size(address), prefix, &network);
        uint32_t slot = index_find(parts->index, &network);
        if (slot != INDEX_NONE && index_first(parts->index, slot) != NULL)
            json_array_extend(all, reports_of(parts, slot));
    }
    return all;
}

static json_t *why(const questions_parts_t *parts, const char *text)
{
    addr_t address;
    char printed[ADDR_TEXT_MAX];
    addr_error_t wrong = addr_parse(text, &address);
    if (wrong != ADDR_OK)
        return error(addr_error_text(wrong), text);
    const char *protected_by = judge_protected_by(parts->judge, &address);
    const grace_entry_t *allowance = judge_allowance(parts->judge, &address);
    uint32_t slot = index_find(parts->index, &address);
    json_t *out = json_pack("{s:s, s:s?}", "address", addr_print(&address, printed), "protected_by",
                            protected_by);
    json_object_set_new(out, "allowed_by",
                        allowance != NULL ? grace_of(parts, allowance) : json_null());
    json_object_set_new(out, "reports",
                        slot != INDEX_NONE ? reports_of(parts, slot) : json_array());
    json_object_set_new(out, "hold",
                        slot != INDEX_NONE ? hold_of(index_slot(parts->index, slot)) : json_null());
    json_object_set_new(out, "around", networks_around(parts, &address));
    json_object_set_new(out, "not_announced", watchers_echoes(parts->watchers, &address));
    if (!addr_is_host(&address)) {
        questions_covered_t covered;
        json_object_set_new(out, "inside",
                            questions_covered(parts, &address, REPORTS_MAX, &covered));
        json_object_set_new(out, "inside_count", json_integer((json_int_t)covered.count));
    }
    return out;
}

/* ---- bans, allowances ---- */

typedef struct {
    const char *origin; /* NULL: any */
    const char *jail;
    addr_t network;
    bool has_network;
    uint32_t from; /* slot */
} filter_t;

static bool passes(const questions_parts_t *parts, const filter_t *filter, const index_slot_t *slot,
                   const index_ban_t *ban)
{
    const pubkey_t *origin = &index_origin_at(parts->index, ban->origin)->key;
    return (!filter->has_network || addr_contains(&filter->network, &slot->address)) &&
           (filter->jail == NULL || streq(filter->jail, index_jail(parts->index, ban))) &&
           (filter->origin == NULL || streq(filter->origin, judge_name(parts->judge, origin)));
}

/* A portion: others wait on the loop meanwhile. */
static json_t *filtered(const questions_parts_t *parts, const filter_t *filter)
{
    json_t *all = json_array();
    uint32_t i = filter->from;
    uint32_t end = index_reach(parts->index);
    for (; i < end && i - filter->from < PORTION_SLOTS && json_array_size(all) < PORTION_REPORTS;
         i++) {
        const index_slot_t *slot = index_slot(parts->index, i);
        if ((slot->flags & INDEX_FREE) != 0)
            continue;
        const index_ban_t *ban = index_first(parts->index, i);
        judge_open(parts->judge, i);
        for (; ban != NULL; ban = index_next(parts->index, ban))
            if (passes(parts, filter, slot, ban))
                json_array_append_new(all, report_of(parts, i, ban));
    }
    return json_pack("{s:o, s:o}", "bans", all, "next", i < end ? json_integer(i) : json_null());
}

static json_t *bans(const questions_parts_t *parts, const char *text)
{
    json_t *asked = json_loads(text, 0, NULL);
    if (!json_is_object(asked)) {
        json_decref(asked);
        return error("expected a JSON object", text);
    }
    filter_t filter = {
        .origin = json_string_value(json_object_get(asked, "origin")),
        .jail = json_string_value(json_object_get(asked, "jail")),
        .from = (uint32_t)json_integer_value(json_object_get(asked, "from")),
    };
    const char *network = json_string_value(json_object_get(asked, "network"));
    filter.has_network = network != NULL;
    addr_error_t wrong = network != NULL ? addr_parse(network, &filter.network) : ADDR_OK;
    json_t *answer =
        wrong == ADDR_OK ? filtered(parts, &filter) : error(addr_error_text(wrong), network);
    json_decref(asked);
    return answer;
}

static json_t *allowances(const questions_parts_t *parts)
{
    json_t *all = json_array();
    int64_t now_ms = wall_now().ms;
    const grace_entry_t *entry;
    for (size_t i = 0; (entry = graces_at(parts->graces, i)) != NULL; i++)
        if (entry->kind == EVENT_ALLOW && entry->until_ms > now_ms &&
            entry->until_ms != entry->time_ms)
            json_array_append_new(all, grace_of(parts, entry));
    return json_pack("{s:o}", "allowances", all);
}

json_t *questions_answer(const questions_parts_t *parts, const char *line)
{
    if (strncmp(line, "why ", 4) == 0)
        return why(parts, line + 4);
    if (strncmp(line, "bans ", 5) == 0)
        return bans(parts, line + 5);
    return streq(line, "allowances") ? allowances(parts) : NULL;
}
