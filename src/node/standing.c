#include "standing.h"

#include "backlog.h"
#include "steady.h"

#include <inttypes.h>

#define STEP_MS       10
#define STEP_SLOTS    256   /* looked at between two looks at the clock */
#define STEP_TURNS    512   /* of the backlog */
#define LIVE_MS       60000 /* clocks differ: a ban that began so long ago may be of now */
#define AGAIN_LATER_S 60    /* something has ended by a clock that is not believed */

/* A ban that outlasts the jail's ban time has its line written again before that is over: the
 * jail's ticket grows, and nothing passes in between. So much before, or an eighth of it. */
#define RENEW_MAX_S 600

/* What became of a ban that stands. */
typedef enum {
    TOLD_LINE,  /* a line was written */
    TOLD_HELD,  /* the jail holds the address for as long already */
    TOLD_LATER, /* ... for a shorter time: a line follows before that is over */
    TOLD_WAITS, /* for the pace */
    TOLD_DRY,   /* nothing is told: guard / dry-run */
    TOLD_COUNT,
} told_t;

static const char *const told_names[TOLD_COUNT] = {
    [TOLD_LINE] = "applied", [TOLD_HELD] = "already-held", [TOLD_LATER] = "later",
    [TOLD_WAITS] = "paced",  [TOLD_DRY] = "dry-run",
};

struct standing {
    service_t *service;
    index_t *index;
    graces_t *graces;
    int64_t allowed_until_ms; /* when the first allowance ends */
    judge_t *judge;
    memo_t *memo;
    sink_t *sink;
    lifts_t *lifts;
    chronicle_t *chronicle;
    backlog_t *backlog;
    size_t waiting;         /* slots with INDEX_WAITS */
    size_t short_of_quorum; /* slots with INDEX_SHORT */
    bool begun;
    steady_t steady;
    wall_t now;
    wall_t steady_now;
    uint32_t sweeping; /* the slot that a sweep looks at next */
    uint32_t to_sweep; /* how many slots it has yet to look at; 0: none goes on */
    uint64_t told[TOLD_COUNT];
    uint64_t outcomes[GUARD_OUTCOME_COUNT];
};

standing_t *standing_new(const standing_parts_t *parts)
{
    standing_t *self = xcalloc(1, sizeof *self);
    self->service = parts->service;
    self->index = parts->index;
    self->graces = parts->graces;
    self->allowed_until_ms = EVENT_FOREVER;
    self->judge = parts->judge;
    self->memo = parts->memo;
    self->sink = parts->sink;
    self->lifts = parts->lifts;
    self->chronicle = parts->chronicle;
    self->backlog = backlog_new();
    self->steady = steady_begin(wall_now(), mono_now());
    standing_look_at_clock(self);
    return self;
}

void standing_destroy(standing_t **self_p)
{
    if (*self_p == NULL)
        return;
    backlog_destroy(&(*self_p)->backlog);
    free(*self_p);
    *self_p = NULL;
}

void standing_look_at_clock(standing_t *self)
{
    mono_t mono = mono_now();
    self->now = wall_now();
    steady_look(&self->steady, self->now, mono);
    self->steady_now = steady_time(&self->steady, self->now, mono);
    judge_set_time(self->judge, self->now, self->steady_now);
}

bool standing_has_begun(const standing_t *self)
{
    return self->begun;
}

wall_t standing_now(const standing_t *self)
{
    return self->now;
}

wall_t standing_steady(const standing_t *self)
{
    return self->steady_now;
}

static uint32_t now_s(const standing_t *self)
{
    return (uint32_t)(self->now.ms / MS_PER_S);
}

/* ---- one address ---- */

/* What the bans of an address come to. */
typedef struct {
    const index_ban_t *strongest; /* that stands, and ends last; NULL: none stands */
    int64_t begin_ms;
    int64_t until_ms;
    int64_t newest_ms; /* when the newest that stands began */
    uint32_t next_s;   /* when the first of all of them ends; UINT32_MAX: none */
    bool waits;        /* one of them for the rate of its origin only */
    bool is_short;     /* one of them for a quorum */
} view_t;

static void add_to_view(view_t *view, const index_ban_t *ban, const guard_verdict_t *verdict)
{
    uint32_t end_s = index_seconds(verdict->until_ms);
    if (end_s < view->next_s)
        view->next_s = end_s;
    view->waits = view->waits || verdict->outcome == GUARD_RATE;
    view->is_short = view->is_short || verdict->outcome == GUARD_QUORUM;
    if (verdict->outcome != GUARD_STANDS)
        return;
    if (view->strongest == NULL || verdict->begin_ms > view->newest_ms)
        view->newest_ms = verdict->begin_ms;
    if (view->strongest != NULL && verdict->until_ms <= view->until_ms)
        return;
    view->strongest = ban;
    view->begin_ms = verdict->begin_ms;
    view->until_ms = verdict->until_ms;
}

/* What is known of an address changed, and its neighbours in an IPv6 /64 may have a quorum with it.
 */
static void look_at_near(standing_t *self, uint32_t number)
{
    uint32_t near = index_near(self->index, number, INDEX_NONE);
    for (int i = 0; near != INDEX_NONE && i < JUDGE_NEAR_MAX; i++) {
        index_set_due(self->index, near, now_s(self));
        near = index_near(self->index, number, near);
    }
}

static void note_short(standing_t *self, index_slot_t *slot, const view_t *view)
{
    bool is_short = view->is_short && view->strongest == NULL;
    self->short_of_quorum -= (slot->flags & INDEX_SHORT) != 0;
    self->short_of_quorum += is_short;
    slot->flags = (uint16_t)(is_short ? slot->flags | INDEX_SHORT : slot->flags & ~INDEX_SHORT);
}

/* Decide all bans of an address; those that have ended go. */
static view_t look(standing_t *self, uint32_t number)
{
    view_t view = {.next_s = UINT32_MAX};
    index_ban_t *next;
    bool removed = false;
    judge_open(self->judge, number);
    for (index_ban_t *ban = index_first(self->index, number); ban != NULL; ban = next) {
        next = index_next(self->index, ban);
        guard_verdict_t verdict = judge_ban(self->judge, number, ban);
        if (verdict.until_ms <= self->steady_now.ms) {
            index_remove(self->index, number, ban);
            removed = true;
        } else
            add_to_view(&view, ban, &verdict);
    }
    if (removed)
        look_at_near(self, number);
    note_short(self, index_slot(self->index, number), &view);
    return view;
}

static void set_waiting(standing_t *self, index_slot_t *slot, bool waits)
{
    self->waiting -= (slot->flags & INDEX_WAITS) != 0;
    self->waiting += waits;
    slot->flags = (uint16_t)(waits ? slot->flags | INDEX_WAITS : slot->flags & ~INDEX_WAITS);
}

/* For whoever watches: of an address, not of one ban. */
static void note(const standing_t *self, uint32_t number, chronicle_event_t event,
                 const char *outcome)
{
    const chronicle_entry_t entry = {
        .event = event,
        .address = index_slot(self->index, number)->address,
        .origin = CHRONICLE_NO_ORIGIN,
        .outcome = outcome,
    };
    chronicle_note(self->chronicle, &entry, NULL);
}

static void note_ban(const standing_t *self, uint32_t number, chronicle_event_t event,
                     const index_ban_t *ban, int64_t until_ms, const char *outcome)
{
    const chronicle_entry_t entry = {
        .event = event,
        .address = index_slot(self->index, number)->address,
        .origin = ban->origin,
        .outcome = outcome,
        .nid = ban->nid,
        .until_ms = until_ms,
    };
    chronicle_note(self->chronicle, &entry, index_jail(self->index, ban));
}

static void write_line(standing_t *self, uint32_t number, const view_t *view)
{
    const index_ban_t *ban = view->strongest;
    const sink_ban_t line = {
        .origin = judge_name(self->judge, &index_origin_at(self->index, ban->origin)->key),
        .jail = index_jail(self->index, ban),
        .nid = ban->nid,
        .begin_ms = view->begin_ms,
        .until_ms = view->until_ms,
    };
    set_waiting(self, index_slot(self->index, number), false);
    sink_tell(self->sink, number, &line, self->now);
    note_ban(self, number, CHRONICLE_APPLIED, ban, view->until_ms, NULL);
}

/* How long before its hold ends an address is told again. */
static uint32_t renewal_s(const standing_t *self)
{
    int64_t share_s = service_settings(self->service)->shared.bantime_s / 8;
    return share_s < RENEW_MAX_S ? (uint32_t)share_s : RENEW_MAX_S;
}

/* The jail does not hold an address for as long as it should: write a line, or have it wait. */
static told_t ask_for_line(standing_t *self, uint32_t number, const view_t *view)
{
    index_slot_t *slot = index_slot(self->index, number);
    sink_pace_t pace = sink_pace(self->sink);
    /* What the jail is about to let go of has been here for long, and cannot wait behind others. */
    bool is_live = view->newest_ms >= self->now.ms - LIVE_MS || slot->held_until_s > now_s(self);
    if (!sink_is_full(self->sink) &&
        (pace == SINK_PACE_FREE || (pace == SINK_PACE_LIVE && is_live))) {
        write_line(self, number, view);
        return TOLD_LINE;
    }
    if ((slot->flags & INDEX_WAITS) == 0)
        backlog_push(self->backlog, index_seconds(view->newest_ms), number);
    set_waiting(self, slot, true);
    return TOLD_WAITS;
}

/* Something is wanted: bring the jail to agree. Returns what was done. */
static told_t want(standing_t *self, uint32_t number, const view_t *view)
{
    index_slot_t *slot = index_slot(self->index, number);
    uint32_t until_s = index_seconds(view->until_ms);
    if (slot->held_until_s <= now_s(self))
        return ask_for_line(self, number, view);
    if (slot->held_until_s >= until_s)
        return TOLD_HELD;
    if (slot->held_until_s <= now_s(self) + renewal_s(self))
        return ask_for_line(self, number, view);
    return TOLD_LATER;
}

static uint32_t sooner(uint32_t one_s, uint32_t other_s)
{
    return other_s < one_s ? other_s : one_s;
}

/* When an address is to be looked at next; 0: never. */
static uint32_t due_of(const standing_t *self, const index_slot_t *slot, const view_t *view)
{
    uint32_t due_s = view->next_s;
    if (slot->held_until_s != 0)
        due_s = sooner(due_s, slot->held_until_s);
    if (view->strongest != NULL && slot->held_until_s > now_s(self) + renewal_s(self) &&
        slot->held_until_s < index_seconds(view->until_ms))
        due_s = sooner(due_s, slot->held_until_s - renewal_s(self));
    if (due_s == UINT32_MAX)
        return 0;
    return due_s > now_s(self) ? due_s : now_s(self) + AGAIN_LATER_S;
}

/* The jail's own ticket has ended, whatever should be. */
static void note_end_of_hold(standing_t *self, uint32_t number)
{
    const index_slot_t *slot = index_slot(self->index, number);
    if (slot->held_until_s == 0 || slot->held_until_s > now_s(self))
        return;
    sink_note_free(self->sink, number);
    lifts_drop(self->lifts, number);
    note(self, number, CHRONICLE_LET_GO, "expired");
}

/* Bring the sink to agree with what should be. Returns what that came to, TOLD_COUNT if nothing
 * stands. */
static told_t settle(standing_t *self, uint32_t number)
{
    index_slot_t *slot = index_slot(self->index, number);
    told_t told = TOLD_COUNT;
    if (!self->begun)
        return told;
    if ((slot->flags & INDEX_ASKED) != 0)
        return TOLD_LATER; /* when the answer is in, it is settled */
    view_t view = look(self, number);
    note_end_of_hold(self, number);
    if (service_settings(self->service)->guard.dry_run != 0)
        told = view.strongest != NULL ? TOLD_DRY : TOLD_COUNT;
    else if (view.strongest != NULL) {
        lifts_drop(self->lifts, number);
        told = want(self, number, &view);
    } else if ((slot->held_until_s != 0 || (slot->flags & INDEX_RECHECK) != 0) && !view.waits)
        lifts_push(self->lifts, number, view.next_s != UINT32_MAX);
    index_set_due(self->index, number, due_of(self, slot, &view));
    return told;
}

/* ---- what comes in ---- */

static void count_told(standing_t *self, told_t told)
{
    if (told != TOLD_COUNT)
        self->told[told]++;
}

void standing_settle_new(standing_t *self, uint32_t number, int64_t nid)
{
    judge_open(self->judge, number);
    const index_ban_t *ban = index_find_ban(self->index, number, nid);
    guard_verdict_t verdict = judge_ban(self->judge, number, ban);
    const index_ban_t before = *ban; /* it may have ended, and go */
    told_t told = settle(self, number);
    look_at_near(self, number);
    if (verdict.outcome == GUARD_STANDS)
        count_told(self, told);
    else
        self->outcomes[verdict.outcome]++;
    if (verdict.outcome != GUARD_STANDS)
        note_ban(self, number, CHRONICLE_ARRIVED, &before, verdict.until_ms,
                 guard_outcome_name(verdict.outcome));
    else if (told != TOLD_LINE && told != TOLD_COUNT) /* a line is noted as it is written */
        note_ban(self, number, CHRONICLE_ARRIVED, &before, verdict.until_ms, told_names[told]);
}

void standing_count_known(standing_t *self)
{
    self->told[TOLD_HELD]++;
}

void standing_count(standing_t *self, guard_outcome_t outcome)
{
    self->outcomes[outcome]++;
}

/* An address of which nothing is left goes; not while its line may be taken back. */
static void visit(standing_t *self, uint32_t number)
{
    count_told(self, settle(self, number) == TOLD_LINE ? TOLD_LINE : TOLD_COUNT);
    index_tidy(self->index, number);
}

void standing_changed(void *arg, uint32_t number)
{
    visit(arg, number);
}

/* ---- pardons and allowances ---- */

/* The one address right away; of a network, all that may lie in it. */
void standing_note_grace(standing_t *self, const grace_entry_t *grace)
{
    if (grace->kind == EVENT_ALLOW && grace->until_ms < self->allowed_until_ms)
        self->allowed_until_ms = grace->until_ms;
    if (!self->begun)
        return;
    uint32_t slot = index_find(self->index, &grace->network);
    if (slot != INDEX_NONE) {
        look_at_near(self, slot);
        visit(self, slot);
    }
    if (!addr_is_host(&grace->network))
        standing_sweep(self);
}

/* What was allowed is not any more. */
static void step_graces(standing_t *self)
{
    if (self->steady_now.ms < self->allowed_until_ms)
        return;
    self->allowed_until_ms = graces_next_end_ms(self->graces, self->steady_now);
    standing_sweep(self);
}

/* ---- lifted by hand ---- */

/* All that stood then; a ban that began later counts. */
static bool mark_by_hand(standing_t *self, uint32_t number, int64_t at_ms)
{
    bool marked = false;
    judge_open(self->judge, number);
    for (index_ban_t *ban = index_first(self->index, number); ban != NULL;
         ban = index_next(self->index, ban)) {
        guard_verdict_t verdict = judge_ban(self->judge, number, ban);
        if (verdict.outcome != GUARD_STANDS || verdict.begin_ms > at_ms)
            continue;
        const memo_ban_t *known = memo_ban(self->memo, ban->nid);
        memo_ban_t memo = known != NULL ? *known : (memo_ban_t){.nid = ban->nid};
        memo.lifted_ms = at_ms;
        if (memo.until_ms < verdict.until_ms)
            memo.until_ms = verdict.until_ms;
        memo_set_ban(self->memo, &memo);
        ban->lifted = true;
        marked = true;
    }
    return marked;
}

bool standing_lift_by_hand(standing_t *self, uint32_t number, int64_t at_ms)
{
    index_slot_t *slot = index_slot(self->index, number);
    if ((slot->flags & INDEX_ASKED) != 0 || !mark_by_hand(self, number, at_ms))
        return false;
    set_waiting(self, slot, false);
    sink_note_free(self->sink, number);
    note(self, number, CHRONICLE_BY_HAND, NULL);
    visit(self, number);
    return true;
}

void standing_untold(void *arg, uint32_t slot)
{
    standing_t *self = arg;
    self->told[TOLD_LINE]--;
    note(self, slot, CHRONICLE_UNWRITTEN, NULL);
    index_set_due(self->index, slot, now_s(self)); /* soon again */
}

/* ---- steps ---- */

void standing_begin(standing_t *self)
{
    self->begun = true;
    standing_sweep(self);
}

/* A ring: however often it is asked for, each slot has its turn. */
void standing_sweep(standing_t *self)
{
    self->to_sweep = index_reach(self->index);
}

static bool is_over(mono_t until)
{
    return mono_now().ms >= until.ms;
}

void standing_lifted(standing_t *self, uint32_t number, uint32_t again_s)
{
    view_t view = look(self, number);
    if (again_s == 0 || view.strongest != NULL)
        visit(self, number);
    else
        index_set_due(self->index, number, again_s);
}

static bool step_due(standing_t *self, mono_t until)
{
    uint32_t number;
    for (int i = 0; (number = index_due(self->index, self->now)) != INDEX_NONE; i++) {
        visit(self, number);
        if (sink_is_full(self->sink) || (i % STEP_SLOTS == 0 && is_over(until)))
            return true;
    }
    return false;
}

static bool step_sweep(standing_t *self, mono_t until)
{
    for (int i = 1; self->to_sweep > 0; i++) {
        uint32_t number = self->sweeping < index_reach(self->index) ? self->sweeping : 0;
        self->sweeping = number + 1;
        self->to_sweep--;
        if ((index_slot(self->index, number)->flags & INDEX_FREE) == 0)
            visit(self, number);
        if (sink_is_full(self->sink) || (i % STEP_SLOTS == 0 && is_over(until)))
            return true;
    }
    return false;
}

/* What waited has its turn: it may have ended, or be held, by now. Returns whether a line was
 * written. */
static bool take_turn(standing_t *self, uint32_t number)
{
    index_slot_t *slot = index_slot(self->index, number);
    bool written = false;
    if ((slot->flags & INDEX_WAITS) == 0 || (slot->flags & INDEX_FREE) != 0)
        return false;
    set_waiting(self, slot, false);
    if (service_settings(self->service)->guard.dry_run != 0)
        return false;
    view_t view = look(self, number);
    if (view.strongest == NULL)
        self->outcomes[GUARD_EXPIRED]++;
    else if (slot->held_until_s > now_s(self) + renewal_s(self))
        self->told[TOLD_HELD]++;
    else {
        write_line(self, number, &view);
        self->told[TOLD_LINE]++;
        written = true;
    }
    index_set_due(self->index, number, due_of(self, slot, &view));
    index_tidy(self->index, number);
    return written;
}

/* Returns whether the pace allows more now. */
static bool step_backlog(standing_t *self, bool catching_up)
{
    uint32_t number;
    if (backlog_size(self->backlog) == 0)
        return false;
    int64_t room = sink_room(self->sink, catching_up);
    int64_t lines = 0;
    for (int i = 0; i < STEP_TURNS && lines < room && !sink_is_full(self->sink); i++) {
        if (!backlog_pop(self->backlog, &number))
            return false;
        lines += take_turn(self, number);
    }
    return lines < room;
}

bool standing_step(standing_t *self, bool catching_up)
{
    mono_t until = {mono_now().ms + STEP_MS};
    if (!self->begun || sink_is_full(self->sink))
        return false;
    step_graces(self);
    bool more = step_due(self, until);
    if (!more && self->to_sweep > 0)
        more = step_sweep(self, until);
    return step_backlog(self, catching_up) || more;
}

/* ---- status ---- */

size_t standing_backlog(const standing_t *self)
{
    return self->waiting;
}

void standing_add_count(json_t *outcomes, const char *name, uint64_t count)
{
    if (count > 0)
        json_object_set_new(outcomes, name, json_integer((json_int_t)count));
}

void standing_status(const standing_t *self, json_t *status)
{
    json_t *outcomes = json_object();
    json_object_set_new(outcomes, told_names[TOLD_LINE],
                        json_integer((json_int_t)self->told[TOLD_LINE]));
    for (int i = TOLD_LINE + 1; i < TOLD_COUNT; i++)
        standing_add_count(outcomes, told_names[i], self->told[i]);
    for (int i = GUARD_STANDS + 1; i < GUARD_OUTCOME_COUNT; i++)
        standing_add_count(outcomes, guard_outcome_name((guard_outcome_t)i), self->outcomes[i]);
    json_object_set_new(status, "outcomes", outcomes);
    json_object_set_new(status, "clocks_ahead", judge_clocks(self->judge));
    json_object_set_new(status, "running", json_integer((json_int_t)index_bans(self->index)));
    json_object_set_new(status, "held", json_integer((json_int_t)sink_held(self->sink)));
    json_object_set_new(status, "backlog", json_integer((json_int_t)self->waiting));
    json_object_set_new(status, "short_of_quorum", json_integer((json_int_t)self->short_of_quorum));
    json_object_set_new(status, "to_let_go", json_integer((json_int_t)lifts_waiting(self->lifts)));
    json_object_set_new(status, "let_go", json_integer((json_int_t)lifts_done(self->lifts)));
}
