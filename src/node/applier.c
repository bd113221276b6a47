#include "applier.h"

#include "allowed_file.h"
#include "attention.h"
#include "by_hand.h"
#include "census.h"
#include "chronicle_answer.h"
#include "entries.h"
#include "jail_health.h"
#include "name_orders.h"
#include "orders.h"
#include "origin_orders.h"
#include "questions.h"
#include "refill.h"
#include "stored.h"
#include "ticker.h"
#include "watchers.h"

#include <czmq.h>
#include <inttypes.h>

#define SLICE_BATCHES  64
#define FEW_BATCHES    8    /* a feed with no more behind its cursor goes before those with many */
#define REFILL_BATCHES 64   /* in a step, while others wait */
#define BUILD_BATCHES  4096 /* at the start */
#define TICK_MS        1000
#define DRAIN_MS       100 /* how often the backlog gets what the pace allows */
#define REFRESH_MS     60000
#define SWEEP_MS       600000
#define PREFIX_MIN     8 /* of what a jail may hold */

/* A jump of the wall clock, either way, by less changes nothing that was decided. */
#define CLOCK_JUMP_MS 10000

struct applier {
    service_t *service;
    feed_t *feed;
    wire_t *wire;
    index_t *index;
    graces_t *graces;
    sink_t *sink;
    jailer_t *jailer;
    chronicle_t *chronicle;
    lifts_t *lifts;
    census_t *census;
    watchers_t *watchers;
    uint64_t starts; /* of fail2ban, that the census knows of */
    memo_t *memo;
    judge_t *judge;
    local_lifts_t *local_lifts;
    allowed_file_t *allowed_file;
    standing_t *standing;
    admission_t *admission;
    entries_t *entries;
    allowed_names_t *allowed_names;
    refill_t *refill;
    ticker_t *ticker;
    bool behind;  /* some of what is stored was not taken as it came; if not, only ticks look */
    bool failing; /* the log or the database says no, and it was said; only ticks try */
    bool failed;  /* in this tick */
    bool armed;   /* a timer will go on */
    mono_t started_at;
    mono_t refreshed_at;
    mono_t swept_at;
    int64_t run;      /* told to who watches: numbers of events begin anew with it */
    int64_t clock_ms; /* wall clock beyond the monotonic one, at the last tick */
};

static int fail(applier_t *self, const fault_t *fault)
{
    if (!self->failing)
        log_warnx("peers' bans wait: %s", fault->text);
    self->failing = self->failed = true;
    return -1;
}

static int finish(applier_t *self)
{
    fault_t fault;
    if (!sink_is_begun(self->sink))
        return 0;
    return sink_finish(self->sink, standing_untold, self->standing, &fault) == 0
               ? 0
               : fail(self, &fault);
}

/* ---- what the replica gets ---- */

/* Of the batch that was decoded last. */
static void take_batch(applier_t *self, const feed_ref_t *feed, const wire_batch_t *batch)
{
    event_t event;
    uint16_t origin = index_origin(self->index, &feed->id.origin);
    entries_place_t at = {
        .feed = feed,
        .seq = batch->seq,
        .origin = origin,
    };
    if (*memo_origin(self->memo, origin)->name == '\0')
        judge_note_name(self->judge, origin);
    admission_hear(self->admission, feed, origin, standing_steady(self->standing));
    for (; at.number < batch->event_count; at.number++) {
        event_error_t malformed = wire_event(self->wire, at.number, &event);
        entries_take(self->entries, &at, malformed, &event);
    }
    sink_move(self->sink, feed, batch->seq);
}

/* A batch as it comes in, if it is its feed's turn: it need not be read back. What it brings
 * becomes true with all else of this burst, once the replica has committed it. */
static void stored(void *arg, const arrival_t *in, const feed_ref_t *feed,
                   const wire_batch_t *batch)
{
    applier_t *self = arg;
    (void)in;
    if (feed_is_ours(self->feed, &feed->id.origin))
        return; /* recall's */
    if (self->failing || !sink_takes(self->sink, feed, batch->seq)) {
        self->behind = true;
        return;
    }
    standing_look_at_clock(self->standing);
    take_batch(self, feed, batch);
}

static void taken_back(void *arg)
{
    applier_t *self = arg;
    self->behind = true;
    sink_take_back(self->sink, standing_untold, self->standing);
    entries_drop_lost(self->entries);
}

/* ---- what the replica has got ---- */

static void read_batch(applier_t *self, const feed_ref_t *feed, uint64_t seq)
{
    wire_batch_t batch;
    if (stored_batch(self->feed, self->wire, feed, seq, &batch) == STORED_BATCH)
        take_batch(self, feed, &batch);
    else
        sink_move(self->sink, feed, seq);
}

/* The next batch behind seq; have + 1 if there is none. Under the floor, where some were never
 * fetched and others are gone, it is the next one that is stored: what carries its bans now may be
 * among what did not come, and never will. */
static uint64_t next_batch(applier_t *self, const feed_ref_t *feed, uint64_t seq)
{
    if (seq + 1 >= feed->floor)
        return seq + 1;
    int64_t next = feed_next(self->feed, feed, seq);
    if (next == -1)
        fatalx("%s", state_failure(feed_state(self->feed)));
    return next > 0 ? (uint64_t)next : feed->have + 1;
}

/* Take what one feed has behind its cursor, as far as the slice has room. Returns whether there is
 * more. */
static bool take_feed(applier_t *self, const feed_ref_t *feed)
{
    uint64_t seq = feed->cursor;
    for (int i = 0; i < SLICE_BATCHES && seq < feed->have; i++) {
        if (sink_is_full(self->sink))
            break;
        uint64_t next = next_batch(self, feed, seq);
        seq = next <= feed->have ? next : feed->have;
        if (next <= feed->have)
            read_batch(self, feed, next);
        else
            sink_move(self->sink, feed, seq);
    }
    return seq < feed->have;
}

/* Fill the slice from feeds that have few batches behind their cursor, or from those with many.
 * Returns whether there is more. */
static bool take_feeds(applier_t *self, bool many)
{
    bool more = false;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        if (feed_is_ours(self->feed, &feed->id.origin) || feed->cursor >= feed->have ||
            (feed->have - feed->cursor > FEW_BATCHES) != many)
            continue;
        if (sink_is_full(self->sink))
            return true;
        if (take_feed(self, feed))
            more = true;
    }
    return more;
}

/* One slice. Live bans do not wait for another origin's long history. Returns whether there is
 * more, -1 if it failed. */
static int run_feeds(applier_t *self)
{
    bool more = take_feeds(self, false);
    more = take_feeds(self, true) || more;
    if (finish(self) == -1)
        return -1;
    self->behind = more;
    return more;
}

static bool is_catching_up(const applier_t *self)
{
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        if (!feed->own_db && feed->head_seq > feed->cursor)
            return true;
    }
    return false;
}

/* ---- when ---- */

static void advanced(void *arg);

static int go_on(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    ((applier_t *)arg)->armed = false;
    advanced(arg);
    return 0;
}

static void arm(applier_t *self, size_t delay_ms)
{
    if (!self->armed)
        self->armed = zloop_timer(service_loop(self->service), delay_ms, 1, go_on, self) != -1;
}

/* Nobody answers for a jail without its fail2ban: what is to be let go waits. */
static bool run_jail(applier_t *self)
{
    if (!applier_sees_fail2ban(self))
        return false;
    if (self->starts != sink_starts(self->sink)) {
        self->starts = sink_starts(self->sink);
        census_begin(self->census);
        watchers_begin(self->watchers);
    }
    watchers_step(self->watchers);
    if (service_settings(self->service)->guard.dry_run == 0)
        lifts_step(self->lifts);
    /* Whoever is let go, and fails again, is to be found in the file. */
    bool more = !allowed_file_lags(self->allowed_file) && local_lifts_step(self->local_lifts);
    return census_step(self->census) || more;
}

/* What was taken as it came in becomes true first, or what was left half done; then a step of each
 * kind, others on the loop in between. */
static void run(applier_t *self)
{
    int events = 0;
    standing_look_at_clock(self->standing);
    if (finish(self) == -1 || (self->behind && (events = run_feeds(self)) == -1))
        return;
    bool more = admission_step(self->admission);
    more = standing_step(self->standing, is_catching_up(self)) || more;
    more = run_jail(self) || more;
    if (finish(self) == -1)
        return;
    if (refill_goes_on(self->refill) && !refill_step(self->refill, REFILL_BATCHES))
        standing_sweep(self->standing);
    if (more || events || refill_goes_on(self->refill))
        arm(self, 1);
    else if (standing_backlog(self->standing) > 0)
        arm(self, DRAIN_MS);
}

static void advanced(void *arg)
{
    applier_t *self = arg;
    if (!self->failing)
        run(self);
}

static int64_t clock_beyond(void)
{
    return wall_now().ms - mono_now().ms;
}

/* While the clock was ahead, bans seemed to be over that run; while it was behind, others seemed to
 * begin in the future. */
static void look_for_jump(applier_t *self)
{
    int64_t ahead_ms = clock_beyond() - self->clock_ms;
    self->clock_ms += ahead_ms;
    if (llabs(ahead_ms) < CLOCK_JUMP_MS)
        return;
    if (ahead_ms > 0)
        memo_forget_begins(self->memo);
    log_warnx("the clock went %s by %" PRId64 " s: all bans that still count are decided anew",
              ahead_ms > 0 ? "on" : "back", (int64_t)((llabs(ahead_ms) + MS_PER_S / 2) / MS_PER_S));
    refill_begin(self->refill);
}

/* A tenth of an origin's share has become free: who found no place may find one. */
static void look_for_places(applier_t *self)
{
    const settings_t *settings = service_settings(self->service);
    size_t share = (size_t)settings->guard.max_active;
    size_t all = (size_t)settings->guard.max_bans;
    for (size_t i = 0; i < index_origin_count(self->index) && !refill_goes_on(self->refill); i++) {
        const index_origin_t *origin = index_origin_at(self->index, (uint16_t)i);
        if (origin->left_out > 0 && origin->bans <= share - share / 10 &&
            index_bans(self->index) <= all - all / 10)
            refill_begin(self->refill);
    }
}

static void now_and_then(applier_t *self)
{
    if (mono_since_ms(self->refreshed_at) >= REFRESH_MS) {
        judge_refresh(self->judge);
        standing_sweep(self->standing);
        look_for_places(self);
        memo_keep_rates(self->memo);
        self->refreshed_at = mono_now();
    }
    if (mono_since_ms(self->swept_at) >= SWEEP_MS) {
        if (sink_sweep(self->sink) == -1 || memo_sweep(self->memo, wall_now()) == -1)
            log_warn("ended bans stay in the state directory for now");
        self->swept_at = mono_now();
    }
}

static void tick(void *arg)
{
    applier_t *self = arg;
    fault_t fault;
    now_and_then(self);
    standing_look_at_clock(self->standing);
    admission_tick(self->admission, standing_steady(self->standing));
    self->failed = false;
    self->behind = true;
    look_for_jump(self);
    if (judge_take_news(self->judge))
        standing_sweep(self->standing);
    allowed_file_tend(self->allowed_file, wall_now());
    if (sink_check(self->sink, &fault) == -1)
        fail(self, &fault);
    else
        run(self);
    if (self->failing && !self->failed) {
        log_info("peers' bans are written again");
        self->failing = false;
    }
}

/* ---- the jail ---- */

static void lifted(void *arg, uint32_t slot, uint32_t again_s)
{
    standing_lifted(((applier_t *)arg)->standing, slot, again_s);
}

static void differs(void *arg, uint32_t slot)
{
    standing_changed(((applier_t *)arg)->standing, slot);
}

static void jailer_done(void *arg)
{
    arm(arg, 1);
}

static void start_jailer(applier_t *self, const settings_t *settings)
{
    self->jailer = jailer_new(service_loop(self->service), settings);
    const lifts_parts_t lifts = {self->index, self->sink, self->jailer,   lifted,
                                 jailer_done, self,       self->chronicle};
    self->lifts = lifts_new(&lifts, settings);
    const census_parts_t census = {self->index, self->sink,  self->jailer,
                                   differs,     jailer_done, self};
    self->census = census_new(&census, settings);
    self->watchers = watchers_new(self->jailer, settings, jailer_done, self);
}

static void start_local(applier_t *self, const settings_t *settings)
{
    const local_lifts_parts_t parts = {
        .index = self->index,
        .judge = self->judge,
        .jailer = self->jailer,
        .ours = index_origin(self->index, &service_cert(self->service)->sign_public),
        .done = jailer_done,
        .arg = self,
    };
    self->local_lifts = local_lifts_new(&parts, settings);
    self->allowed_file = allowed_file_new(self->graces, self->judge, settings);
}

static int start_names(applier_t *self, fault_t *fault)
{
    const allowed_names_parts_t parts = {
        .service = self->service,
        .graces = self->graces,
        .standing = self->standing,
        .entries = self->entries,
        .ours = index_origin(self->index, &service_cert(self->service)->sign_public),
        .done = jailer_done,
        .arg = self,
    };
    self->allowed_names = allowed_names_new(&parts, fault);
    return self->allowed_names != NULL ? 0 : -1;
}

/* ---- start ---- */

void applier_note_own(applier_t *self, const ban_t *ban, int64_t nid)
{
    entries_take_own(self->entries, ban, nid);
}

void applier_note_own_grace(applier_t *self, const event_t *event)
{
    entries_take_own_grace(self->entries, event);
}

/* A slice that is half done is finished first: the order is stored behind the lines it follows. */
int applier_note_lift_by_hand(applier_t *self, const addr_t *address, int64_t at_ms)
{
    standing_look_at_clock(self->standing);
    uint32_t slot = index_find(self->index, address);
    if (slot == INDEX_NONE || !standing_lift_by_hand(self->standing, slot, at_ms))
        return 0;
    arm(self, 1);
    return finish(self) == 0 ? 1 : -1;
}

/* fail2ban cuts a time off when it lists its bans, and has rounded what it restored. */
static bool is_same_second(int64_t exact_ms, int64_t second_ms)
{
    return exact_ms >= second_ms - MS_PER_S / 2 && exact_ms < second_ms + MS_PER_S;
}

int64_t applier_exact_time(const applier_t *self, const ban_t *ban)
{
    uint32_t slot = index_find(self->index, &ban->address);
    const index_ban_t *known = slot != INDEX_NONE ? index_first(self->index, slot) : NULL;
    for (; known != NULL; known = index_next(self->index, known))
        if (is_same_second(known->time_ms, ban->time_ms) &&
            feed_is_ours(self->feed, &index_origin_at(self->index, known->origin)->key) &&
            strcmp(index_jail(self->index, known), ban->jail) == 0)
            return known->time_ms;
    return ban->time_ms;
}

/* By what it was told. */
static bool is_held(const applier_t *self, const addr_t *address)
{
    uint32_t slot = index_find(self->index, address);
    return slot != INDEX_NONE &&
           index_slot(self->index, slot)->held_until_s > (uint32_t)(wall_now().ms / MS_PER_S);
}

bool applier_is_echo(applier_t *self, const char *jail, const addr_t *address)
{
    addr_t around = *address;
    if (!watchers_has(self->watchers, jail))
        return false;
    for (uint8_t prefix = address->prefix; prefix >= PREFIX_MIN; prefix--) {
        addr_from_bytes(address->bytes, addr_size(address), prefix, &around);
        if (is_held(self, &around)) {
            watchers_note_echo(self->watchers, jail, address);
            return true;
        }
    }
    return false;
}

static void set_limits(applier_t *self)
{
    const index_limits_t limits = {
        .all = (size_t)service_settings(self->service)->guard.max_bans,
        .of_origin = (size_t)service_settings(self->service)->guard.max_active,
    };
    index_set_limits(self->index, &limits);
}

static void start_deciding(applier_t *self)
{
    const standing_parts_t standing = {self->service, self->index, self->graces, self->judge,
                                       self->memo,    self->sink,  self->lifts,  self->chronicle};
    self->standing = standing_new(&standing);
    self->admission =
        admission_new(self->service, self->index, self->memo, standing_changed, self->standing);
    const entries_parts_t entries = {
        .service = self->service,
        .index = self->index,
        .graces = self->graces,
        .judge = self->judge,
        .memo = self->memo,
        .admission = self->admission,
        .standing = self->standing,
        .local_lifts = self->local_lifts,
        .chronicle = self->chronicle,
    };
    self->entries = entries_new(&entries);
    self->refill = refill_new(self->service, self->index, self->entries);
}

static void build(applier_t *self)
{
    mono_t begun = mono_now();
    refill_begin(self->refill);
    while (refill_step(self->refill, BUILD_BATCHES))
        continue;
    if (index_bans(self->index) > 0)
        log_info("%zu bans that run were read back in %" PRId64 " ms", index_bans(self->index),
                 mono_since_ms(begun));
    standing_begin(self->standing);
}

applier_t *applier_new(service_t *service, fault_t *fault)
{
    applier_t *self = xcalloc(1, sizeof *self);
    const settings_t *settings = service_settings(service);
    const mesh_follower_t follower = {stored, taken_back, advanced, self};
    fault_t log_fault;
    self->service = service;
    self->feed = service_feed(service);
    self->wire = service_wire(service);
    self->behind = true;
    self->started_at = self->refreshed_at = self->swept_at = mono_now();
    self->clock_ms = clock_beyond();
    self->run = wall_now().ms;
    self->index = index_new();
    self->graces = graces_new();
    self->chronicle = chronicle_new();
    set_limits(self);
    self->memo = memo_new(self->feed, self->index, fault);
    if (self->memo != NULL)
        self->sink = sink_new(self->feed, self->index, self->memo, settings, fault);
    if (self->sink == NULL) {
        applier_destroy(&self);
        return NULL;
    }
    self->judge = judge_new(service, self->index, self->graces, self->memo);
    start_jailer(self, settings);
    start_local(self, settings);
    start_deciding(self);
    build(self);
    if (start_names(self, fault) == -1) {
        applier_destroy(&self);
        return NULL;
    }
    if (sink_check(self->sink, &log_fault) == -1)
        fail(self, &log_fault);
    mesh_follow(service_mesh(self->service), &follower);
    self->ticker = ticker_new(service_loop(service), TICK_MS, tick, self);
    arm(self, 1);
    return self;
}

void applier_destroy(applier_t **self_p)
{
    applier_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    mesh_follow(service_mesh(self->service), NULL);
    ticker_destroy(&self->ticker);
    allowed_names_destroy(&self->allowed_names);
    refill_destroy(&self->refill);
    entries_destroy(&self->entries);
    admission_destroy(&self->admission);
    standing_destroy(&self->standing);
    allowed_file_destroy(&self->allowed_file);
    local_lifts_destroy(&self->local_lifts);
    judge_destroy(&self->judge);
    census_destroy(&self->census);
    watchers_destroy(&self->watchers);
    lifts_destroy(&self->lifts);
    jailer_destroy(&self->jailer);
    sink_destroy(&self->sink);
    memo_destroy(&self->memo);
    graces_destroy(&self->graces);
    index_destroy(&self->index);
    chronicle_destroy(&self->chronicle);
    free(self);
}

void applier_reload(applier_t *self)
{
    judge_refresh(self->judge);
    sink_set(self->sink, service_settings(self->service));
    jailer_set(self->jailer, service_settings(self->service));
    lifts_set(self->lifts, service_settings(self->service));
    census_set(self->census, service_settings(self->service));
    watchers_set(self->watchers, service_settings(self->service));
    local_lifts_set(self->local_lifts, service_settings(self->service));
    allowed_file_set(self->allowed_file, service_settings(self->service));
    allowed_names_reload(self->allowed_names);
    set_limits(self);
    standing_sweep(self->standing);
    look_for_places(self);
}

/* ---- the operator ---- */

static json_t *carry_out_on_origin(applier_t *self, const char *line)
{
    const origin_orders_parts_t parts = {self->index, self->memo, self->admission, self->standing};
    return origin_orders_carry_out(&parts, line);
}

static json_t *tell_events(applier_t *self, const char *line)
{
    const chronicle_parts_t parts = {self->chronicle, self->index, self->judge, self->run};
    return chronicle_answer(&parts, line);
}

json_t *applier_command(applier_t *self, const char *line)
{
    const questions_parts_t parts = {self->service, self->index, self->graces,
                                     self->judge,   self->memo,  self->watchers};
    json_t *answer = tell_events(self, line);
    if (answer != NULL)
        return answer;
    standing_look_at_clock(self->standing);
    answer = questions_answer(&parts, line);
    if (answer != NULL && streq(line, "allowances"))
        json_object_set_new(answer, "names", allowed_names_json(self->allowed_names));
    if (answer == NULL)
        answer = name_orders_carry_out(self->allowed_names, line);
    if (answer == NULL)
        answer = orders_carry_out(&parts, self->entries, line);
    if (answer == NULL)
        answer = carry_out_on_origin(self, line);
    if (answer == NULL)
        answer = by_hand_carry_out(&parts, self->entries, line);
    arm(self, 1);
    return answer;
}

/* ---- status ---- */

bool applier_sees_fail2ban(const applier_t *self)
{
    return strcmp(sink_fail2ban(self->sink), "runs") == 0;
}

static json_t *shared_log(const applier_t *self)
{
    const shared_log_counts_t *counts = sink_log_counts(self->sink);
    return json_pack("{s:s, s:b, s:s, s:I, s:I, s:I}", "path",
                     service_settings(self->service)->shared.log, "writable", !self->failing,
                     "fail2ban", sink_fail2ban(self->sink), "renamed", (json_int_t)counts->renamed,
                     "truncated", (json_int_t)counts->truncated, "lines_again",
                     (json_int_t)counts->lines_again);
}

/* Bans of each origin that wait for its rate. */
static json_t *waiting_of_origins(const applier_t *self, json_t *status)
{
    json_t *all = json_object();
    for (size_t i = 0; i < index_origin_count(self->index); i++) {
        const index_origin_t *origin = index_origin_at(self->index, (uint16_t)i);
        if (origin->waiting == 0)
            continue;
        const char *name = judge_name(self->judge, &origin->key);
        json_object_set_new(all, name, json_integer(origin->waiting));
        attention_add(
            status,
            "%s bans faster than guard / rate: %" PRIu32
            " of its bans wait. Look at them (banmesh bans --origin %s); banmesh admit %s "
            "lets them in at once",
            name, origin->waiting, name, name);
    }
    return all;
}

static void add_name(void *arg, const fault_t *fault)
{
    attention_add(arg, "allowed by name: %s", fault->text);
}

/* What this host's own jails hear of allowances. */
static void local_status(const applier_t *self, json_t *status)
{
    allowed_names_complain(self->allowed_names, add_name, status);
    if (allowed_file_fault(self->allowed_file) != NULL)
        attention_add(status, "%s", allowed_file_fault(self->allowed_file)->text);
    json_object_set_new(status, "local_allow",
                        json_pack("{s:I, s:I, s:I}", "in_file",
                                  (json_int_t)allowed_file_count(self->allowed_file), "lifted",
                                  (json_int_t)local_lifts_done(self->local_lifts), "waiting",
                                  (json_int_t)local_lifts_waiting(self->local_lifts)));
}

static void jail_status(const applier_t *self, json_t *status)
{
    const jail_health_t health = {
        .settings = service_settings(self->service),
        .sink = self->sink,
        .jailer = self->jailer,
        .watchers = self->watchers,
        .uptime_ms = mono_since_ms(self->started_at),
    };
    jail_health_status(&health, status);
    if (self->failing)
        attention_first(status, "%s cannot be written: bans of peers wait",
                        health.settings->shared.log);
}

void applier_status(const applier_t *self, json_t *status)
{
    local_status(self, status);
    judge_attention(self->judge, status);
    if (service_settings(self->service)->guard.dry_run != 0)
        attention_add(status,
                      "a dry run (guard / dry-run): bans of peers are decided, and nothing is "
                      "told to the shared jail");
    jail_status(self, status);
    standing_status(self->standing, status);
    entries_status(self->entries, json_object_get(status, "outcomes"));
    json_object_set_new(status, "over_rate", waiting_of_origins(self, status));
    json_object_set_new(status, "census", census_status(self->census));
    json_object_set_new(status, "fail2ban_jails", watchers_status(self->watchers));
    json_object_set_new(status, "shared_log", shared_log(self));
}
