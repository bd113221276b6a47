#include "hand_in.h"

#include "clock.h"
#include "request.h"
#include "unix_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define WAIT_S     60
#define ANSWER_MAX 600

struct hand_in {
    int fd;
    FILE *answers; /* reads from it */
    char *text;    /* of requests; grows */
    size_t used;
    size_t size;
};

hand_in_t *hand_in_new(const char *path, fault_t *fault)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    hand_in_t *self = xcalloc(1, sizeof *self);
    self->fd = unix_socket_connect(path, SOCK_STREAM, WAIT_S * MS_PER_S);
    if (self->fd == -1) {
        fault_set(fault, "%s: %s; is banmeshd running?", path, strerror(errno));
        hand_in_destroy(&self);
        return NULL;
    }
    setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(self->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    self->answers = fdopen(self->fd, "r");
    if (self->answers == NULL)
        fatal("no stream");
    return self;
}

void hand_in_destroy(hand_in_t **self_p)
{
    hand_in_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->answers != NULL)
        fclose(self->answers);
    free(self->text);
    free(self);
}

static void add_request(hand_in_t *self, const char *jail, const helper_ticket_t *ticket)
{
    char line[REQUEST_LINE_MAX];
    char address[ADDR_TEXT_MAX];
    char number[32];
    request_begin(line, REQUEST_BAN);
    request_add(line, "jail", jail);
    request_add(line, "ip", addr_print(&ticket->address, address));
    snprintf(number, sizeof number, "%" PRId64, ticket->start_s);
    request_add(line, "time", number);
    snprintf(number, sizeof number, "%" PRId64, ticket->bantime_s);
    request_add(line, "bantime", number);
    request_add(line, "import", "1");
    size_t length = strlen(line);
    if (self->size - self->used < length + 1) {
        self->size = self->size * 2 + length + 1;
        self->text = xrealloc(self->text, self->size);
    }
    memcpy(self->text + self->used, line, length);
    self->text[self->used + length] = '\n';
    self->used += length + 1;
}

/* The answers to all of it fit the socket's queue: the node never waits for us while we send. */
static int send_requests(hand_in_t *self, fault_t *fault)
{
    size_t sent = 0;
    while (sent < self->used) {
        ssize_t got = send(self->fd, self->text + sent, self->used - sent, MSG_NOSIGNAL);
        /* A node that turns us away may have hung up: its answer waits all the same. */
        if (got == -1 && (errno == EPIPE || errno == ECONNRESET))
            return 0;
        if (got == -1)
            return fault_set(fault, "banmeshd: %s", strerror(errno));
        sent += (size_t)got;
    }
    return 0;
}

static bool begins(const char *answer, const char *word)
{
    return strncmp(answer, word, strlen(word)) == 0;
}

static int take_answer(const char *answer, hand_in_counts_t *counts, fault_t *fault)
{
    if (begins(answer, REQUEST_ANSWER_OK)) {
        bool is_known = strstr(answer, " repeated") != NULL;
        counts->known += is_known;
        counts->announced += !is_known;
    } else if (begins(answer, REQUEST_ANSWER_SKIPPED))
        counts->not_for_others++;
    else if (begins(answer, REQUEST_ANSWER_MALFORMED))
        counts->refused++;
    else
        return fault_set(fault, "banmeshd: %.200s", answer);
    return 0;
}

int hand_in_bans(hand_in_t *self, const char *jail, const helper_ticket_t *tickets, size_t count,
                 hand_in_counts_t *counts, fault_t *fault)
{
    char answer[ANSWER_MAX];
    self->used = 0;
    for (size_t i = 0; i < count; i++)
        add_request(self, jail, &tickets[i]);
    if (send_requests(self, fault) == -1)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (fgets(answer, sizeof answer, self->answers) == NULL)
            return fault_set(fault, "banmeshd gives no answer any more");
        answer[strcspn(answer, "\n")] = '\0';
        log_make_printable(answer);
        if (take_answer(answer, counts, fault) == -1)
            return -1;
    }
    return 0;
}
