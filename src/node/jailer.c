#include "jailer.h"

#include "clock.h"
#include "helper_reach.h"
#include "soon.h"
#include "ticker.h"

#include <czmq.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS      1000
#define LIMIT_MS     75000 /* the helper itself waits a minute for fail2ban */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 60000
#define TURN_RECORDS 16 /* before others get their turn */

/* What is asked, and who wants to know. */
typedef struct {
    helper_request_t record;
    jailer_lifted_fn *lifted;
    jailer_counted_fn *counted;
    jailer_tickets_fn *tickets;
    jailer_source_fn *source;
    jailer_done_fn *done;
    void *arg;
    mono_t limit;
    bool held[JAILER_LIFT_MAX];
    uint8_t jails[JAILER_LIFT_MAX];
    size_t lifted_count;
} asked_t;

struct jailer {
    zloop_t *loop;
    const settings_t *settings;
    ticker_t *ticker;
    soon_t *failed_soon;
    zmq_pollitem_t item; /* the connection; fd -1: none */
    pid_t child;         /* 0: none */
    bool asking;
    asked_t asked;
    uint32_t tag;
    mono_t pause_until;
    int64_t pause_ms;
    jailer_status_t last;
    jailer_status_t status; /* of what failed in the call itself */
    fault_t fault;
};

/* ---- the connection ---- */

static void hang_up(jailer_t *self)
{
    if (self->item.fd != -1) {
        zloop_poller_end(self->loop, &self->item);
        close(self->item.fd);
        self->item.fd = -1;
    }
    helper_end_child(&self->child);
}

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg);

/* Returns 0, or -1 and the fault. */
static int have_helper(jailer_t *self)
{
    if (self->item.fd != -1)
        return 0;
    const helper_place_t place = {self->settings->helper.socket, self->settings->shared.jail,
                                  self->settings->shared.fail2ban};
    int fd = helper_reach(&place, SOCK_NONBLOCK, &self->child, &self->fault);
    if (fd == -1)
        return -1;
    self->item = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    zloop_poller(self->loop, &self->item, serve, self);
    zloop_poller_set_tolerant(self->loop, &self->item);
    return 0;
}

/* ---- the end of a request ---- */

/* A helper that hangs or talks nonsense is given up. */
static void pause_after(jailer_t *self, jailer_status_t status)
{
    self->last = status;
    if (status == JAILER_OK) {
        self->pause_ms = PAUSE_MIN_MS;
        return;
    }
    if (status == JAILER_NO_HELPER || status == JAILER_FAILED)
        hang_up(self);
    self->pause_until.ms = mono_now().ms + self->pause_ms;
    self->pause_ms = self->pause_ms * 2 < PAUSE_MAX_MS ? self->pause_ms * 2 : PAUSE_MAX_MS;
}

static void end(jailer_t *self, jailer_status_t status)
{
    const asked_t asked = self->asked; /* who is told may ask for more at once */
    size_t count = status == JAILER_OK ? asked.lifted_count : 0;
    if (!self->asking)
        return;
    self->asking = false;
    pause_after(self, status);
    if (asked.lifted != NULL)
        asked.lifted(asked.arg, status, asked.held, count);
    else if (asked.counted != NULL)
        asked.counted(asked.arg, status, asked.jails, count);
    else
        asked.done(asked.arg, status);
}

static void fail(jailer_t *self, jailer_status_t status, const char *why)
{
    fault_set(&self->fault, "banmesh-helper: %s", why);
    end(self, status);
}

/* ---- answers ---- */

static jailer_status_t status_of(helper_status_t status)
{
    switch (status) {
    case HELPER_OK:
        return JAILER_OK;
    case HELPER_NO_FAIL2BAN:
        return JAILER_NO_FAIL2BAN;
    case HELPER_REFUSED:
        return JAILER_REFUSED;
    default:
        return JAILER_FAILED;
    }
}

static bool take_lifted(asked_t *asked, const helper_answer_t *answer)
{
    if (!answer->last || answer->count != asked->record.count)
        return false;
    for (size_t i = 0; i < answer->count; i++)
        asked->held[i] = answer->items[i] != 0;
    memcpy(asked->jails, answer->items, answer->count);
    asked->lifted_count = answer->count;
    return true;
}

static bool take_tickets(const asked_t *asked, const helper_answer_t *answer)
{
    static jailer_ticket_t tickets[HELPER_TICKETS_MAX];
    if (answer->count > HELPER_TICKETS_MAX)
        return false;
    for (size_t i = 0; i < answer->count; i++)
        if (!helper_ticket_get(answer->items + i * HELPER_TICKET_BYTES, &tickets[i]))
            return false;
    asked->tickets(asked->arg, tickets, answer->count);
    return true;
}

static bool take_sources(const asked_t *asked, const helper_answer_t *answer)
{
    for (size_t i = 0; i < answer->count; i++) {
        const uint8_t *at = answer->items + i * HELPER_SOURCE_BYTES;
        jailer_source_t source = {.kind = (helper_source_t)at[HELPER_JAIL_BYTES]};
        memcpy(source.jail, at, HELPER_JAIL_BYTES);
        memcpy(source.source, at + HELPER_JAIL_BYTES + 1, HELPER_SOURCE_MAX);
        if (source.kind > HELPER_TARGET)
            return false;
        asked->source(asked->arg, &source);
    }
    return true;
}

static bool take_items(jailer_t *self, const helper_answer_t *answer)
{
    switch (answer->what) {
    case HELPER_LIFT:
    case HELPER_LIFT_ALL:
        return take_lifted(&self->asked, answer);
    case HELPER_LIST:
        return take_tickets(&self->asked, answer);
    case HELPER_JAILS:
        return take_sources(&self->asked, answer);
    case HELPER_UNKNOWN:
        break;
    }
    return false;
}

static void take_record(jailer_t *self, const uint8_t *record, size_t size)
{
    helper_answer_t answer;
    if (!self->asking) {
        fault_set(&self->fault, "banmesh-helper: an answer though nobody asked");
        pause_after(self, JAILER_FAILED);
    } else if (helper_answer_read(record, size, &answer) == -1 || answer.tag != self->tag)
        fail(self, JAILER_FAILED, "an answer that nobody asked for");
    else if (answer.status != HELPER_OK)
        fail(self, status_of(answer.status), answer.text);
    else if (answer.what != self->asked.record.what || !take_items(self, &answer))
        fail(self, JAILER_FAILED, "an answer to something else");
    else if (answer.last)
        end(self, JAILER_OK);
}

/* A helper that ends without being asked (nobody needs it, an upgrade) is no fault. */
static void helper_ended(jailer_t *self)
{
    if (self->asking)
        fail(self, JAILER_NO_HELPER, "it ended before it answered");
    hang_up(self);
}

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    jailer_t *self = arg;
    uint8_t record[HELPER_RECORD_MAX];
    (void)loop;
    for (int i = 0; i < TURN_RECORDS && self->item.fd == item->fd && item->fd != -1; i++) {
        ssize_t got = recv(item->fd, record, sizeof record, MSG_DONTWAIT);
        if (got == -1 && errno == EAGAIN)
            return 0;
        if (got <= 0) {
            helper_ended(self);
            return 0;
        }
        take_record(self, record, (size_t)got);
    }
    return 0;
}

/* ---- requests ---- */

static void tick(void *arg)
{
    jailer_t *self = arg;
    if (self->asking && mono_now().ms >= self->asked.limit.ms)
        fail(self, JAILER_FAILED, "no answer in time");
}

/* What failed in the call itself is told in the next round. */
static void tell_failure(void *arg)
{
    jailer_t *self = arg;
    end(self, self->status);
}

static void send_request(jailer_t *self)
{
    uint8_t record[HELPER_RECORD_MAX];
    self->asked.record.tag = ++self->tag;
    size_t size = helper_request_write(&self->asked.record, record);
    if (have_helper(self) == 0 &&
        send(self->item.fd, record, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size)
        return;
    if (self->item.fd != -1)
        fault_set(&self->fault, "banmesh-helper: %s", strerror(errno));
    self->status = JAILER_NO_HELPER;
    soon_call(self->failed_soon);
}

static bool ask(jailer_t *self, const asked_t *asked)
{
    if (!jailer_is_free(self))
        return false;
    self->asked = *asked;
    self->asked.limit.ms = mono_now().ms + LIMIT_MS;
    self->asking = true;
    send_request(self);
    return true;
}

static bool ask_to_lift(jailer_t *self, asked_t *asked, const addr_t *addresses, size_t count)
{
    asked->record.count = count;
    memcpy(asked->record.addresses, addresses, count * sizeof *addresses);
    return ask(self, asked);
}

bool jailer_lift(jailer_t *self, const addr_t *addresses, size_t count, jailer_lifted_fn *done,
                 void *arg)
{
    asked_t asked = {.record = {.what = HELPER_LIFT}, .lifted = done, .arg = arg};
    return ask_to_lift(self, &asked, addresses, count);
}

bool jailer_lift_everywhere(jailer_t *self, const addr_t *addresses, size_t count,
                            jailer_counted_fn *done, void *arg)
{
    asked_t asked = {.record = {.what = HELPER_LIFT_ALL}, .counted = done, .arg = arg};
    return ask_to_lift(self, &asked, addresses, count);
}

bool jailer_list(jailer_t *self, const char *jail, jailer_tickets_fn *portion, jailer_done_fn *done,
                 void *arg)
{
    asked_t asked = {.record = {.what = HELPER_LIST}, .tickets = portion, .done = done, .arg = arg};
    snprintf(asked.record.jail, sizeof asked.record.jail, "%s", jail);
    return ask(self, &asked);
}

bool jailer_jails(jailer_t *self, jailer_source_fn *each, jailer_done_fn *done, void *arg)
{
    const asked_t asked = {.record = {.what = HELPER_JAILS},
                           .source = each,
                           .done = done,
                           .arg = arg};
    return ask(self, &asked);
}

/* ---- the rest ---- */

bool jailer_is_free(const jailer_t *self)
{
    return !self->asking && *self->settings->shared.fail2ban != '\0' &&
           mono_now().ms >= self->pause_until.ms;
}

const fault_t *jailer_fault(const jailer_t *self)
{
    return self->last != JAILER_OK ? &self->fault : NULL;
}

jailer_status_t jailer_last(const jailer_t *self)
{
    return self->last;
}

jailer_t *jailer_new(zloop_t *loop, const settings_t *settings)
{
    jailer_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->settings = settings;
    self->item.fd = -1;
    self->pause_ms = PAUSE_MIN_MS;
    self->ticker = ticker_new(loop, TICK_MS, tick, self);
    self->failed_soon = soon_new(loop, tell_failure, self);
    return self;
}

void jailer_destroy(jailer_t **self_p)
{
    jailer_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    hang_up(self);
    ticker_destroy(&self->ticker);
    soon_destroy(&self->failed_soon);
    free(self);
}

/* Another jail or fail2ban: a child of ours is told so at its start. */
void jailer_set(jailer_t *self, const settings_t *settings)
{
    bool is_other = !streq(settings->shared.jail, self->settings->shared.jail) ||
                    !streq(settings->shared.fail2ban, self->settings->shared.fail2ban) ||
                    !streq(settings->helper.socket, self->settings->helper.socket);
    self->settings = settings;
    if (!is_other)
        return;
    if (self->asking)
        fail(self, JAILER_NO_HELPER, "settings changed before it answered");
    hang_up(self);
    self->pause_until.ms = 0;
}
