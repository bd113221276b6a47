#include "feeder.h"

#include "clock.h"
#include "measure.h"
#include "request.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GROUP_BYTES      49152 /* a system call, as the intake reads them */
#define ANSWER_START_MAX 8
#define WAIT_MS          60000
#define BANTIME_S        86400
#define COUNT_LIMIT      (1u << 24)

struct feeder {
    char *text; /* all requests, end to end */
    size_t *ends;
    size_t count;
    size_t sent; /* bytes */
    size_t answered;
    char begun[ANSWER_START_MAX + 1]; /* the first bytes of an answer whose end has not come */
    size_t begun_length;
};

void feeder_address(size_t i, char text[static 16])
{
    snprintf(text, 16, "26.%u.%u.%u", (unsigned)(i >> 16) & 255, (unsigned)(i >> 8) & 255,
             (unsigned)i & 255);
}

void feeder_ban(size_t i, size_t count, int64_t now_ms, ban_t *ban)
{
    char address[16];
    feeder_address(i, address);
    memset(ban, 0, sizeof *ban);
    if (addr_parse(address, &ban->address) != ADDR_OK)
        fatalx("%s: no address", address);
    snprintf(ban->jail, sizeof ban->jail, "sshd");
    ban->time_ms = now_ms - (int64_t)(count - i);
    ban->duration_s = BANTIME_S;
    ban->failures = 5;
    ban->bancount = 1;
    snprintf(ban->port, sizeof ban->port, "ssh");
    snprintf(ban->protocol, sizeof ban->protocol, "tcp");
}

feeder_t *feeder_new(size_t count)
{
    feeder_t *self = xcalloc(1, sizeof *self);
    char line[REQUEST_LINE_MAX];
    size_t used = 0;
    size_t size = 0;
    if (count > COUNT_LIMIT)
        fatalx("%zu bans: expected at most %u", count, COUNT_LIMIT);
    self->count = count;
    self->ends = xmalloc(count * sizeof *self->ends);
    for (size_t i = 0; i < count; i++) {
        ban_t ban;
        feeder_ban(i, count, wall_now().ms, &ban);
        size_t length = request_format(&ban, line);
        line[length++] = '\n';
        if (size - used < length) {
            size = size * 2 + REQUEST_LINE_MAX;
            self->text = xrealloc(self->text, size);
        }
        memcpy(self->text + used, line, length);
        used += length;
        self->ends[i] = used;
    }
    return self;
}

void feeder_destroy(feeder_t **self_p)
{
    free((*self_p)->text);
    free((*self_p)->ends);
    free(*self_p);
    *self_p = NULL;
}

/* Where the requests end that the window has room for. */
static size_t window_end(const feeder_t *self, size_t outstanding)
{
    size_t until = self->answered + outstanding;
    return self->ends[(until < self->count ? until : self->count) - 1];
}

/* Send what the window has room for, one group at most. Returns how many bytes. */
static size_t send_group(feeder_t *self, int fd, size_t outstanding)
{
    size_t size = window_end(self, outstanding) - self->sent;
    if (size == 0)
        return 0;
    if (size > GROUP_BYTES)
        size = GROUP_BYTES;
    ssize_t sent = send(fd, self->text + self->sent, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == -1 && errno != EAGAIN)
        fatal("intake");
    self->sent += sent > 0 ? (size_t)sent : 0;
    return sent > 0 ? (size_t)sent : 0;
}

/* Note the next bytes of an answer; what counts is its first word. */
static void note(feeder_t *self, const char *text, size_t length)
{
    size_t room = ANSWER_START_MAX - self->begun_length;
    size_t some = length < room ? length : room;
    memcpy(self->begun + self->begun_length, text, some);
    self->begun_length += some;
    self->begun[self->begun_length] = '\0';
}

static void end_answer(feeder_t *self)
{
    if (strncmp(self->begun, REQUEST_ANSWER_OK " ", strlen(REQUEST_ANSWER_OK " ")) != 0)
        fatalx("intake answered \"%s...\"", self->begun);
    self->begun_length = 0;
    self->answered++;
}

/* Take the answers that are there. Returns how many bytes. */
static size_t take_answers(feeder_t *self, int fd)
{
    static char text[GROUP_BYTES];
    ssize_t got = recv(fd, text, sizeof text, MSG_DONTWAIT);
    if (got == -1 && errno != EAGAIN)
        fatal("intake");
    if (got == 0)
        fatalx("intake hung up");
    const char *end = text + (got > 0 ? got : 0);
    const char *newline;
    const char *at = text;
    for (; (newline = memchr(at, '\n', (size_t)(end - at))) != NULL; at = newline + 1) {
        note(self, at, (size_t)(newline - at));
        end_answer(self);
    }
    note(self, at, (size_t)(end - at));
    return (size_t)(end - text);
}

int64_t feeder_run(feeder_t *self, int fd, size_t outstanding)
{
    int64_t start = now_ns();
    self->sent = self->answered = self->begun_length = 0;
    while (self->answered < self->count) {
        size_t sent = send_group(self, fd, outstanding);
        if (sent + take_answers(self, fd) > 0)
            continue;
        bool has_room = self->sent < window_end(self, outstanding);
        struct pollfd wait = {.fd = fd, .events = (short)(POLLIN | (has_room ? POLLOUT : 0))};
        if (poll(&wait, 1, WAIT_MS) != 1)
            fatalx("intake: no answer for %d s", WAIT_MS / 1000);
    }
    return now_ns() - start;
}
