#include "intake.h"

#include "answers.h"
#include "attention.h"
#include "jails.h"
#include "local.h"
#include "own_feed.h"
#include "publishers.h"
#include "request.h"
#include "soon.h"
#include "special.h"
#include "spooled.h"

#include <czmq.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS_MAX 256
#define READ_BYTES      49152 /* of one connection before others get their turn: about a group */
#define SOCKET_MODE     0666  /* who may is asked of the kernel: hardened units cannot open less */
#define LOOK_AT_MS      (60 * 60 * MS_PER_S) /* what was wrong is shown for so long */

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

typedef struct {
    intake_t *intake;
    zmq_pollitem_t item;
    uid_t user;
    answers_t answers;           /* while some wait for room, it is not read */
    char line[REQUEST_LINE_MAX]; /* the beginning of one whose end has not come yet */
    size_t line_length;          /* may be more */
    bool dead;
} connection_t;

/* A request that waits for the group's commit; answered already if it needs none. */
typedef struct {
    connection_t *connection; /* NULL: of the spool, or hung up meanwhile */
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
    zmq_pollitem_t listener;
    int spare; /* see local_accept */
    char *socket_path;
    connection_t *connections[CONNECTIONS_MAX];
    size_t connection_count;
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

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg);

static void wait_for(connection_t *connection, short events)
{
    zloop_t *loop = service_loop(connection->intake->service);
    if (connection->item.events == events)
        return;
    zloop_poller_end(loop, &connection->item);
    connection->item.events = events;
    zloop_poller(loop, &connection->item, serve, connection);
    zloop_poller_set_tolerant(loop, &connection->item);
}

static void deliver(connection_t *connection)
{
    /* If it is gone, its own handler hangs up: others of its answers may wait here. */
    connection->dead = !answers_send(&connection->answers, connection->item.fd);
    if (connection->answers.used > 0)
        wait_for(connection, ZMQ_POLLOUT);
}

static void deliver_all(intake_t *self)
{
    for (size_t i = 0; i < self->waiting_count; i++) {
        connection_t *connection = self->waiting[i].connection;
        if (connection == NULL || connection->dead)
            continue;
        answers_add(&connection->answers, &self->waiting[i].answer);
        if (i + 1 == self->waiting_count || self->waiting[i + 1].connection != connection)
            deliver(connection);
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

/* jail: its name in the mesh; "": the request does not say */
static void note_call(intake_t *self, const char *jail)
{
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
static bool is_refused(intake_t *self, const connection_t *connection, const request_t *request,
                       answer_t *answer)
{
    if (request->verb != REQUEST_UNBAN || publishers_may_lift(connection->user))
        return false;
    say(answer, REQUEST_ANSWER_REFUSED,
        "user %u may not lift bans: only root and the user of banmeshd may",
        (unsigned)connection->user);
    if (self->counts[INTAKE_FOREIGN_UNBAN]++ == 0)
        log_warnx("%s; the next ones are only counted",
                  answer->text + sizeof REQUEST_ANSWER_REFUSED);
    return true;
}

static void take_request(connection_t *connection, const char *line, size_t length)
{
    intake_t *self = connection->intake;
    waiting_t *waiting = &self->waiting[self->waiting_count++];
    request_t request;
    fault_t fault;
    waiting->connection = connection;
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
        waiting->decided = is_refused(self, connection, &request, &waiting->answer);
        if (!waiting->decided && is_lift(self, request.verb, &request.ban)) {
            take_lift(self, &request.ban, request.at_ms, &waiting->answer);
            waiting->decided = true;
        } else if (!waiting->decided)
            waiting->decided = is_skipped(self, &request, &waiting->ban, &waiting->answer);
    }
    if (self->waiting_count == WIRE_EVENTS_MAX)
        flush(self);
}

static void hang_up(connection_t *connection)
{
    intake_t *self = connection->intake;
    for (size_t i = 0; i < self->waiting_count; i++)
        if (self->waiting[i].connection == connection)
            self->waiting[i].connection = NULL;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (self->connections[i] == connection)
            self->connections[i] = NULL;
    self->connection_count--;
    zloop_poller_end(service_loop(self->service), &connection->item);
    close(connection->item.fd);
    answers_free(&connection->answers);
    free(connection);
}

static void keep(connection_t *connection, const char *text, size_t size)
{
    size_t room = sizeof connection->line - connection->line_length;
    if (connection->line_length < sizeof connection->line)
        memcpy(connection->line + connection->line_length, text, size < room ? size : room);
    connection->line_length += size;
}

static void take_text(connection_t *connection, const char *text, const char *end)
{
    const char *newline;
    while ((newline = memchr(text, '\n', (size_t)(end - text))) != NULL) {
        if (connection->line_length == 0)
            take_request(connection, text, (size_t)(newline - text));
        else {
            keep(connection, text, (size_t)(newline - text));
            take_request(connection, connection->line, connection->line_length);
            connection->line_length = 0;
        }
        text = newline + 1;
    }
    keep(connection, text, (size_t)(end - text));
}

/* Returns false when the connection is to end. */
static bool read_requests(connection_t *connection)
{
    char text[READ_BYTES];
    ssize_t got = recv(connection->item.fd, text, sizeof text, MSG_DONTWAIT);
    if (got > 0)
        take_text(connection, text, text + got);
    return !connection->dead && (got > 0 || (got == -1 && errno == EAGAIN));
}

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    connection_t *connection = arg;
    intake_t *self = connection->intake;
    bool alive = !connection->dead;
    (void)loop;
    (void)item;
    if (alive && connection->answers.used > 0) {
        alive = answers_send(&connection->answers, connection->item.fd);
        if (alive && connection->answers.used == 0)
            wait_for(connection, ZMQ_POLLIN);
    } else if (alive)
        alive = read_requests(connection);
    if (!alive)
        hang_up(connection);
    /* Other connections that are ready in this round join the group; a lone one waits for nobody.
     */
    if (self->waiting_count == 1 && self->connection_count == 1)
        flush(self);
    else if (self->waiting_count > 0)
        soon_call(self->flush_soon);
    return 0;
}

static void turn_away(intake_t *self, int fd, uid_t user)
{
    answer_t answer;
    say(&answer, REQUEST_ANSWER_FAILED, "user %u may not publish (publish / users)\n",
        (unsigned)user);
    if (send(fd, answer.text, strlen(answer.text), MSG_NOSIGNAL) == -1)
        log_debug("user %u hung up", (unsigned)user);
    self->counts[INTAKE_FOREIGN_USER]++;
    publishers_warn(&self->publishers, user);
}

static int greet(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    intake_t *self = arg;
    int fd = local_accept(item->fd, &self->spare);
    if (fd == -1)
        return 0;
    size_t slot = 0;
    while (slot < CONNECTIONS_MAX && self->connections[slot] != NULL)
        slot++;
    uid_t user = local_user(fd);
    if (!publishers_has(&self->publishers, user)) {
        turn_away(self, fd, user);
        close(fd);
        return 0;
    }
    if (slot == CONNECTIONS_MAX) {
        close(fd); /* the hook spools */
        return 0;
    }
    connection_t *connection = xcalloc(1, sizeof *connection);
    connection->intake = self;
    connection->user = user;
    connection->item = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    self->connections[slot] = connection;
    self->connection_count++;
    zloop_poller(loop, &connection->item, serve, connection);
    zloop_poller_set_tolerant(loop, &connection->item);
    return 0;
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
    self->service = service;
    self->started = wall_now();
    self->own_feed = service_own_feed(service);
    self->applier = applier;
    self->socket_path = xstrdup(settings->publish.socket);
    self->malformed = json_object();
    publishers_set(&self->publishers, settings, false); /* intake_advise has warned */
    self->spare = local_spare();
    self->listener.fd = -1;
    self->listener.events = ZMQ_POLLIN;
    self->jails = jails_new(feed_own_db(service_feed(service)), fault);
    if (self->jails != NULL)
        self->listener.fd = local_listen(self->socket_path, SOCKET_MODE, fault);
    if (self->listener.fd != -1)
        self->spooled = spooled_new(&spooled, fault);
    if (self->spooled == NULL) {
        intake_destroy(&self);
        return NULL;
    }
    zloop_poller(service_loop(service), &self->listener, greet, self);
    zloop_poller_set_tolerant(service_loop(service), &self->listener);
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
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (self->connections[i] != NULL)
            hang_up(self->connections[i]);
    soon_destroy(&self->flush_soon);
    spooled_destroy(&self->spooled);
    if (self->listener.fd != -1) {
        zloop_poller_end(service_loop(self->service), &self->listener);
        local_close(self->listener.fd, self->socket_path);
    }
    if (self->spare != -1)
        close(self->spare);
    json_decref(self->malformed);
    jails_destroy(&self->jails);
    free(self->socket_path);
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
    if (since != NULL && batches == 0 && applier_sees_fail2ban(self->applier))
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
