#include "applier.h"

#include "attention.h"
#include "desk.h"
#include "refill.h"
#include "stored.h"
#include "ticker.h"

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
    desk_t parts; /* the rooms that decide */
    feed_t *feed;
    wire_t *wire;
    uint64_t starts; /* of fail2ban, that the census knows of */
    refill_t *refill;
    ticker_t *ticker;
    bool behind;  /* some of what is stored was not taken as it came; if not, only ticks look */
    bool failing; /* the log or the database says no, and it was said; only ticks try */
    bool failed;  /* in this tick */
    bool armed;   /* a timer will go on */
    mono_t refreshed_at;
    mono_t swept_at;
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
    if (!sink_is_begun(self->parts.sink))
        return 0;
    return sink_finish(self->parts.sink, standing_untold, self->parts.standing, &fault) == 0
               ? 0
               : fail(self, &fault);
}

/* ---- what the replica gets ---- */

/* Of the batch that was decoded last. */
static void take_batch(applier_t *self, const feed_ref_t *feed, const wire_batch_t *batch)
{
    event_t event;
    uint16_t origin = index_origin(self->parts.index, &feed->id.origin);
    entries_place_t at = {
        .feed = feed,
        .seq = batch->seq,
        .origin = origin,
    };
    if (*memo_origin(self->parts.memo, origin)->name == '\0')
        judge_note_name(self->parts.judge, origin);
    admission_hear(self->parts.admission, feed, origin, standing_steady(self->parts.standing));
    for (; at.number < batch->event_count; at.number++) {
        event_error_t malformed = wire_event(self->wire, at.number, &event);
        entries_take(self->parts.entries, &at, malformed, &event);
    }
    sink_move(self->parts.sink, feed, batch->seq);
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
    if (self->failing || !sink_takes(self->parts.sink, feed, batch->seq)) {
        self->behind = true;
        return;
    }
    standing_look_at_clock(self->parts.standing);
    take_batch(self, feed, batch);
}

static void taken_back(void *arg)
{
    applier_t *self = arg;
    self->behind = true;
    sink_take_back(self->parts.sink, standing_untold, self->parts.standing);
    entries_drop_lost(self->parts.entries);
}

/* ---- what the replica has got ---- */

static void read_batch(applier_t *self, const feed_ref_t *feed, uint64_t seq)
{
    wire_batch_t batch;
    if (stored_batch(self->feed, self->wire, feed, seq, &batch) == STORED_BATCH)
        take_batch(self, feed, &batch);
    else
        sink_move(self->parts.sink, feed, seq);
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
        if (sink_is_full(self->parts.sink))
            break;
        uint64_t next = next_batch(self, feed, seq);
        seq = next <= feed->have ? next : feed->have;
        if (next <= feed->have)
            read_batch(self, feed, next);
        else
            sink_move(self->parts.sink, feed, seq);
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
        if (sink_is_full(self->parts.sink))
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
        self->armed =
            zloop_timer(service_loop(self->parts.service), delay_ms, 1, go_on, self) != -1;
}

/* Nobody answers for a jail without its fail2ban: what is to be let go waits. */
static bool run_jail(applier_t *self)
{
    if (!applier_sees_fail2ban(self))
        return false;
    if (self->starts != sink_starts(self->parts.sink)) {
        self->starts = sink_starts(self->parts.sink);
        census_begin(self->parts.census);
        watchers_begin(self->parts.watchers);
    }
    watchers_step(self->parts.watchers);
    if (service_settings(self->parts.service)->guard.dry_run == 0)
        lifts_step(self->parts.lifts);
    /* Whoever is let go, and fails again, is to be found in the file. */
    bool more =
        !allowed_file_lags(self->parts.allowed_file) && local_lifts_step(self->parts.local_lifts);
    return census_step(self->parts.census) || more;
}

/* What was taken as it came in becomes true first, or what was left half done; then a step of each
 * kind, others on the loop in between. */
static void run(applier_t *self)
{
    int events = 0;
    standing_look_at_clock(self->parts.standing);
    if (finish(self) == -1 || (self->behind && (events = run_feeds(self)) == -1))
        return;
    bool more = admission_step(self->parts.admission);
    more = standing_step(self->parts.standing, is_catching_up(self)) || more;
    more = run_jail(self) || more;
    if (finish(self) == -1)
        return;
    if (refill_goes_on(self->refill) && !refill_step(self->refill, REFILL_BATCHES))
        standing_sweep(self->parts.standing);
    if (more || events || refill_goes_on(self->refill))
        arm(self, 1);
    else if (standing_backlog(self->parts.standing) > 0)
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
        memo_forget_begins(self->parts.memo);
    log_warnx("the clock went %s by %" PRId64 " s: all bans that still count are decided anew",
              ahead_ms > 0 ? "on" : "back", (int64_t)((llabs(ahead_ms) + MS_PER_S / 2) / MS_PER_S));
    refill_begin(self->refill);
}

/* A tenth of an origin's share has become free: who found no place may find one. */
static void look_for_places(applier_t *self)
{
    const settings_t *settings = service_settings(self->parts.service);
    size_t share = (size_t)settings->guard.max_active;
    size_t all = (size_t)settings->guard.max_bans;
    for (size_t i = 0; i < index_origin_count(self->parts.index) && !refill_goes_on(self->refill);
         i++) {
        const index_origin_t *origin = index_origin_at(self->parts.index, (uint16_t)i);
        if (origin->left_out > 0 && origin->bans <= share - share / 10 &&
            index_bans(self->parts.index) <= all - all / 10)
            refill_begin(self->refill);
    }
}

static void now_and_then(applier_t *self)
{
    if (mono_since_ms(self->refreshed_at) >= REFRESH_MS) {
        judge_refresh(self->parts.judge);
        standing_sweep(self->parts.standing);
        look_for_places(self);
        memo_keep_rates(self->parts.memo);
        self->refreshed_at = mono_now();
    }
    if (mono_since_ms(self->swept_at) >= SWEEP_MS) {
        if (sink_sweep(self->parts.sink) == -1 || memo_sweep(self->parts.memo, wall_now()) == -1)
            log_warn("ended bans stay in the state directory for now");
        self->swept_at = mono_now();
    }
}

static void tick(void *arg)
{
    applier_t *self = arg;
    fault_t fault;
    now_and_then(self);
    standing_look_at_clock(self->parts.standing);
    admission_tick(self->parts.admission, standing_steady(self->parts.standing));
    self->failed = false;
    self->behind = true;
    look_for_jump(self);
    if (judge_take_news(self->parts.judge))
        standing_sweep(self->parts.standing);
    allowed_file_tend(self->parts.allowed_file, wall_now());
    if (sink_check(self->parts.sink, &fault) == -1)
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
    standing_lifted(((applier_t *)arg)->parts.standing, slot, again_s);
}

static void differs(void *arg, uint32_t slot)
{
    standing_changed(((applier_t *)arg)->parts.standing, slot);
}

static void jailer_done(void *arg)
{
    arm(arg, 1);
}

static void start_jailer(applier_t *self, const settings_t *settings)
{
    self->parts.jailer = jailer_new(service_loop(self->parts.service), settings);
    const lifts_parts_t lifts = {self->parts.index,    self->parts.sink,
                                 self->parts.jailer,   lifted,
                                 jailer_done,          self,
                                 self->parts.chronicle};
    self->parts.lifts = lifts_new(&lifts, settings);
    const census_parts_t census = {self->parts.index, self->parts.sink, self->parts.jailer,
                                   differs,           jailer_done,      self};
    self->parts.census = census_new(&census, settings);
    self->parts.watchers = watchers_new(self->parts.jailer, settings, jailer_done, self);
}

static void start_local(applier_t *self, const settings_t *settings)
{
    const local_lifts_parts_t parts = {
        .index = self->parts.index,
        .judge = self->parts.judge,
        .jailer = self->parts.jailer,
        .ours = index_origin(self->parts.index, &service_cert(self->parts.service)->sign_public),
        .done = jailer_done,
        .arg = self,
    };
    self->parts.local_lifts = local_lifts_new(&parts, settings);
    self->parts.allowed_file = allowed_file_new(self->parts.graces, self->parts.judge, settings);
}

static int start_names(applier_t *self, fault_t *fault)
{
    const allowed_names_parts_t parts = {
        .service = self->parts.service,
        .graces = self->parts.graces,
        .standing = self->parts.standing,
        .entries = self->parts.entries,
        .ours = index_origin(self->parts.index, &service_cert(self->parts.service)->sign_public),
        .done = jailer_done,
        .arg = self,
    };
    self->parts.allowed_names = allowed_names_new(&parts, fault);
    return self->parts.allowed_names != NULL ? 0 : -1;
}

/* ---- start ---- */

void applier_note_own(applier_t *self, const ban_t *ban, int64_t nid)
{
    entries_take_own(self->parts.entries, ban, nid);
}

void applier_note_own_grace(applier_t *self, const event_t *event)
{
    entries_take_own_grace(self->parts.entries, event);
}

/* A slice that is half done is finished first: the order is stored behind the lines it follows. */
int applier_note_lift_by_hand(applier_t *self, const addr_t *address, int64_t at_ms)
{
    standing_look_at_clock(self->parts.standing);
    uint32_t slot = index_find(self->parts.index, address);
    if (slot == INDEX_NONE || !standing_lift_by_hand(self->parts.standing, slot, at_ms))
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
    uint32_t slot = index_find(self->parts.index, &ban->address);
    const index_ban_t *known = slot != INDEX_NONE ? index_first(self->parts.index, slot) : NULL;
    for (; known != NULL; known = index_next(self->parts.index, known))
        if (is_same_second(known->time_ms, ban->time_ms) &&
            feed_is_ours(self->feed, &index_origin_at(self->parts.index, known->origin)->key) &&
            strcmp(index_jail(self->parts.index, known), ban->jail) == 0)
            return known->time_ms;
    return ban->time_ms;
}

/* By what it was told. */
static bool is_held(const applier_t *self, const addr_t *address)
{
    uint32_t slot = index_find(self->parts.index, address);
    return slot != INDEX_NONE &&
           index_slot(self->parts.index, slot)->held_until_s > (uint32_t)(wall_now().ms / MS_PER_S);
}

bool applier_is_echo(applier_t *self, const char *jail, const addr_t *address)
{
    addr_t around = *address;
    if (!watchers_has(self->parts.watchers, jail))
        return false;
    for (uint8_t prefix = address->prefix; prefix >= PREFIX_MIN; prefix--) {
        addr_from_bytes(address->bytes, addr_size(address), prefix, &around);
        if (is_held(self, &around)) {
            watchers_note_echo(self->parts.watchers, jail, address);
            return true;
        }
    }
    return false;
}

static void set_limits(applier_t *self)
{
    const index_limits_t limits = {
        .all = (size_t)service_settings(self->parts.service)->guard.max_bans,
        .of_origin = (size_t)service_settings(self->parts.service)->guard.max_active,
    };
    index_set_limits(self->parts.index, &limits);
}

static void start_deciding(applier_t *self)
{
    const standing_parts_t standing = {self->parts.service, self->parts.index,
                                       self->parts.graces,  self->parts.judge,
                                       self->parts.memo,    self->parts.sink,
                                       self->parts.lifts,   self->parts.chronicle};
    self->parts.standing = standing_new(&standing);
    self->parts.admission = admission_new(self->parts.service, self->parts.index, self->parts.memo,
                                          standing_changed, self->parts.standing);
    const entries_parts_t entries = {
        .service = self->parts.service,
        .index = self->parts.index,
        .graces = self->parts.graces,
        .judge = self->parts.judge,
        .memo = self->parts.memo,
        .admission = self->parts.admission,
        .standing = self->parts.standing,
        .local_lifts = self->parts.local_lifts,
        .chronicle = self->parts.chronicle,
    };
    self->parts.entries = entries_new(&entries);
    self->refill = refill_new(self->parts.service, self->parts.index, self->parts.entries);
}

static void build(applier_t *self)
{
    mono_t begun = mono_now();
    refill_begin(self->refill);
    while (refill_step(self->refill, BUILD_BATCHES))
        continue;
    if (index_bans(self->parts.index) > 0)
        log_info("%zu bans that run were read back in %" PRId64 " ms",
                 index_bans(self->parts.index), mono_since_ms(begun));
    standing_begin(self->parts.standing);
}

applier_t *applier_new(service_t *service, fault_t *fault)
{
    applier_t *self = xcalloc(1, sizeof *self);
    const settings_t *settings = service_settings(service);
    const mesh_follower_t follower = {stored, taken_back, advanced, self};
    fault_t log_fault;
    self->parts.service = service;
    self->feed = service_feed(service);
    self->wire = service_wire(service);
    self->behind = true;
    self->parts.started_at = self->refreshed_at = self->swept_at = mono_now();
    self->clock_ms = clock_beyond();
    self->parts.run = wall_now().ms;
    self->parts.index = index_new();
    self->parts.graces = graces_new();
    self->parts.chronicle = chronicle_new();
    set_limits(self);
    self->parts.memo = memo_new(self->feed, self->parts.index, fault);
    if (self->parts.memo != NULL)
        self->parts.sink =
            sink_new(self->feed, self->parts.index, self->parts.memo, settings, fault);
    if (self->parts.sink == NULL) {
        applier_destroy(&self);
        return NULL;
    }
    self->parts.judge = judge_new(service, self->parts.index, self->parts.graces, self->parts.memo);
    start_jailer(self, settings);
    start_local(self, settings);
    start_deciding(self);
    build(self);
    if (start_names(self, fault) == -1) {
        applier_destroy(&self);
        return NULL;
    }
    if (sink_check(self->parts.sink, &log_fault) == -1)
        fail(self, &log_fault);
    mesh_follow(service_mesh(self->parts.service), &follower);
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
    mesh_follow(service_mesh(self->parts.service), NULL);
    ticker_destroy(&self->ticker);
    allowed_names_destroy(&self->parts.allowed_names);
    refill_destroy(&self->refill);
    entries_destroy(&self->parts.entries);
    admission_destroy(&self->parts.admission);
    standing_destroy(&self->parts.standing);
    allowed_file_destroy(&self->parts.allowed_file);
    local_lifts_destroy(&self->parts.local_lifts);
    judge_destroy(&self->parts.judge);
    census_destroy(&self->parts.census);
    watchers_destroy(&self->parts.watchers);
    lifts_destroy(&self->parts.lifts);
    jailer_destroy(&self->parts.jailer);
    sink_destroy(&self->parts.sink);
    memo_destroy(&self->parts.memo);
    graces_destroy(&self->parts.graces);
    index_destroy(&self->parts.index);
    chronicle_destroy(&self->parts.chronicle);
    free(self);
}

void applier_reload(applier_t *self)
{
    judge_refresh(self->parts.judge);
    sink_set(self->parts.sink, service_settings(self->parts.service));
    jailer_set(self->parts.jailer, service_settings(self->parts.service));
    lifts_set(self->parts.lifts, service_settings(self->parts.service));
    census_set(self->parts.census, service_settings(self->parts.service));
    watchers_set(self->parts.watchers, service_settings(self->parts.service));
    local_lifts_set(self->parts.local_lifts, service_settings(self->parts.service));
    allowed_file_set(self->parts.allowed_file, service_settings(self->parts.service));
    allowed_names_reload(self->parts.allowed_names);
    set_limits(self);
    standing_sweep(self->parts.standing);
    look_for_places(self);
}

/* ---- the operator ---- */

json_t *applier_command(applier_t *self, const char *line)
{
    json_t *answer = desk_command(&self->parts, line);
    arm(self, 1);
    return answer;
}

bool applier_sees_fail2ban(const applier_t *self)
{
    return strcmp(sink_fail2ban(self->parts.sink), "runs") == 0;
}

bool applier_sees_publishers(const applier_t *self)
{
    return watchers_publish(self->parts.watchers);
}

void applier_status(const applier_t *self, json_t *status)
{
    desk_status(&self->parts, self->failing, status);
}
