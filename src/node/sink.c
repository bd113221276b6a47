#include "sink.h"

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
    index_t *index;
    memo_t *memo;
    const settings_t *settings;
    held_t *held;
    size_t held_count;
    shared_log_t *log;
    unrecorded_t *unrecorded; /* where log and rows of the run before differ */
    fail2ban_t *fail2ban;
    fail2ban_id_t holder; /* which one the table has */
    wall_t again_since;   /* it started anew: these lines are to be written again */
    bool again;
    uint64_t starts; /* of fail2ban, that were seen */
    pace_t pace;
    mono_t drained_at;
    slice_t slice;
    size_t lines;     /* of the slice that the log is to get */
    bool lines_stand; /* the slice's lines are on disk, its rows are not yet */
};

static int state_fault(sink_t *self, fault_t *fault)
{
    if (errno == EIO || errno == EBADMSG)
        fatalx("%s", state_failure(feed_state(self->feed)));
    return fault_set(fault, "%s: %s", db_path(self->db), strerror(errno));
}

/* ---- start ---- */

static bool leave(void *arg, const feed_ref_t *feed, void *none)
{
    const sink_t *self = arg;
    (void)feed;
    (void)none;
    return self->slice.move_count == 0;
}

static void note_held(sink_t *self, index_slot_t *slot, uint32_t until_s, uint32_t row)
{
    self->held_count -= slot->held_until_s != 0;
    self->held_count += until_s != 0;
    slot->held_until_s = until_s;
    slot->held_row = row;
}

static void recall(void *arg, const held_row_t *row)
{
    sink_t *self = arg;
    note_held(self, index_slot(self->index, index_make(self->index, &row->address)),
              index_seconds(row->until_ms), (uint32_t)row->id);
}

static int remove_lost(sink_t *self)
{
    size_t count;
    const int64_t *ids = unrecorded_lost(self->unrecorded, &count);
    if (count == 0)
        return 0;
    if (db_begin(self->db) == -1)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (held_remove(self->held, ids[i]) == -1)
            return -1;
    return db_commit(self->db);
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
    if (lost > 0)
        log_info("%zu lines of the last minute of the run before do not stand in %s: those that "
                 "still count are written again",
                 lost, self->settings->shared.log);
    return remove_lost(self);
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

/* Of what was let go of meanwhile, or is about to be, or was lifted by hand, no line is to come
 * back. */
static bool is_held(void *arg, const addr_t *address)
{
    const sink_t *self = arg;
    uint32_t slot = index_find(self->index, address);
    return slot != INDEX_NONE && index_slot(self->index, slot)->held_until_s != 0 &&
           (index_slot(self->index, slot)->flags & INDEX_LET_GO) == 0;
}

sink_t *sink_new(feed_t *feed, index_t *index, memo_t *memo, const settings_t *settings,
                 fault_t *fault)
{
    sink_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->note = feed_reserve(feed, 0, leave, self);
    self->db = feed_peers_db(feed);
    self->index = index;
    self->memo = memo;
    self->settings = settings;
    self->log = shared_log_new(settings->shared.log);
    shared_log_filter(self->log, is_held, self);
    self->fail2ban = fail2ban_new(settings->shared.fail2ban);
    self->pace = pace_of(settings->shared.pace, mono_now());
    self->held = held_new(self->db);
    if (self->held != NULL) /* before ended holds are swept */
        self->unrecorded = unrecorded_new(settings->shared.log, self->held,
                                          settings->shared.bantime_s * MS_PER_S, wall_now());
    if (self->held == NULL || agree_with_log(self) == -1 || recall_holder(self) == -1 ||
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
    held_destroy(&self->held);
    slice_free(&self->slice);
    free(self);
}

void sink_set(sink_t *self, const settings_t *settings)
{
    self->settings = settings;
    fail2ban_set_path(self->fail2ban, settings->shared.fail2ban);
    pace_set(&self->pace, settings->shared.pace, mono_now());
}

/* ---- the slice ---- */

void sink_tell(sink_t *self, uint32_t number, const sink_ban_t *ban, wall_t now)
{
    index_slot_t *slot = index_slot(self->index, number);
    int64_t bantime_ms = self->settings->shared.bantime_s * MS_PER_S;
    int64_t duration_s = (ban->until_ms - ban->begin_ms) / MS_PER_S;
    shared_line_t line = {&slot->address, ban->origin,   ban->jail,
                          duration_s,     ban->until_ms, ban->nid};
    int64_t since_ms = unrecorded_take(self->unrecorded, ban->nid, bantime_ms, now);
    if (since_ms == 0) {
        shared_log_add(self->log, &line, now);
        self->lines++;
        since_ms = now.ms;
    }
    /* fail2ban holds the address for so long, whatever the line says. */
    held_row_t hold = {held_next_id(self->held), slot->address, since_ms + bantime_ms, ban->nid};
    slice_before_t before = {number, slot->held_until_s, slot->held_row};
    slice_hold(&self->slice, &hold, &before);
    note_held(self, slot, index_seconds(hold.until_ms), (uint32_t)hold.id);
}

bool sink_let_go_of(const sink_t *self, const addr_t *address)
{
    return held_was_let_go(self->held, address);
}

void sink_note_free(sink_t *self, uint32_t number)
{
    index_slot_t *slot = index_slot(self->index, number);
    if (slot->held_row != 0)
        slice_let_go(&self->slice, slot->held_row);
    note_held(self, slot, 0, 0);
}

void sink_move(sink_t *self, const feed_ref_t *feed, uint64_t seq)
{
    slice_move(&self->slice, feed, seq);
}

bool sink_takes(const sink_t *self, const feed_ref_t *feed, uint64_t seq)
{
    return !self->lines_stand && slice_takes(&self->slice, feed, seq);
}

bool sink_is_begun(const sink_t *self)
{
    return !slice_is_empty(&self->slice) || memo_is_dirty(self->memo);
}

bool sink_is_full(const sink_t *self)
{
    return self->lines_stand || slice_is_full(&self->slice);
}

/* The book says what it said before. The last line of an address goes first. */
static void untell(sink_t *self, sink_untold_fn *untold, void *arg)
{
    slice_t *slice = &self->slice;
    for (size_t i = slice->hold_count; i > 0; i--) {
        const slice_before_t *before = &slice->before[i - 1];
        note_held(self, index_slot(self->index, before->slot), before->held_until_s,
                  before->held_row);
        if (untold != NULL)
            untold(arg, before->slot);
    }
    shared_log_clear(self->log);
    unrecorded_take_back(self->unrecorded);
    slice_drop_holds(slice);
    self->lines = 0;
}

void sink_take_back(sink_t *self, sink_untold_fn *untold, void *arg)
{
    if (self->lines_stand)
        return;
    untell(self, untold, arg);
    self->slice.move_count = 0;
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

int sink_finish(sink_t *self, sink_untold_fn *untold, void *arg, fault_t *fault)
{
    slice_t *slice = &self->slice;
    int rc = 0;
    if (!self->lines_stand) {
        rc = shared_log_write(self->log, unsure(self), fault);
        if (rc == -1)
            untell(self, untold, arg);
        pace_spend(&self->pace, (int64_t)self->lines);
        self->lines = 0;
    }
    self->lines_stand = true;
    if (slice_commit(slice, self->db, self->feed, self->held, self->memo) == -1)
        return state_fault(self, fault);
    self->lines_stand = false;
    unrecorded_commit(self->unrecorded);
    slice_clear(slice);
    return rc;
}

/* ---- the pace ---- */

sink_pace_t sink_pace(sink_t *self)
{
    if (slice_is_empty(&self->slice))
        pace_refill(&self->pace, mono_now());
    int64_t live = pace_live(&self->pace);
    if (live == PACE_NO_LIMIT)
        return SINK_PACE_FREE;
    return (int64_t)self->lines < live ? SINK_PACE_LIVE : SINK_PACE_SPENT;
}

int64_t sink_room(sink_t *self, bool catching_up)
{
    pace_refill(&self->pace, mono_now());
    int64_t spare = pace_spare(&self->pace);
    if (spare == PACE_NO_LIMIT || !catching_up)
        return spare;
    if (mono_since_ms(self->drained_at) < ROOM_MS)
        return 0;
    self->drained_at = mono_now();
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
        self->starts++;
    }
    if (shared_log_check(self->log, unsure(self), fault) == -1 ||
        (self->again && write_again(self, fault) == -1))
        return -1;
    return note_holder(self, fault);
}

int sink_sweep(sink_t *self)
{
    wall_t now = wall_now();
    unrecorded_clear(self->unrecorded); /* long done with */
    return held_drop_ended(self->held, now);
}

/* ---- for the status ---- */

size_t sink_held(const sink_t *self)
{
    return self->held_count;
}

const shared_log_counts_t *sink_log_counts(const sink_t *self)
{
    return shared_log_counts(self->log);
}

uint64_t sink_starts(const sink_t *self)
{
    return self->starts;
}

const char *sink_fail2ban(const sink_t *self)
{
    return fail2ban_state(self->fail2ban);
}
