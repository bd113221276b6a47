#include "jail_reader.h"

#include "helper_reach.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_WAIT_S 75 /* the helper itself waits a minute for fail2ban */

struct jail_reader {
    int fd;
    pid_t child;
    uint32_t tag;
    uint8_t record[HELPER_RECORD_MAX];
};

jail_reader_t *jail_reader_new(const settings_t *settings, fault_t *fault)
{
    const helper_place_t place = {settings->helper.socket, settings->shared.jail,
                                  settings->shared.fail2ban};
    const struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    jail_reader_t *self = xcalloc(1, sizeof *self);
    self->fd = helper_reach(&place, 0, &self->child, fault);
    if (self->fd == -1)
        jail_reader_destroy(&self);
    else
        setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    return self;
}

void jail_reader_destroy(jail_reader_t **self_p)
{
    jail_reader_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->fd != -1)
        close(self->fd);
    helper_end_child(&self->child);
    free(self);
}

/* ---- one request ---- */

/* Takes one record of an answer. Returns 0, or -1 and the fault. */
typedef int(take_fn)(void *arg, const helper_answer_t *answer, fault_t *fault);

static int read_answer(jail_reader_t *self, helper_what_t what, helper_answer_t *answer,
                       fault_t *fault)
{
    ssize_t got = recv(self->fd, self->record, sizeof self->record, 0);
    if (got <= 0)
        return fault_set(fault, "banmesh-helper: %s",
                         got == 0 ? "it ended before it answered" : strerror(errno));
    if (helper_answer_read(self->record, (size_t)got, answer) == -1 || answer->tag != self->tag ||
        answer->what != what)
        return fault_set(fault, "banmesh-helper: an answer that nobody asked for");
    if (answer->status != HELPER_OK)
        return fault_set(fault, "banmesh-helper: %s", answer->text);
    return 0;
}

static int ask(jail_reader_t *self, helper_request_t *request, take_fn *take, void *arg,
               fault_t *fault)
{
    helper_answer_t answer = {0};
    request->tag = ++self->tag;
    size_t size = helper_request_write(request, self->record);
    if (send(self->fd, self->record, size, MSG_NOSIGNAL) != (ssize_t)size)
        return fault_set(fault, "banmesh-helper: %s", strerror(errno));
    while (!answer.last)
        if (read_answer(self, request->what, &answer, fault) == -1 ||
            take(arg, &answer, fault) == -1)
            return -1;
    return 0;
}

/* ---- jails ---- */

typedef struct {
    jail_facts_t *jails;
    size_t count;
    char target[HELPER_SOURCE_MAX + 1];
} list_t;

/* All that is said of a jail comes in a row. */
static void add_source(list_t *list, const uint8_t *at)
{
    char name[HELPER_JAIL_BYTES + 1] = "";
    char source[HELPER_SOURCE_MAX + 1] = "";
    helper_source_t kind = (helper_source_t)at[HELPER_JAIL_BYTES];
    memcpy(name, at, HELPER_JAIL_BYTES);
    memcpy(source, at + HELPER_JAIL_BYTES + 1, HELPER_SOURCE_MAX);
    if (kind == HELPER_TARGET) {
        memcpy(list->target, source, sizeof source);
        return;
    }
    if (list->count == 0 || strcmp(list->jails[list->count - 1].name, name) != 0) {
        list->jails = xrealloc(list->jails, (list->count + 1) * sizeof *list->jails);
        list->jails[list->count] = (jail_facts_t){0};
        memcpy(list->jails[list->count++].name, name, sizeof name);
    }
    jail_facts_add(&list->jails[list->count - 1], list->target, kind, source);
}

static int take_sources(void *arg, const helper_answer_t *answer, fault_t *fault)
{
    (void)fault;
    for (size_t i = 0; i < answer->count; i++)
        add_source(arg, answer->items + i * HELPER_SOURCE_BYTES);
    return 0;
}

int jail_reader_jails(jail_reader_t *self, jail_facts_t **jails, size_t *count, fault_t *fault)
{
    helper_request_t request = {.what = HELPER_JAILS};
    list_t list = {0};
    if (ask(self, &request, take_sources, &list, fault) == -1) {
        free(list.jails);
        return -1;
    }
    *jails = list.jails;
    *count = list.count;
    return 0;
}

/* ---- what one holds ---- */

typedef struct {
    jail_reader_fn *each;
    void *arg;
} reader_t;

static int take_tickets(void *arg, const helper_answer_t *answer, fault_t *fault)
{
    const reader_t *reader = arg;
    helper_ticket_t tickets[HELPER_TICKETS_MAX];
    if (answer->count > HELPER_TICKETS_MAX)
        return fault_set(fault, "banmesh-helper: %zu bans in one record", answer->count);
    for (size_t i = 0; i < answer->count; i++)
        if (!helper_ticket_get(answer->items + i * HELPER_TICKET_BYTES, &tickets[i]))
            return fault_set(fault, "banmesh-helper: an address that is none");
    return reader->each(reader->arg, tickets, answer->count, fault);
}

int jail_reader_tickets(jail_reader_t *self, const char *jail, jail_reader_fn *each, void *arg,
                        fault_t *fault)
{
    helper_request_t request = {.what = HELPER_LIST};
    reader_t reader = {each, arg};
    memcpy(request.jail, jail, strnlen(jail, sizeof request.jail - 1));
    return ask(self, &request, take_tickets, &reader, fault);
}
