#include "sink.h"

#include "bans.h"
#include "fail2ban.h"
#include "pace.h"
#include "unrecorded.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MS 100 /* while catching up, the backlog is taken in portions of so long */

struct sink {
    feed_t *feed;
    size_t note; /* of no size: a slice that is half done holds feeds */
    db_t *db;    /* peers.db */
    const settings_t *settings;
    bans_t *bans;
    held_t *held;
    pending_t *pending;
    shared_log_t *log;
    unrecorded_t *unrecorded; /* where log and rows of the run before differ */
    fail2ban_t *fail2ban;
    fail2ban_id_t holder; /* which one the table has */
    wall_t again_since;   /* it started anew: these lines are to be written again */
    bool again;
    pace_t pace;
    mono_t drained_at;
    slice_t slice;
    bool lines_stand; /* the slice's lines are on disk, its rows are not yet */
    uint64_t outcomes[GUARD_OUTCOME_COUNT];
    uint64_t from_future; /* besides their outcome */
};

static int state_fault(sink_t *self, fault_t *fault)
{
    if (errno == EIO || errno == EBADMSG)
        fatalx("%s", state_failure(feed_state(self->feed)));
    return fault_set(fault, "%s: %s", db_path(self->db), strerror(errno));
}

/* ---- deciding anew ---- */

static int remove_lost(sink_t *self)
{
    size_t count;
    const int64_t *ids = unrecorded_lost(self->unrecorded, &count);
    for (size_t i = 0; i < count; i++)
        if (held_remove(self->held, ids[i]) == -1)
            return -1;
    return 0;
}

static int set_back(sink_t *self)
{
    for (size_t i = 0; i < feed_count(self->feed); i++) {
        const feed_ref_t *feed = feed_at(self->feed, i);
        if (!feed->own_db && feed->cursor >= feed->floor &&
            feed_set_cursor(self->feed, feed, feed->floor - 1) == -1)
            return -1;
    }
    return pending_remove_damaged(self->pending);
}

static int commit_anew(sink_t *self, int (*also)(sink_t *))
{
    if (db_begin(self->db) == 0 && (also == NULL || also(self) == 0) && set_back(self) == 0 &&
        db_commit(self->db) == 0)
        return 0;
    return slice_roll_back(self->feed, self->pending);
}

int sink_begin_anew(sink_t *self, fault_t *fault)
{
    return commit_anew(self, NULL) == 0 ? 0 : state_fault(self, fault);
}

bool sink_is_damaged(const sink_t *self)
{
    return pending_is_damaged(self->pending);
}

/* ---- start ---- */

static bool leave(void *arg, const feed_ref_t *feed, void *none)
{
    const sink_t *self = arg;
    (void)feed;
    (void)none;
    return self->slice.move_count == 0;
}

static void recall(void *arg, const addr_t *address, int64_t until_ms)
{
    sink_note_held(arg, address, until_ms);
}

/* What ended the run before may have come between a line and its row, or between a rotation and our
 * seeing it. */
static int agree_with_log(sink_t *self)
{
    size_t lost;
    unrecorded_lost(self->unrecorded, &lost);
    if (unrecorded_count(self->unrecorded) > 0)
        log_info("%zu lines stand in %s without their rows: it ended in between",
                 unrecorded_count(self->unrecorded), self->settings->shared.log);
    if (lost == 0)
        return 0;
    log_info("%zu lines of the last minute of the run before do not stand in %s: all bans that "
             "still count are decided anew",
             lost, self->settings->shared.log);
    return commit_anew(self, remove_lost);
}

/* So that a fail2ban which starts while we do not run is seen as another one. */
static int recall_holder(sink_t *self)
{
    wall_t now = wall_now();
    wall_t written = unrecorded_newest(self->unrecorded);
    if (held_holder(self->held, &self->holder) == -1)
        return -1;
    fail2ban_recall(self->fail2ban, &self->holder, written.ms < now.ms ? written : now);
    return 0;
}

sink_t *sink_new(feed_t *feed, const settings_t *settings, fault_t *fault)
{
    sink_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->note = feed_reserve(feed, 0, leave, self);
    self->db = feed_peers_db(feed);
    self->settings = settings;
    self->bans = bans_new();
    self->log = shared_log_new(settings->shared.log);
    self->fail2ban = fail2ban_new(settings->shared.fail2ban);
    self->pace = pace_of(settings->shared.pace, mono_now());
    self->held = held_new(self->db);
    self->pending = pending_new(self->db);
    self->unrecorded = /* before ended holds are swept */
        unrecorded_new(settings->shared.log, self->held, settings->shared.bantime_s * MS_PER_S);
    if (self->pending == NULL || agree_with_log(self) == -1 || recall_holder(self) == -1 ||
        held_drop_ended(self->held, wall_now()) == -1 ||
        held_each(self->held, recall, self) == -1) {
        fault_set(fault, "state directory: %s", db_error(self->db));
        sink_destroy(&self);
    }
    return self;
}

void sink_destroy(sink_t **self_p)
{
    sink_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    feed_release(self->feed, self->note);
    shared_log_destroy(&self->log);
    unrecorded_destroy(&self->unrecorded);
    fail2ban_destroy(&self->fail2ban);
    pending_destroy(&self->pending);
    held_destroy(&self->held);
    bans_destroy(&self->bans);
    slice_free(&self->slice);
    free(self);
}

void sink_set(sink_t *self, const settings_t *settings)
{
    self->settings = settings;
    fail2ban_set_path(self->fail2ban, settings->shared.fail2ban);
    pace_set(&self->pace, settings->shared.pace, mono_now());
}

int64_t sink_held_until(const sink_t *self, const addr_t *address)
{
    return bans_until(self->bans, address);
}

void sink_note_held(sink_t *self, const addr_t *address, int64_t until_ms)
{
    bans_raise(self->bans, address, until_ms);
}

/* ---- the slice ---- */

void sink_write(sink_t *self, const pending_row_t *row, const char *name, int64_t until_ms,
                wall_t now)
{
    const ban_t *ban = &row->ban;
    int64_t bantime_ms = self->settings->shared.bantime_s * MS_PER_S;
    /* As clipped: a ban for ever has an end here. */
    int64_t duration_s = (until_ms - ban->time_ms) / MS_PER_S;
    shared_line_t line = {&ban->address, name, ban->jail, duration_s, until_ms, row->nid};
    int64_t since_ms = unrecorded_take(self->unrecorded, row->nid, bantime_ms, now);
    if (since_ms == 0) {
        shared_log_add(self->log, &line, now);
        self->slice.lines++;
        since_ms = now.ms;
    }
    /* fail2ban holds the address for so long, whatever the line says. */
    int64_t held_ms = since_ms + bantime_ms;
    held_row_t hold = {ban->address, held_ms, row->nid};
    slice_hold(&self->slice, &hold, bans_set(self->bans, &ban->address, held_ms));
    if (until_ms > held_ms) {
        pending_row_t again = *row;
        again.due_ms = held_ms;
        slice_wait(&self->slice, &again);
    }
}

void sink_wait(sink_t *self, const pending_row_t *row)
{
    slice_wait(&self->slice, row);
}

void sink_waited(sink_t *self, const pending_row_t *row)
{
    slice_waited(&self->slice, row);
}

void sink_move(sink_t *self, const feed_ref_t *feed, uint64_t seq)
{
    slice_move(&self->slice, feed, seq);
}

void sink_count(sink_t *self, const guard_verdict_t *verdict)
{
    self->slice.outcomes[verdict->outcome]++;
    self->slice.from_future += verdict->from_future;
    self->slice.events++;
}

bool sink_takes(const sink_t *self, const feed_ref_t *feed, uint64_t seq)
{
    return !self->lines_stand && slice_takes(&self->slice, feed, seq);
}

bool sink_is_begun(const sink_t *self)
{
    return self->slice.events > 0 || self->slice.move_count > 0;
}

bool sink_is_full(const sink_t *self)
{
    return self->lines_stand || slice_is_full(&self->slice);
}

void sink_take_back(sink_t *self)
{
    slice_t *slice = &self->slice;
    if (self->lines_stand)
        return;
    for (size_t i = slice->hold_count; i > 0; i--)
        bans_set(self->bans, &slice->holds[i - 1].address, slice->before_ms[i - 1]);
    shared_log_clear(self->log);
    unrecorded_take_back(self->unrecorded);
    slice_clear(slice);
}

/* Lines stamped later than this go with the log when it is rotated: fail2ban may not have acted
 * upon them. */
static wall_t unsure(const sink_t *self)
{
    wall_t now = wall_now();
    int64_t bantime_ms = self->settings->shared.bantime_s * MS_PER_S;
    wall_t since = fail2ban_unsure(self->fail2ban, now);
    return since.ms > now.ms - bantime_ms ? since : (wall_t){now.ms - bantime_ms};
}

int sink_finish(sink_t *self, fault_t *fault)
{
    slice_t *slice = &self->slice;
    if (!self->lines_stand && shared_log_write(self->log, unsure(self), fault) == -1) {
        sink_take_back(self);
        return -1;
    }
    if (!self->lines_stand)
        pace_spend(&self->pace, (int64_t)slice->lines);
    self->lines_stand = true;
    if (slice_commit(slice, self->db, self->feed, self->held, self->pending) == -1)
        return state_fault(self, fault);
    self->lines_stand = false;
    for (int i = 0; i < GUARD_OUTCOME_COUNT; i++)
        self->outcomes[i] += slice->outcomes[i];
    self->from_future += slice->from_future;
    unrecorded_commit(self->unrecorded);
    slice_clear(slice);
    return 0;
}

/* ---- what waits ---- */

int sink_due(sink_t *self, pending_row_t *out, int max, fault_t *fault)
{
    if (pending_count(self->pending) == 0)
        return 0;
    int count = pending_due(self->pending, wall_now().ms, out, max);
    return count == -1 ? state_fault(self, fault) : count;
}

int sink_newest(sink_t *self, pending_row_t *out, int max, fault_t *fault)
{
    int count = pending_newest(self->pending, out, max);
    self->drained_at = mono_now();
    return count == -1 ? state_fault(self, fault) : count;
}

int64_t sink_pending(const sink_t *self)
{
    return pending_count(self->pending);
}

int64_t sink_backlog(const sink_t *self)
{
    return pending_backlog(self->pending);
}

/* ---- the pace ---- */

guard_pace_t sink_pace(sink_t *self)
{
    if (self->slice.events == 0)
        pace_refill(&self->pace, mono_now());
    int64_t live = pace_live(&self->pace);
    if (live == PACE_NO_LIMIT)
        return GUARD_PACE_FREE;
    return (int64_t)self->slice.lines < live ? GUARD_PACE_LIVE : GUARD_PACE_SPENT;
}

int64_t sink_room(sink_t *self, bool catching_up)
{
    pace_refill(&self->pace, mono_now());
    int64_t spare = pace_spare(&self->pace);
    if (pending_backlog(self->pending) == 0)
        return 0;
    if (spare == PACE_NO_LIMIT || !catching_up)
        return spare;
    if (mono_since_ms(self->drained_at) < ROOM_MS)
        return 0;
    int64_t portion = 1 + self->settings->shared.pace * ROOM_MS / MS_PER_S;
    return portion < spare ? portion : spare;
}

/* ---- now and then ---- */

static int write_again(sink_t *self, fault_t *fault)
{
    uint64_t before = shared_log_counts(self->log)->lines_again;
    if (shared_log_again(self->log, self->again_since, fault) == -1)
        return -1;
    self->again = false;
    log_info("fail2ban has started anew: %" PRIu64 " lines that it may have lost are written again",
             shared_log_counts(self->log)->lines_again - before);
    return 0;
}

/* Only once it has what the one before may have lost. */
static int note_holder(sink_t *self, fault_t *fault)
{
    fail2ban_id_t last = fail2ban_last(self->fail2ban);
    if (fail2ban_id_equal(&last, &self->holder))
        return 0;
    if (held_set_holder(self->held, &last) == -1)
        return state_fault(self, fault);
    self->holder = last;
    return 0;
}

int sink_check(sink_t *self, fault_t *fault)
{
    wall_t now = wall_now();
    if (fail2ban_look(self->fail2ban, now)) {
        self->again_since = fail2ban_unsure_before(self->fail2ban);
        self->again = true;
    }
    if (shared_log_check(self->log, unsure(self), fault) == -1 ||
        (self->again && write_again(self, fault) == -1))
        return -1;
    return note_holder(self, fault);
}

int sink_sweep(sink_t *self)
{
    wall_t now = wall_now();
    bans_sweep(self->bans, now);
    unrecorded_clear(self->unrecorded); /* long done with */
    return held_drop_ended(self->held, now);
}

/* ---- for the status ---- */

uint64_t sink_outcome(const sink_t *self, guard_outcome_t outcome)
{
    return self->outcomes[outcome];
}

uint64_t sink_from_future(const sink_t *self)
{
    return self->from_future;
}

size_t sink_held(const sink_t *self)
{
    return bans_active(self->bans, wall_now());
}

const shared_log_counts_t *sink_log_counts(const sink_t *self)
{
    return shared_log_counts(self->log);
}

const char *sink_fail2ban(const sink_t *self)
{
    return fail2ban_state(self->fail2ban);
}
