#include "applier.h"

#include "bans.h"
#include "guard.h"
#include "nid.h"
#include "pending.h"
#include "protect.h"
#include "shared_log.h"
#include "ticker.h"

#define SLICE_BATCHES 64
#define SLICE_EVENTS  4096 /* soft: a batch is never cut */
#define DUE_MAX       512
#define TICK_MS       1000
#define REFRESH_MS    60000
#define SWEEP_MS      600000

/* One address's hold, to be taken back if the slice fails, or written as a row if it does not. */
typedef struct {
    addr_t address;
    int64_t before_ms;
    int64_t until_ms;
    int64_t nid;
} hold_t;

typedef struct {
    feed_ref_t *feed;
    uint64_t seq;
} move_t;

/* What one transaction will make true, besides the lines that wait in the log. */
typedef struct {
    hold_t *holds;
    size_t hold_count;
    size_t hold_size;
    pending_row_t *rows;
    size_t row_count;
    size_t row_size;
    move_t moves[SLICE_BATCHES];
    size_t move_count;
    int64_t removed[DUE_MAX];
    size_t removed_count;
    size_t events;
    uint64_t outcomes[GUARD_OUTCOME_COUNT];
    uint64_t from_future;
} slice_t;

struct applier {
    service_t *service;
    bans_t *bans;
    protect_t *protect;
    pending_t *pending;
    shared_log_t *log;
    sqlite3_stmt *add_held;
    sqlite3_stmt *drop_held;
    ticker_t *ticker;
    slice_t slice;
    pending_row_t due[DUE_MAX];
    uint64_t outcomes[GUARD_OUTCOME_COUNT];
    uint64_t from_future; /* besides their outcome */
    bool written;         /* the slice's lines are on disk, its rows are not yet */
    bool failing;         /* the log or the database says no; said so already */
    bool armed;           /* a timer will go on with the backlog */
    mono_t refreshed_at;
    mono_t swept_at;
};

/* ---- deciding ---- */

static void hold(applier_t *self, const addr_t *address, int64_t until_ms, int64_t nid)
{
    slice_t *slice = &self->slice;
    if (slice->hold_count == slice->hold_size) {
        slice->hold_size = slice->hold_size * 2 + 64;
        slice->holds = xrealloc(slice->holds, slice->hold_size * sizeof *slice->holds);
    }
    slice->holds[slice->hold_count++] =
        (hold_t){*address, bans_set(self->bans, address, until_ms), until_ms, nid};
}

static void wait_until(applier_t *self, int64_t due_ms, const uint8_t *origin, const ban_t *ban,
                       int64_t nid)
{
    slice_t *slice = &self->slice;
    if (slice->row_count == slice->row_size) {
        slice->row_size = slice->row_size * 2 + 16;
        slice->rows = xrealloc(slice->rows, slice->row_size * sizeof *slice->rows);
    }
    pending_row_t *row = &slice->rows[slice->row_count++];
    *row = (pending_row_t){.nid = nid, .due_ms = due_ms, .ban = *ban};
    memcpy(row->origin, origin, PENDING_ORIGIN_BYTES);
}

/* fail2ban holds the address for the jail's ban time from now, whatever the line says. If the ban
 * lasts longer, the line is written again when the jail lets go. */
static void apply(applier_t *self, const uint8_t *origin, const char *name, const ban_t *ban,
                  int64_t nid, const guard_verdict_t *verdict, wall_t now)
{
    int64_t held_ms = now.ms + service_settings(self->service)->shared.bantime_s * MS_PER_S;
    /* As clipped: a ban for ever has an end here. */
    int64_t duration_s = (verdict->until_ms - verdict->start_ms) / MS_PER_S;
    shared_line_t line = {&ban->address, name, ban->jail, duration_s, verdict->until_ms, nid};
    shared_log_add(self->log, &line, now);
    hold(self, &ban->address, held_ms, nid);
    if (verdict->until_ms > held_ms)
        wait_until(self, held_ms, origin, ban, nid);
}

static const char *protected_by(const applier_t *self, const addr_t *address)
{
    if (mesh_is_peer_address(service_mesh(self->service), address))
        return "peer";
    return protect_reason(self->protect, address);
}

static void decide(applier_t *self, const uint8_t *origin, const event_t *event,
                   event_error_t malformed, int64_t nid)
{
    const settings_t *settings = service_settings(self->service);
    const trusted_t *node = trust_by_sign(mesh_trust(service_mesh(self->service)), origin);
    bool is_ban = malformed == EVENT_OK && event->kind == EVENT_BAN;
    guard_case_t in = {
        .origin_trusted = node != NULL,
        .from_ourselves =
            memcmp(origin, service_cert(self->service)->sign_public, WIRE_KEY_BYTES) == 0,
        .malformed = malformed,
        .event = event,
        .now = wall_now(),
        .shared_jail = settings->shared.jail,
        .allow_special = settings->guard.allow_special != 0,
        .max_ban_s = settings->guard.max_ban_s,
    };
    if (is_ban) {
        in.protected_by = protected_by(self, &event->ban.address);
        in.held_until_ms = bans_until(self->bans, &event->ban.address);
    }
    guard_verdict_t verdict = guard_decide(&in);
    self->slice.outcomes[verdict.outcome]++;
    self->slice.from_future += verdict.from_future;
    self->slice.events++;
    if (verdict.outcome == GUARD_APPLY)
        apply(self, origin, node->name, &event->ban, nid, &verdict, in.now);
    else if (verdict.outcome == GUARD_LATER)
        wait_until(self, verdict.due_ms, origin, &event->ban, nid);
}

/* ---- a slice: decide, write and sync the lines, commit rows and cursor ---- */

static void clear_slice(slice_t *slice)
{
    slice->hold_count = slice->row_count = slice->move_count = slice->removed_count = 0;
    slice->events = slice->from_future = 0;
    memset(slice->outcomes, 0, sizeof slice->outcomes);
}

static void take_back(applier_t *self)
{
    slice_t *slice = &self->slice;
    while (slice->hold_count > 0) {
        const hold_t *last = &slice->holds[--slice->hold_count];
        bans_set(self->bans, &last->address, last->before_ms);
    }
    shared_log_clear(self->log);
    clear_slice(slice);
}

static int put_held(applier_t *self, const hold_t *hold)
{
    sqlite3_bind_int64(self->add_held, 1, hold->nid);
    sqlite3_bind_blob(self->add_held, 2, hold->address.bytes, (int)addr_size(&hold->address),
                      SQLITE_STATIC);
    sqlite3_bind_int(self->add_held, 3, hold->address.prefix);
    sqlite3_bind_int64(self->add_held, 4, hold->until_ms);
    return db_step(feed_peers_db(service_feed(self->service)), self->add_held);
}

static int put_rows(applier_t *self)
{
    const slice_t *slice = &self->slice;
    for (size_t i = 0; i < slice->removed_count; i++)
        if (pending_remove(self->pending, slice->removed[i]) == -1)
            return -1;
    for (size_t i = 0; i < slice->hold_count; i++)
        if (put_held(self, &slice->holds[i]) == -1)
            return -1;
    for (size_t i = 0; i < slice->row_count; i++)
        if (pending_put(self->pending, &slice->rows[i]) == -1)
            return -1;
    for (size_t i = 0; i < slice->move_count; i++)
        if (feed_set_cursor(service_feed(self->service), slice->moves[i].feed,
                            slice->moves[i].seq) == -1)
            return -1;
    return 0;
}

static int commit_rows(applier_t *self, fault_t *fault)
{
    db_t *db = feed_peers_db(service_feed(self->service));
    if (db_begin(db) == 0 && put_rows(self) == 0 && db_commit(db) == 0)
        return 0;
    int saved = errno;
    db_rollback(db);
    feed_forget(service_feed(self->service));
    if (saved == EIO || saved == EBADMSG)
        fatalx("state directory: %s", strerror(saved));
    return fault_set(fault, "state directory: %s", strerror(saved));
}

static int fail(applier_t *self, const fault_t *fault)
{
    if (!self->failing)
        log_warnx("peers' bans wait: %s", fault->text);
    self->failing = true;
    return -1;
}

/* Make a slice true. If its lines cannot be written, nothing of it counts and it is decided again
 * at the next tick. If only its rows cannot, it is kept, so that no line is written again and
 * again. */
static int finish_slice(applier_t *self)
{
    fault_t fault;
    if (!self->written && shared_log_write(self->log, &fault) == -1) {
        take_back(self);
        return fail(self, &fault);
    }
    self->written = true;
    if (commit_rows(self, &fault) == -1)
        return fail(self, &fault);
    self->written = false;
    if (self->failing)
        log_info("peers' bans are written again");
    self->failing = false;
    for (int i = 0; i < GUARD_OUTCOME_COUNT; i++)
        self->outcomes[i] += self->slice.outcomes[i];
    self->from_future += self->slice.from_future;
    clear_slice(&self->slice);
    return 0;
}

/* A slice that was left half done goes first. */
static bool is_blocked(applier_t *self)
{
    return self->written && finish_slice(self) == -1;
}

/* ---- the replica's backlog ---- */

static void decide_batch(applier_t *self, const feed_ref_t *feed, uint64_t seq)
{
    const uint8_t *bytes;
    wire_batch_t batch;
    wire_t *wire = service_wire(self->service);
    size_t size = feed_read(service_feed(self->service), feed, seq, &bytes);
    /* Under the floor, or of a shape that a newer version checks in another way: pass over. */
    if (size == 0 || wire_check(bytes, size) != WIRE_OK ||
        wire_read_batch(wire, bytes, size, &batch) != WIRE_OK)
        return;
    for (size_t i = 0; i < batch.event_count; i++) {
        event_t event;
        event_error_t malformed = wire_event(wire, i, &event);
        event_position_t position = {feed->id.epoch, seq, feed->id.channel, (uint32_t)i};
        if (event.has_original)
            position = event.original;
        decide(self, feed->id.origin, &event, malformed, nid_of(feed->id.origin, &position));
    }
}

/* Decide what one feed has behind its cursor, as far as the slice has room. */
static void decide_feed(applier_t *self, feed_ref_t *feed)
{
    slice_t *slice = &self->slice;
    uint64_t seq = feed->cursor;
    if (seq + 1 < feed->floor)
        seq = feed->floor - 1;
    uint64_t from = seq;
    while (seq < feed->have && seq - from < SLICE_BATCHES && slice->events < SLICE_EVENTS)
        decide_batch(self, feed, ++seq);
    if (seq > feed->cursor)
        slice->moves[slice->move_count++] = (move_t){feed, seq};
}

static bool has_room(const slice_t *slice)
{
    return slice->move_count < SLICE_BATCHES && slice->events < SLICE_EVENTS;
}

static int go_on(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    applier_t *self = arg;
    self->armed = false;
    applier_run(self);
    return 0;
}

void applier_run(applier_t *self)
{
    feed_t *feeds = service_feed(self->service);
    bool more = false;
    if (is_blocked(self))
        return;
    for (size_t i = 0; i < feed_count(feeds); i++) {
        feed_ref_t *feed = feed_at(feeds, i);
        if (feed->own_db || feed->cursor >= feed->have)
            continue;
        if (!has_room(&self->slice)) {
            more = true;
            break;
        }
        decide_feed(self, feed);
        more = more || self->slice.moves[self->slice.move_count - 1].seq < feed->have;
    }
    if (self->slice.move_count == 0 || finish_slice(self) == -1 || !more || self->armed)
        return;
    self->armed = zloop_timer(service_loop(self->service), 0, 1, go_on, self) != -1;
}

/* ---- what came due ---- */

static void run_due(applier_t *self)
{
    if (is_blocked(self))
        return;
    int count = pending_due(self->pending, wall_now().ms, self->due, DUE_MAX);
    for (int i = 0; i < count; i++) {
        event_t event = {.kind = EVENT_BAN, .ban = self->due[i].ban};
        self->slice.removed[self->slice.removed_count++] = self->due[i].nid;
        decide(self, self->due[i].origin, &event, event_check(&event), self->due[i].nid);
    }
    if (count > 0)
        finish_slice(self);
}

static void drop_ended(applier_t *self)
{
    wall_t now = wall_now();
    bans_sweep(self->bans, now);
    sqlite3_bind_int64(self->drop_held, 1, now.ms);
    if (db_step(feed_peers_db(service_feed(self->service)), self->drop_held) == -1)
        log_warn("ended bans stay in the state directory for now");
    self->swept_at = mono_now();
}

static void tick(void *arg)
{
    applier_t *self = arg;
    if (mono_since_ms(self->refreshed_at) >= REFRESH_MS) {
        protect_refresh(self->protect, service_settings(self->service));
        self->refreshed_at = mono_now();
    }
    if (mono_since_ms(self->swept_at) >= SWEEP_MS)
        drop_ended(self);
    run_due(self);
    applier_run(self);
}

/* ---- start ---- */

static void raise_hold(applier_t *self, const addr_t *address, int64_t until_ms)
{
    if (until_ms > wall_now().ms && until_ms > bans_until(self->bans, address))
        bans_set(self->bans, address, until_ms);
}

void applier_note_local(applier_t *self, const ban_t *ban)
{
    raise_hold(self, &ban->address, ban_end_ms(ban));
}

static void recall_own_feed(applier_t *self, const feed_ref_t *feed)
{
    wire_t *wire = service_wire(self->service);
    for (uint64_t seq = feed->floor; seq <= feed->have; seq++) {
        const uint8_t *bytes;
        wire_batch_t batch;
        event_t event;
        size_t size = feed_read(service_feed(self->service), feed, seq, &bytes);
        if (size == 0 || wire_check(bytes, size) != WIRE_OK ||
            wire_read_batch(wire, bytes, size, &batch) != WIRE_OK)
            continue;
        for (size_t i = 0; i < batch.event_count; i++)
            if (wire_event(wire, i, &event) == EVENT_OK && event.kind == EVENT_BAN)
                applier_note_local(self, &event.ban);
    }
}

static int recall_held(applier_t *self, fault_t *fault)
{
    db_t *db = feed_peers_db(service_feed(self->service));
    sqlite3_stmt *all = db_prepare(db, "SELECT address, prefix, until_ms FROM held");
    int rc;
    while ((rc = db_step(db, all)) == 1) {
        addr_t address;
        if (addr_from_bytes(sqlite3_column_blob(all, 0), (size_t)sqlite3_column_bytes(all, 0),
                            (uint32_t)sqlite3_column_int(all, 1), &address) == ADDR_OK)
            raise_hold(self, &address, sqlite3_column_int64(all, 2));
    }
    sqlite3_finalize(all);
    return rc == 0 ? 0 : fault_set(fault, "state directory: %s", db_error(db));
}

applier_t *applier_new(service_t *service, fault_t *fault)
{
    applier_t *self = xcalloc(1, sizeof *self);
    feed_t *feeds = service_feed(service);
    db_t *db = feed_peers_db(feeds);
    self->service = service;
    self->bans = bans_new();
    self->protect = protect_new();
    self->pending = pending_new(db);
    self->log = shared_log_new(service_settings(service)->shared.log);
    self->add_held =
        db_prepare(db, "INSERT INTO held (nid, address, prefix, until_ms) VALUES (?, ?, ?, ?)");
    self->drop_held = db_prepare(db, "DELETE FROM held WHERE until_ms <= ?");
    self->refreshed_at = mono_now();
    protect_refresh(self->protect, service_settings(service));
    drop_ended(self);
    for (size_t i = 0; i < feed_count(feeds); i++)
        if (memcmp(feed_at(feeds, i)->id.origin, service_cert(service)->sign_public,
                   WIRE_KEY_BYTES) == 0)
            recall_own_feed(self, feed_at(feeds, i));
    if (shared_log_touch(self->log, fault) == -1)
        log_warnx("peers' bans wait: %s", fault->text);
    if (recall_held(self, fault) == -1) {
        applier_destroy(&self);
        return NULL;
    }
    self->ticker = ticker_new(service_loop(service), TICK_MS, tick, self);
    return self;
}

void applier_destroy(applier_t **self_p)
{
    applier_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    shared_log_destroy(&self->log);
    pending_destroy(&self->pending);
    protect_destroy(&self->protect);
    bans_destroy(&self->bans);
    free(self->slice.holds);
    free(self->slice.rows);
    free(self);
}

void applier_reload(applier_t *self)
{
    protect_refresh(self->protect, service_settings(self->service));
}

void applier_status(const applier_t *self, json_t *status)
{
    json_t *outcomes = json_object();
    for (int i = 0; i < GUARD_OUTCOME_COUNT; i++)
        if (self->outcomes[i] > 0 || i == GUARD_APPLY)
            json_object_set_new(outcomes, guard_outcome_name((guard_outcome_t)i),
                                json_integer((json_int_t)self->outcomes[i]));
    if (self->from_future > 0)
        json_object_set_new(outcomes, "from-the-future",
                            json_integer((json_int_t)self->from_future));
    json_object_set_new(status, "outcomes", outcomes);
    json_object_set_new(status, "held",
                        json_integer((json_int_t)bans_active(self->bans, wall_now())));
    json_object_set_new(status, "pending", json_integer((json_int_t)pending_count(self->pending)));
    json_object_set_new(status, "shared_log",
                        json_pack("{s:s, s:b}", "path", service_settings(self->service)->shared.log,
                                  "writable", !self->failing));
}
