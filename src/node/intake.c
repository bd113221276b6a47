#include "intake.h"

#include "attention.h"
#include "callers.h"
#include "jails.h"
#include "own_feed.h"
#include "publishers.h"
#include "request.h"
#include "soon.h"
#include "special.h"
#include "spooled.h"

#include <czmq.h>
#include <time.h>

#define LOOK_AT_MS (60 * 60 * MS_PER_S) /* what was wrong is shown for so long */

typedef enum {
    INTAKE_STORED,
    INTAKE_PROLONGED,
    INTAKE_REPEATED,
    INTAKE_LIFTED,
    INTAKE_UNKNOWN_ATTEMPT,
    INTAKE_LIFTED_BY_HAND,
    INTAKE_LET_GO,
    INTAKE_SPECIAL,
    INTAKE_SHARED_JAIL,
    INTAKE_ECHO,
    INTAKE_MALFORMED,
    INTAKE_FAILED,
    INTAKE_SPOOLED, /* besides one of the above */
    INTAKE_REJECTED_RECORD,
    INTAKE_FOREIGN_USER,
    INTAKE_FOREIGN_UNBAN,
    INTAKE_COUNT,
} count_t;

static const char *const count_names[INTAKE_COUNT] = {
    [INTAKE_STORED] = "stored",
    [INTAKE_PROLONGED] = "prolonged",
    [INTAKE_REPEATED] = "repeated",
    [INTAKE_LIFTED] = "lifted",
    [INTAKE_UNKNOWN_ATTEMPT] = "unknown-attempt",
    [INTAKE_LIFTED_BY_HAND] = "lifted-by-hand",
    [INTAKE_LET_GO] = "let-go",
    [INTAKE_SPECIAL] = "special-address",
    [INTAKE_SHARED_JAIL] = "shared-jail",
    [INTAKE_ECHO] = "echo",
    [INTAKE_MALFORMED] = "malformed",
    [INTAKE_FAILED] = "failed",
    [INTAKE_SPOOLED] = "from-spool",
    [INTAKE_REJECTED_RECORD] = "spool-rejected",
    [INTAKE_FOREIGN_USER] = "foreign-user",
    [INTAKE_FOREIGN_UNBAN] = "foreign-unban",
};

/* A request that waits for the group's commit; answered already if it needs none. */
typedef struct {
    caller_t *caller; /* NULL: hung up meanwhile */
    bool decided;
    request_verb_t verb;
    int64_t at_ms; /* of an unban */
    ban_t ban;
    answer_t answer;
} waiting_t;

struct intake {
    service_t *service;
    own_feed_t *own_feed;
    applier_t *applier;
    callers_t *callers;
    waiting_t waiting[WIRE_EVENTS_MAX];
    size_t waiting_count;
    soon_t *flush_soon;
    publishers_t publishers;
    bool failing;
    spooled_t *spooled;
    uint64_t counts[INTAKE_COUNT];
    mono_t called_at;                    /* the last request, if there was one */
    char called_for[EVENT_NAME_MAX + 1]; /* its jail */
    bool called;                         /* there was one since the start */
    wall_t started;
    jails_t *jails;
    json_t *malformed; /* how many of each field */
    fault_t last_malformed;
    mono_t malformed_at;
};

/* ---- what a ban is worth ---- */

static void say(answer_t *answer, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void say(answer_t *answer, const char *word, const char *format, ...)
{
    int used = snprintf(answer->text, sizeof answer->text, "%s ", word);
    va_list args;
    va_start(args, format);
    vsnprintf(answer->text + used, sizeof answer->text - (size_t)used, format, args);
    va_end(args);
}

/* The shared jail let go of an address (action.d/banmesh-lifted.conf). Returns 0, -1 if that cannot
 * be stored. */
static int take_lift(intake_t *self, const ban_t *ban, int64_t at_ms, answer_t *answer)
{
    char address[ADDR_TEXT_MAX];
    int rc =
        applier_note_lift_by_hand(self->applier, &ban->address, at_ms >= 0 ? at_ms : wall_now().ms);
    addr_print(&ban->address, address);
    if (rc == -1) {
        self->counts[INTAKE_FAILED]++;
        say(answer, REQUEST_ANSWER_FAILED, "the lift of %s cannot be stored", address);
        return -1;
    }
    self->counts[rc == 1 ? INTAKE_LIFTED_BY_HAND : INTAKE_LET_GO]++;
    if (rc == 1)
        log_info("%s was lifted by hand in the jail %s: what was reported of it stands no longer "
                 "on this host",
                 address, ban->jail);
    say(answer, REQUEST_ANSWER_SKIPPED, "%s: %s", address,
        rc == 1 ? "lifted by hand" : "the mesh has nothing of it that stands");
    return 0;
}

static bool is_lift(const intake_t *self, request_verb_t verb, const ban_t *ban)
{
    return verb == REQUEST_UNBAN && streq(ban->jail, service_settings(self->service)->shared.jail);
}

/* Well-formed, but not for others. True if so, with the answer. */
static bool is_skipped(intake_t *self, const request_t *request, const ban_t *ban, answer_t *answer)
{
    const settings_t *settings = service_settings(self->service);
    const char *special = special_name(&ban->address);
    char address[ADDR_TEXT_MAX];
    if (streq(ban->jail, settings->shared.jail)) {
        self->counts[INTAKE_SHARED_JAIL]++;
        say(answer, REQUEST_ANSWER_SKIPPED, "jail %s is the shared one", ban->jail);
    } else if (special != NULL && settings->guard.allow_special == 0) {
        self->counts[INTAKE_SPECIAL]++;
        say(answer, REQUEST_ANSWER_SKIPPED, "%s is special (%s)",
            addr_print(&ban->address, address), special);
    } else if (request->verb == REQUEST_BAN &&
               applier_is_echo(self->applier, request->jail, &ban->address)) {
        self->counts[INTAKE_ECHO]++;
        say(answer, REQUEST_ANSWER_SKIPPED, "%s is held for the mesh, and %s reads fail2ban's log",
            addr_print(&ban->address, address), ban->jail);
    } else
        return false;
    /* fail2ban bans a monitoring host on 10/8 every few minutes: no flood. */
    log_debug("%s", answer->text);
    return true;
}

static own_feed_item_t item_of(const ban_t *ban, request_verb_t verb, int64_t at_ms)
{
    return (own_feed_item_t){
        .ban = ban,
        .is_unban = verb == REQUEST_UNBAN,
        .at_ms = at_ms >= 0 ? at_ms : wall_now().ms,
    };
}

/* Its ban may still be in the spool: there it goes, too, behind that. */
static void note_unknown(intake_t *self, const own_feed_item_t *item, bool spooled,
                         answer_t *answer)
{
    char address[ADDR_TEXT_MAX];
    addr_print(&item->ban->address, address);
    if (!spooled && spooled_waits(self->spooled)) {
        self->counts[INTAKE_FAILED]++;
        say(answer, REQUEST_ANSWER_FAILED, "the ban of %s may still be in the spool", address);
        return;
    }
    self->counts[INTAKE_UNKNOWN_ATTEMPT]++;
    say(answer, REQUEST_ANSWER_SKIPPED, "no ban of %s in %s from that time was announced", address,
        item->ban->jail);
    log_debug("%s", answer->text);
}

/* What was lifted before, the index knows since then. */
static void note_applier(intake_t *self, const own_feed_item_t *item)
{
    if (item->result == OWN_FEED_LIFTED) {
        const event_t pardon = own_feed_pardon(item);
        applier_note_own_grace(self->applier, &pardon);
    } else if (!item->lifted)
        applier_note_own(self->applier, item->ban, item->nid);
}

/* spooled: it came from there */
static void note_stored(intake_t *self, const own_feed_item_t *item, bool spooled, answer_t *answer)
{
    static const struct {
        count_t count;
        const char *word;
    } results[] = {
        [OWN_FEED_NEW] = {INTAKE_STORED, "new"},
        [OWN_FEED_PROLONGED] = {INTAKE_PROLONGED, "prolonged"},
        [OWN_FEED_REPEATED] = {INTAKE_REPEATED, "repeated"},
        [OWN_FEED_LIFTED] = {INTAKE_LIFTED, "lifted"},
    };
    if (item->result == OWN_FEED_UNKNOWN) {
        note_unknown(self, item, spooled, answer);
        return;
    }
    self->counts[results[item->result].count]++;
    snprintf(answer->text, sizeof answer->text, REQUEST_ANSWER_OK " nid=%" PRId64 " %s", item->nid,
             results[item->result].word);
    note_applier(self, item);
}

/* Store a group of bans. Returns 0; -1: none is stored, and why is in errno. */
static int store(intake_t *self, own_feed_item_t *items, size_t count)
{
    if (count == 0)
        return 0;
    if (own_feed_append(self->own_feed, items, count) == -1) {
        if (errno == EIO || errno == EBADMSG)
            fatalx("%s", state_failure(feed_state(service_feed(self->service))));
        if (!self->failing && errno != ENOSPC) /* that is said for the whole state directory */
            log_warn("bans of this host cannot be stored");
        self->failing = self->failing || errno != ENOSPC;
        return -1;
    }
    self->failing = false;
    return 0;
}

/* ---- answers ---- */

static void deliver_all(intake_t *self)
{
    for (size_t i = 0; i < self->waiting_count; i++) {
        caller_t *caller = self->waiting[i].caller;
        if (caller == NULL)
            continue;
        caller_answer(caller, &self->waiting[i].answer);
        if (i + 1 == self->waiting_count || self->waiting[i + 1].caller != caller)
            caller_send(caller);
    }
}

/* Commit what waits, then answer all of it in order. */
static void flush(void *arg)
{
    intake_t *self = arg;
    own_feed_item_t items[WIRE_EVENTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < self->waiting_count; i++)
        if (!self->waiting[i].decided)
            items[count++] =
                item_of(&self->waiting[i].ban, self->waiting[i].verb, self->waiting[i].at_ms);
    int rc = store(self, items, count);
    int error = errno;
    const own_feed_item_t *item = items;
    for (size_t i = 0; i < self->waiting_count; i++) {
        waiting_t *waiting = &self->waiting[i];
        if (!waiting->decided && rc == 0)
            note_stored(self, item++, false, &waiting->answer);
        else if (!waiting->decided) {
            self->counts[INTAKE_FAILED]++;
            say(&waiting->answer, REQUEST_ANSWER_FAILED, "%s", strerror(error));
        }
    }
    deliver_all(self);
    self->waiting_count = 0;
}

/* ---- requests ---- */

/* jail: its name in the mesh; "": the request does not say. The shared jail announces nothing: its
 * hook tells of lifts. */
static void note_call(intake_t *self, const char *jail)
{
    if (streq(jail, service_settings(self->service)->shared.jail))
        return;
    self->called_at = mono_now();
    self->called = true;
    snprintf(self->called_for, sizeof self->called_for, "%s", *jail != '\0' ? jail : "?");
}

/* In words where the operator looks: in silence, a jail that calls its hook wrong would share
 * nothing for ever. The log has the first of each field. */
static void note_malformed(intake_t *self, const request_t *request, const fault_t *why)
{
    json_int_t before = json_integer_value(json_object_get(self->malformed, request->bad));
    if (before == 0)
        log_warnx("a request is malformed: %s; the next ones are only counted", why->text);
    json_object_set_new(self->malformed, request->bad, json_integer(before + 1));
    self->counts[INTAKE_MALFORMED]++;
    self->last_malformed = *why;
    self->malformed_at = mono_now();
}

/* Who may hand in a ban need not be one who may lift it everywhere. True if so, with the answer. */
static bool is_refused(intake_t *self, uid_t user, const request_t *request, answer_t *answer)
{
    if (request->verb != REQUEST_UNBAN || publishers_may_lift(user))
        return false;
    say(answer, REQUEST_ANSWER_REFUSED,
        "user %u may not lift bans: only root and the user of banmeshd may", (unsigned)user);
    if (self->counts[INTAKE_FOREIGN_UNBAN]++ == 0)
        log_warnx("%s; the next ones are only counted",
                  answer->text + sizeof REQUEST_ANSWER_REFUSED);
    return true;
}

/* What needs no event of ours. True if so, with the answer. */
static bool is_decided(intake_t *self, uid_t user, const request_t *request, waiting_t *waiting)
{
    if (is_refused(self, user, request, &waiting->answer))
        return true;
    if (!is_lift(self, request->verb, &waiting->ban))
        return is_skipped(self, request, &waiting->ban, &waiting->answer);
    take_lift(self, &waiting->ban, request->at_ms, &waiting->answer);
    return true;
}

static void take_request(void *arg, caller_t *caller, const char *line, size_t length)
{
    intake_t *self = arg;
    waiting_t *waiting = &self->waiting[self->waiting_count++];
    request_t request;
    fault_t fault;
    waiting->caller = caller;
    int rc = request_parse(line, length, &request, &fault);
    if (request.jail[0] != '\0')
        jails_name(self->jails, request.jail, request.ban.jail);
    note_call(self, request.ban.jail);
    if (rc == -1) {
        note_malformed(self, &request, &fault);
        say(&waiting->answer, REQUEST_ANSWER_MALFORMED, "%s", fault.text);
        waiting->decided = true;
    } else {
        waiting->ban = request.ban;
        if (request.is_import)
            waiting->ban.time_ms = applier_exact_time(self->applier, &request.ban);
        waiting->verb = request.verb;
        waiting->at_ms = request.at_ms;
        waiting->decided = is_decided(self, caller_user(caller), &request, waiting);
    }
    if (self->waiting_count == WIRE_EVENTS_MAX)
        flush(self);
}

static void forget(void *arg, const caller_t *caller)
{
    intake_t *self = arg;
    for (size_t i = 0; i < self->waiting_count; i++)
        if (self->waiting[i].caller == caller)
            self->waiting[i].caller = NULL;
}

static bool may_speak(void *arg, uid_t user, answer_t *refusal)
{
    intake_t *self = arg;
    if (publishers_has(&self->publishers, user))
        return true;
    say(refusal, REQUEST_ANSWER_FAILED, "user %u may not publish (publish / users)",
        (unsigned)user);
    self->counts[INTAKE_FOREIGN_USER]++;
    publishers_warn(&self->publishers, user);
    return false;
}

/* Other callers that are ready in this round join the group; a lone one waits for nobody. */
static void end_turn(void *arg, bool alone)
{
    intake_t *self = arg;
    if (self->waiting_count == 1 && alone)
        flush(self);
    else if (self->waiting_count > 0)
        soon_call(self->flush_soon);
}

/* ---- the spool ---- */

static bool is_full(void *arg)
{
    const intake_t *self = arg;
    return state_is_full(feed_state(service_feed(self->service)));
}

static int take_spooled(void *arg, const request_t *requests, size_t count)
{
    intake_t *self = arg;
    own_feed_item_t items[SPOOL_GROUP_MAX];
    ban_t bans[SPOOL_GROUP_MAX];
    answer_t answer;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bans[i] = requests[i].ban;
        jails_name(self->jails, requests[i].jail, bans[i].jail);
        note_call(self, bans[i].jail);
        if (is_lift(self, requests[i].verb, &bans[i])) {
            if (take_lift(self, &bans[i], requests[i].at_ms, &answer) == -1)
                return -1;
        } else if (!is_skipped(self, &requests[i], &bans[i], &answer))
            items[kept++] = item_of(&bans[i], requests[i].verb, requests[i].at_ms);
    }
    if (store(self, items, kept) == -1)
        return -1;
    for (size_t i = 0; i < kept; i++)
        note_stored(self, &items[i], true, &answer);
    return 0;
}

/* ---- start ---- */

void intake_advise(const settings_t *settings)
{
    publishers_t users;
    publishers_set(&users, settings, true);
}

void intake_reload(intake_t *self)
{
    publishers_set(&self->publishers, service_settings(self->service), true);
}

intake_t *intake_new(service_t *service, applier_t *applier, fault_t *fault)
{
    intake_t *self = xcalloc(1, sizeof *self);
    const settings_t *settings = service_settings(service);
    const spooled_config_t spooled = {service_loop(service), settings->publish.spool, take_spooled,
                                      is_full, self};
    const callers_config_t callers = {.loop = service_loop(service),
                                      .path = settings->publish.socket,
                                      .may = may_speak,
                                      .line = take_request,
                                      .gone = forget,
                                      .turned = end_turn,
                                      .arg = self};
    self->service = service;
    self->started = wall_now();
    self->own_feed = service_own_feed(service);
    self->applier = applier;
    self->malformed = json_object();
    publishers_set(&self->publishers, settings, false); /* intake_advise has warned */
    self->jails = jails_new(feed_own_db(service_feed(service)), fault);
    if (self->jails != NULL)
        self->callers = callers_new(&callers, fault);
    if (self->callers != NULL)
        self->spooled = spooled_new(&spooled, fault);
    if (self->spooled == NULL) {
        intake_destroy(&self);
        return NULL;
    }
    self->flush_soon = soon_new(service_loop(service), flush, self);
    spooled_begin(self->spooled);
    return self;
}

void intake_destroy(intake_t **self_p)
{
    intake_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    flush(self);
    callers_destroy(&self->callers);
    soon_destroy(&self->flush_soon);
    spooled_destroy(&self->spooled);
    json_decref(self->malformed);
    jails_destroy(&self->jails);
    free(self);
}

static json_t *hook_status(const intake_t *self)
{
    char since[sizeof "2026-11-30 22:23 UTC"];
    time_t started = (time_t)(self->started.ms / MS_PER_S);
    struct tm utc;
    gmtime_r(&started, &utc);
    strftime(since, sizeof since, "%Y-%m-%d %H:%M UTC", &utc);
    if (!self->called)
        return json_pack("{s:s}", "not_called_since", since);
    return json_pack("{s:s, s:I}", "jail", self->called_for, "called_s_ago",
                     (json_int_t)(mono_since_ms(self->called_at) / MS_PER_S));
}

/* fail2ban runs here, and nothing of it ever came: its jails lack the action, or do not know of it
 * yet. */
static void look_at_hook(const intake_t *self, json_t *status, uint64_t batches)
{
    const char *since =
        json_string_value(json_object_get(json_object_get(status, "hook"), "not_called_since"));
    if (since != NULL && batches == 0 && applier_sees_fail2ban(self->applier) &&
        !applier_sees_publishers(self->applier))
        attention_add(status,
                      "no jail of this host has called the hook since %s: has one the action "
                      "\"banmesh\"? fail2ban takes a new action of a running jail at "
                      "fail2ban-client reload --restart JAIL",
                      since);
}

void intake_status(const intake_t *self, json_t *status)
{
    const spool_result_t *spooled = spooled_counts(self->spooled);
    json_t *counts = json_object();
    for (int i = 0; i < INTAKE_COUNT; i++) {
        uint64_t count = i == INTAKE_SPOOLED           ? spooled->taken
                         : i == INTAKE_REJECTED_RECORD ? spooled->rejected
                                                       : self->counts[i];
        if (count > 0 || i == INTAKE_STORED)
            json_object_set_new(counts, count_names[i], json_integer((json_int_t)count));
    }
    json_object_set_new(status, "intake", counts);
    if (self->counts[INTAKE_MALFORMED] > 0) {
        if (mono_since_ms(self->malformed_at) < LOOK_AT_MS)
            attention_add(status, "%" PRIu64 " requests of hooks were malformed, the last: %s",
                          self->counts[INTAKE_MALFORMED], self->last_malformed.text);
        json_object_set_new(self->malformed, "last",
                            json_sprintf("%" PRId64 " s ago: %s",
                                         mono_since_ms(self->malformed_at) / MS_PER_S,
                                         self->last_malformed.text));
        json_object_set(status, "malformed", self->malformed);
    }
    json_object_set_new(status, "jails", jails_json(self->jails));
    uint64_t batches;
    uint64_t epochs;
    own_feed_size(self->own_feed, &batches, &epochs);
    json_object_set_new(status, "hook", hook_status(self));
    look_at_hook(self, status, batches);
    json_object_set_new(status, "own_log",
                        json_pack("{s:I, s:I}", "batches", (json_int_t)batches, "epochs",
                                  (json_int_t)epochs));
}
