#include "entries.h"

#include "ahead.h"
#include "nid.h"

#include <string.h>

/* A host and one of its peers need not agree on the time, but more than a day apart it is not known
 * whose clock was wrong when a ban from the future came. */
#define BEGIN_BELIEVED_MS (24 * 3600 * MS_PER_S)

struct entries {
    entries_parts_t parts;
    uint64_t from_future; /* besides their outcome */
    uint64_t graces_taken;
    uint64_t graces_left_out;
};

entries_t *entries_new(const entries_parts_t *parts)
{
    entries_t *self = xcalloc(1, sizeof *self);
    self->parts = *parts;
    return self;
}

void entries_destroy(entries_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

/* ---- bans ---- */

static guard_outcome_t outcome_of_kind(event_error_t malformed, const event_t *event)
{
    if (malformed != EVENT_OK)
        return GUARD_MALFORMED;
    return event->kind == EVENT_UNKNOWN ? GUARD_UNKNOWN_KIND : GUARD_STANDS;
}

static void count(entries_t *self, guard_outcome_t outcome, bool anew)
{
    if (!anew)
        standing_count(self->parts.standing, outcome);
}

/* For whoever watches: what becomes of a ban without a place in the index, or of one of ours. */
static void note_ban(entries_t *self, const index_entry_t *entry, chronicle_event_t event,
                     const char *outcome)
{
    const chronicle_entry_t noted = {
        .event = event,
        .address = *entry->address,
        .origin = entry->origin,
        .outcome = outcome,
        .nid = entry->nid,
        .until_ms = entry->duration_s >= 0 ? entry->time_ms + entry->duration_s * MS_PER_S : 0,
    };
    chronicle_note(self->parts.chronicle, &noted, entry->jail);
}

/* What came to nothing. */
static void refuse(entries_t *self, const index_entry_t *entry, guard_outcome_t outcome, bool anew)
{
    count(self, outcome, anew);
    if (!anew)
        note_ban(self, entry, CHRONICLE_ARRIVED, guard_outcome_name(outcome));
}

/* It cannot count any more, whatever the settings. */
static bool has_ended(const entries_t *self, const ban_t *ban)
{
    return ban_end_ms(ban) <= standing_steady(self->parts.standing).ms;
}

/* A ban from the future begins when it comes. */
static void clamp_begin(entries_t *self, index_entry_t *entry)
{
    int64_t now_ms = standing_now(self->parts.standing).ms;
    const memo_ban_t *known = memo_ban(self->parts.memo, entry->nid);
    if (known != NULL && known->begin_ms != 0 &&
        entry->time_ms - known->begin_ms <= BEGIN_BELIEVED_MS) {
        entry->is_clamped = true;
        entry->time_ms = known->begin_ms;
    } else if (entry->time_ms > now_ms) {
        entry->is_clamped = true;
        entry->time_ms = now_ms;
    }
}

/* When that was is remembered, or each restart would have it begin again; not if the clocks differ
 * by little, as clocks do. */
static void remember_begin(entries_t *self, const index_entry_t *entry, int64_t said_ms)
{
    const memo_ban_t *known = memo_ban(self->parts.memo, entry->nid);
    if (said_ms <= entry->time_ms + AHEAD_FUTURE_MS || (known != NULL && known->begin_ms != 0))
        return;
    memo_ban_t memo = known != NULL ? *known : (memo_ban_t){.nid = entry->nid};
    memo.begin_ms = entry->time_ms;
    memo.until_ms = entry->duration_s >= 0 ? said_ms + entry->duration_s * MS_PER_S : EVENT_FOREVER;
    memo_set_ban(self->parts.memo, &memo);
}

/* What is known of a ban besides what its origin says. */
static void recall(entries_t *self, const entries_place_t *at, index_ban_t *ban, bool is_new)
{
    const memo_ban_t *memo = memo_ban(self->parts.memo, ban->nid);
    ban->lifted = memo != NULL && memo->lifted_ms != 0;
    if (!is_new && !ban->waits)
        return; /* what was let in once is let in, wherever its origin copies it to */
    bool waits = at->anew
                     ? admission_held(self->parts.admission, at->feed, ban->place)
                     : admission_holds(self->parts.admission, at->feed, at->origin, ban->place);
    index_set_waits(self->parts.index, ban, waits);
}

static void put(entries_t *self, const entries_place_t *at, index_entry_t *entry)
{
    uint32_t slot;
    int64_t said_ms = entry->time_ms;
    clamp_begin(self, entry);
    index_result_t result = index_put(self->parts.index, entry, &slot);
    if (result == INDEX_LEFT_OUT) {
        refuse(self, entry, GUARD_LEFT_OUT, at->anew);
        return;
    }
    remember_begin(self, entry, said_ms);
    recall(self, at, index_find_ban(self->parts.index, slot, entry->nid), result == INDEX_ADDED);
    if (at->anew)
        return;
    if (result == INDEX_KNOWN)
        standing_count_known(self->parts.standing);
    else
        standing_settle_new(self->parts.standing, slot, entry->nid);
}

static void take_ban(entries_t *self, const entries_place_t *at, const event_t *event)
{
    const pubkey_t *origin = &at->feed->id.origin;
    const ban_t *ban = &event->ban;
    index_entry_t entry = {
        .address = &ban->address,
        .jail = ban->jail,
        .nid = nid_of(origin, &event->original),
        .time_ms = ban->time_ms,
        .duration_s = ban->duration_s,
        .origin = at->origin,
        .feed = (uint32_t)at->feed->number,
        .place = at->seq << INDEX_EVENT_BITS | at->number,
    };
    if (has_ended(self, ban)) {
        refuse(self, &entry, GUARD_EXPIRED, at->anew);
        return;
    }
    if (!at->anew) {
        judge_note_clock(self->parts.judge, origin, ban->time_ms);
        self->from_future += ban->time_ms > standing_now(self->parts.standing).ms + AHEAD_FUTURE_MS;
    }
    put(self, at, &entry);
}

/* ---- pardons and allowances ---- */

/* Whether it is about this host's own jails, too: an allowance of what nobody allowed before. */
static bool is_news_to_jails(entries_t *self, const event_t *event)
{
    return standing_has_begun(self->parts.standing) && event->kind == EVENT_ALLOW &&
           judge_allowance(self->parts.judge, &event->grace.network) == NULL;
}

/* Those that were read back at the start are no news. */
static void note_grace(entries_t *self, const grace_entry_t *grace)
{
    const chronicle_entry_t entry = {
        .event = grace->kind == EVENT_PARDON ? CHRONICLE_PARDON : CHRONICLE_ALLOWANCE,
        .address = grace->network,
        .origin = grace->origin,
        .until_ms = grace->until_ms,
    };
    if (standing_has_begun(self->parts.standing))
        chronicle_note(self->parts.chronicle, &entry, grace->text);
}

static void take_grace(entries_t *self, const pubkey_t *key, const event_t *event, bool anew)
{
    const grace_t *grace = &event->grace;
    const grace_entry_t entry = {
        .network = grace->network,
        .kind = event->kind,
        .origin = index_origin(self->parts.index, key),
        .nid = nid_of(key, &event->original),
        .time_ms = grace->time_ms,
        .until_ms = grace_until_ms(grace),
        .text = (char *)grace->text,
    };
    int64_t nids[EVENT_PARDON_BANS_MAX];
    for (size_t i = 0; i < grace->ban_count; i++)
        nids[i] = nid_of(key, &grace->bans[i]);
    bool is_news = is_news_to_jails(self, event);
    graces_result_t result = graces_put(self->parts.graces, &entry, nids, grace->ban_count);
    self->graces_left_out += result == GRACES_TOO_MANY && !anew;
    if (result != GRACES_ADDED)
        return;
    self->graces_taken += !anew;
    note_grace(self, &entry);
    if (is_news && judge_allowance(self->parts.judge, &grace->network) != NULL)
        local_lifts_push(self->parts.local_lifts, &grace->network);
    standing_note_grace(self->parts.standing, &entry);
}

void entries_take(entries_t *self, const entries_place_t *at, event_error_t malformed,
                  const event_t *event)
{
    guard_outcome_t outcome = outcome_of_kind(malformed, event);
    if (outcome != GUARD_STANDS)
        count(self, outcome, at->anew);
    else if (event->kind == EVENT_BAN)
        take_ban(self, at, event);
    else
        take_grace(self, &at->feed->id.origin, event, at->anew);
}

/* ---- this host's own ---- */

static const pubkey_t *own_key(const entries_t *self)
{
    return &service_cert(self->parts.service)->sign_public;
}

void entries_take_own_grace(entries_t *self, const event_t *event)
{
    take_grace(self, own_key(self), event, true);
}

void entries_take_own(entries_t *self, const ban_t *ban, int64_t nid)
{
    uint32_t slot;
    if (has_ended(self, ban))
        return;
    const index_entry_t entry = {
        .address = &ban->address,
        .jail = ban->jail,
        .nid = nid,
        .time_ms = ban->time_ms,
        .duration_s = ban->duration_s,
        .origin = index_origin(self->parts.index, own_key(self)),
    };
    index_result_t result = index_put(self->parts.index, &entry, &slot);
    if (result != INDEX_KNOWN && standing_has_begun(self->parts.standing))
        note_ban(self, &entry, CHRONICLE_OWN, NULL);
    if (result != INDEX_LEFT_OUT)
        standing_changed(self->parts.standing, slot);
}

/* ---- what was stored, and is not ---- */

/* Feeds by the number of their row, to look many up. */
typedef struct {
    uint64_t *have;
    size_t count;
} reach_t;

static reach_t reach_of_feeds(feed_t *feeds)
{
    reach_t reach = {0};
    for (size_t i = 0; i < feed_count(feeds); i++) {
        const feed_ref_t *feed = feed_at(feeds, i);
        size_t number = (size_t)feed->number;
        if (feed->own_db)
            continue;
        if (number >= reach.count) {
            reach.have = xrealloc(reach.have, (number + 1) * sizeof *reach.have);
            memset(reach.have + reach.count, 0, (number + 1 - reach.count) * sizeof *reach.have);
            reach.count = number + 1;
        }
        reach.have[number] = feed->have;
    }
    return reach;
}

static bool is_lost(const reach_t *reach, const index_ban_t *ban)
{
    return ban->place != 0 &&
           (ban->feed >= reach->count || ban->place >> INDEX_EVENT_BITS > reach->have[ban->feed]);
}

static bool drop_lost_of(index_t *index, uint32_t number, const reach_t *reach)
{
    bool dropped = false;
    index_ban_t *next;
    for (index_ban_t *ban = index_first(index, number); ban != NULL; ban = next) {
        next = index_next(index, ban);
        if (is_lost(reach, ban)) {
            index_remove(index, number, ban);
            dropped = true;
        }
    }
    return dropped;
}

void entries_drop_lost(entries_t *self)
{
    index_t *index = self->parts.index;
    uint32_t now_s = index_seconds(standing_now(self->parts.standing).ms);
    reach_t reach = reach_of_feeds(service_feed(self->parts.service));
    for (uint32_t i = 0; i < index_reach(index); i++)
        if ((index_slot(index, i)->flags & INDEX_FREE) == 0 && drop_lost_of(index, i, &reach))
            index_set_due(index, i, now_s);
    free(reach.have);
}

/* ---- status ---- */

void entries_status(const entries_t *self, json_t *outcomes)
{
    standing_add_count(outcomes, "from-the-future", self->from_future);
    standing_add_count(outcomes, "grace", self->graces_taken);
    standing_add_count(outcomes, "grace-left-out", self->graces_left_out);
}
