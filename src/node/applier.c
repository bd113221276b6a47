#include "applier.h"

#include "attention.h"
#include "judge.h"
#include "sink.h"
#include "stored.h"
#include "ticker.h"

#include <czmq.h>
#include <inttypes.h>

#define SLICE_BATCHES 64
#define FEW_BATCHES   8   /* a feed with no more behind its cursor goes before those with many */
#define ROWS_MAX      512 /* that waited, in a slice */
#define TICK_MS       1000
#define DRAIN_MS      100 /* how often the backlog gets what the pace allows */
#define REFRESH_MS    60000
#define SWEEP_MS      600000

/* What the wall clock may go back without anything being decided anew. */
#define CLOCK_BACK_MS 10000

struct applier {
    service_t *service;
    feed_t *feed;
    wire_t *wire;
    sink_t *sink;
    judge_t *judge;
    ticker_t *ticker;
    pending_row_t rows[ROWS_MAX];
    bool behind;  /* some of what is stored was not decided as it came; if not, only ticks look */
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
    return sink_finish(self->sink, &fault) == 0 ? 0 : fail(self, &fault);
}

/* ---- what the replica gets ---- */

/* A batch as it comes in, if it is its feed's turn: it need not be read back. Its events become
 * true with all else of this burst, once the replica has committed it. */
static void stored(void *arg, const arrival_t *in, const feed_ref_t *feed,
                   const wire_batch_t *batch)
{
    applier_t *self = arg;
    if (feed->own_db)
        return;
    if (self->failing || !sink_takes(self->sink, feed, batch->seq)) {
        self->behind = true;
        return;
    }
    judge_batch(self->judge, in->signer, batch);
    sink_move(self->sink, feed, batch->seq);
}

static void taken_back(void *arg)
{
    applier_t *self = arg;
    self->behind = true;
    sink_take_back(self->sink);
}

/* ---- what the replica has got ---- */

static void decide_batch(applier_t *self, const feed_ref_t *feed, uint64_t seq)
{
    wire_batch_t batch;
    if (stored_batch(self->feed, self->wire, feed, seq, &batch) == STORED_BATCH)
        judge_batch(self->judge, judge_node(self->judge, &feed->id.origin), &batch);
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

/* Decide what one feed has behind its cursor, as far as the slice has room. Returns whether there
 * is more. */
static bool decide_feed(applier_t *self, const feed_ref_t *feed)
{
    uint64_t seq = feed->cursor;
    for (int i = 0; i < SLICE_BATCHES && seq < feed->have; i++) {
        if (sink_is_full(self->sink))
            break;
        uint64_t next = next_batch(self, feed, seq);
        if (next <= feed->have)
            decide_batch(self, feed, next);
        seq = next <= feed->have ? next : feed->have;
    }
    if (seq > feed->cursor)
        sink_move(self->sink, feed, seq);
    return seq < feed->have;
}

/* Fill the slice from feeds that have few batches behind their cursor, or from those with many.
 * Returns whether there is more. */
static bool decide_feeds(applier_t *self, bool many)
{
    bool more = false;
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        if (feed->own_db || feed->cursor >= feed->have ||
            (feed->have - feed->cursor > FEW_BATCHES) != many)
            continue;
        if (sink_is_full(self->sink))
            return true;
        if (decide_feed(self, feed))
            more = true;
    }
    return more;
}

/* One slice. Live bans do not wait for another origin's long history. Returns whether there is
 * more, -1 if it failed. */
static int run_feeds(applier_t *self)
{
    bool more = decide_feeds(self, false);
    more = decide_feeds(self, true) || more;
    if (sink_is_begun(self->sink) && finish(self) == -1)
        return -1;
    self->behind = more;
    return more;
}

/* ---- what waited ---- */

/* count: of self->rows; pace: what is allowed to each, or NULL to ask each time. */
static int decide_rows(applier_t *self, int count, const guard_pace_t *pace)
{
    for (int i = 0; i < count; i++) {
        const pending_row_t *row = &self->rows[i];
        sink_waited(self->sink, row);
        judge_row(self->judge, row, pace != NULL ? *pace : sink_pace(self->sink));
    }
    return count > 0 ? finish(self) : 0;
}

/* Bans whose hold has ended. Returns as run_feeds. */
static int run_due(applier_t *self)
{
    fault_t fault;
    int count = sink_due(self->sink, self->rows, ROWS_MAX, &fault);
    if (count == -1)
        return fail(self, &fault);
    return decide_rows(self, count, NULL) == -1 ? -1 : count == ROWS_MAX;
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

/* Take of the backlog what the pace allows, newest ban first. Returns as run_feeds. */
static int run_backlog(applier_t *self)
{
    static const guard_pace_t free_pace = GUARD_PACE_FREE;
    fault_t fault;
    if (sink_backlog(self->sink) == 0)
        return 0;
    int64_t room = sink_room(self->sink, is_catching_up(self));
    if (room <= 0)
        return 0;
    int max = room < ROWS_MAX ? (int)room : ROWS_MAX;
    int count = sink_newest(self->sink, self->rows, max, &fault);
    if (count == -1)
        return fail(self, &fault);
    if (decide_rows(self, count, &free_pace) == -1)
        return -1;
    return sink_room(self->sink, is_catching_up(self)) > 0;
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

/* What was decided as it came in goes first, or what was left half done; then one slice of each
 * kind, others on the loop in between. */
static void run(applier_t *self)
{
    int due = 0;
    int events = 0;
    int backlog = 0;
    if ((sink_is_begun(self->sink) && finish(self) == -1) || (due = run_due(self)) == -1 ||
        (self->behind && (events = run_feeds(self)) == -1) || (backlog = run_backlog(self)) == -1)
        return;
    if (due || events || backlog)
        arm(self, 1);
    else if (sink_backlog(self->sink) > 0)
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

/* While the clock was ahead, bans seemed to be over that run; a ban that waits and cannot be read
 * is in its origin's feed all the same. */
static void begin_anew(applier_t *self)
{
    fault_t fault;
    int64_t back_ms = self->clock_ms - clock_beyond();
    bool damaged = sink_is_damaged(self->sink);
    if ((back_ms < CLOCK_BACK_MS && !damaged) || sink_is_begun(self->sink))
        return;
    if (sink_begin_anew(self->sink, &fault) == -1) {
        fail(self, &fault);
        return;
    }
    if (damaged)
        log_warnx("a ban that waited is damaged in the state directory: all bans that still count "
                  "are decided anew");
    else
        log_warnx("the clock went back by %" PRId64 " s: bans that seemed to be over are decided "
                  "anew",
                  (back_ms + MS_PER_S / 2) / MS_PER_S);
    self->clock_ms = clock_beyond();
}

static void tick(void *arg)
{
    applier_t *self = arg;
    fault_t fault;
    if (mono_since_ms(self->refreshed_at) >= REFRESH_MS) {
        judge_refresh(self->judge);
        self->refreshed_at = mono_now();
    }
    if (mono_since_ms(self->swept_at) >= SWEEP_MS) {
        if (sink_sweep(self->sink) == -1)
            log_warn("ended bans stay in the state directory for now");
        self->swept_at = mono_now();
    }
    self->failed = false;
    self->behind = true;
    begin_anew(self);
    if (clock_beyond() > self->clock_ms)
        self->clock_ms = clock_beyond();
    if (sink_check(self->sink, &fault) == -1)
        fail(self, &fault);
    else
        run(self);
    if (self->failing && !self->failed) {
        log_info("peers' bans are written again");
        self->failing = false;
    }
}

/* ---- start ---- */

void applier_note_local(applier_t *self, const ban_t *ban)
{
    sink_note_held(self->sink, &ban->address, ban_end_ms(ban));
}

static void recall_own_feed(applier_t *self, const feed_ref_t *feed)
{
    for (uint64_t seq = feed->floor; seq <= feed->have; seq++) {
        wire_batch_t batch;
        event_t event;
        if (stored_batch(self->feed, self->wire, feed, seq, &batch) != STORED_BATCH)
            continue;
        for (size_t i = 0; i < batch.event_count; i++)
            if (wire_event(self->wire, i, &event) == EVENT_OK && event.kind == EVENT_BAN)
                applier_note_local(self, &event.ban);
    }
}

static void recall_own_feeds(applier_t *self)
{
    for (size_t i = 0; i < feed_count(self->feed); i++)
        if (feed_is_ours(self->feed, &feed_at(self->feed, i)->id.origin))
            recall_own_feed(self, feed_at(self->feed, i));
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
    self->refreshed_at = self->swept_at = mono_now();
    self->clock_ms = clock_beyond();
    self->sink = sink_new(self->feed, settings, fault);
    if (self->sink == NULL) {
        applier_destroy(&self);
        return NULL;
    }
    self->judge = judge_new(service, self->sink);
    recall_own_feeds(self);
    if (sink_check(self->sink, &log_fault) == -1)
        fail(self, &log_fault);
    mesh_follow(service_mesh(self->service), &follower);
    self->ticker = ticker_new(service_loop(service), TICK_MS, tick, self);
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
    sink_destroy(&self->sink);
    judge_destroy(&self->judge);
    free(self);
}

void applier_reload(applier_t *self)
{
    judge_refresh(self->judge);
    sink_set(self->sink, service_settings(self->service));
}

/* ---- status ---- */

bool applier_sees_fail2ban(const applier_t *self)
{
    return strcmp(sink_fail2ban(self->sink), "runs") == 0;
}

static json_t *outcomes(const sink_t *sink)
{
    json_t *all = json_object();
    for (int i = 0; i < GUARD_OUTCOME_COUNT; i++) {
        uint64_t count = sink_outcome(sink, (guard_outcome_t)i);
        if (count > 0 || i == GUARD_APPLY)
            json_object_set_new(all, guard_outcome_name((guard_outcome_t)i),
                                json_integer((json_int_t)count));
    }
    if (sink_from_future(sink) > 0)
        json_object_set_new(all, "from-the-future",
                            json_integer((json_int_t)sink_from_future(sink)));
    return all;
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

void applier_status(const applier_t *self, json_t *status)
{
    const sink_t *sink = self->sink;
    judge_attention(self->judge, status);
    if (self->failing)
        attention_add(status, "%s cannot be written: bans of peers wait",
                      service_settings(self->service)->shared.log);
    json_object_set_new(status, "outcomes", outcomes(sink));
    json_object_set_new(status, "clocks_ahead", judge_clocks(self->judge));
    json_object_set_new(status, "held", json_integer((json_int_t)sink_held(sink)));
    json_object_set_new(status, "pending", json_integer(sink_pending(sink)));
    json_object_set_new(status, "backlog", json_integer(sink_backlog(sink)));
    json_object_set_new(status, "shared_log", shared_log(self));
}
