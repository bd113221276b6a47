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

#define GROUP       64 /* packets a system call, as the intake reads them */
#define ANSWER_MAX  160
#define WAIT_MS     60000
#define BANTIME_S   86400
#define COUNT_LIMIT (1u << 24)

struct feeder {
    char *text; /* all requests, end to end */
    size_t *ends;
    size_t count;
    size_t sent;
    size_t answered;
};

void feeder_address(size_t i, char text[static 16])
{
    snprintf(text, 16, "26.%u.%u.%u", (unsigned)(i >> 16) & 255, (unsigned)(i >> 8) & 255,
             (unsigned)i & 255);
}

void feeder_ban(size_t i, size_t count, int64_t now_ms, ban_t *ban)
{
    char address[16];
    fault_t fault;
    feeder_address(i, address);
    request_init(ban);
    if (request_set(ban, "ip", address, &fault) != 0 ||
        request_set(ban, "jail", "sshd", &fault) != 0)
        fatalx("%s", fault.text);
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

/* Send what the window has room for, one group at most. Returns how many. */
static size_t send_group(feeder_t *self, int fd, size_t outstanding)
{
    struct mmsghdr packets[GROUP];
    struct iovec parts[GROUP];
    size_t room = outstanding - (self->sent - self->answered);
    size_t left = self->count - self->sent;
    size_t count = room < left ? room : left;
    if (count > GROUP)
        count = GROUP;
    if (count == 0)
        return 0;
    memset(packets, 0, sizeof packets);
    for (size_t i = 0; i < count; i++) {
        size_t at = self->sent + i;
        size_t start = at > 0 ? self->ends[at - 1] : 0;
        parts[i] = (struct iovec){self->text + start, self->ends[at] - start};
        packets[i].msg_hdr.msg_iov = &parts[i];
        packets[i].msg_hdr.msg_iovlen = 1;
    }
    int sent = sendmmsg(fd, packets, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == -1 && errno != EAGAIN)
        fatal("intake");
    self->sent += sent > 0 ? (size_t)sent : 0;
    return sent > 0 ? (size_t)sent : 0;
}

static void check_answer(const char *answer, size_t length)
{
    size_t word = strlen(REQUEST_ANSWER_OK);
    if (length < word || memcmp(answer, REQUEST_ANSWER_OK, word) != 0)
        fatalx("intake answered \"%.*s\"", (int)length, answer);
}

/* Take the answers that are there, one group at most. Returns how many. */
static size_t take_answers(feeder_t *self, int fd)
{
    static char answers[GROUP][ANSWER_MAX];
    struct mmsghdr packets[GROUP];
    struct iovec parts[GROUP];
    memset(packets, 0, sizeof packets);
    for (size_t i = 0; i < GROUP; i++) {
        parts[i] = (struct iovec){answers[i], ANSWER_MAX};
        packets[i].msg_hdr.msg_iov = &parts[i];
        packets[i].msg_hdr.msg_iovlen = 1;
    }
    int got = recvmmsg(fd, packets, GROUP, MSG_DONTWAIT, NULL);
    if (got == -1 && errno != EAGAIN)
        fatal("intake");
    for (int i = 0; i < got; i++)
        check_answer(answers[i], packets[i].msg_len);
    self->answered += got > 0 ? (size_t)got : 0;
    return got > 0 ? (size_t)got : 0;
}

int64_t feeder_run(feeder_t *self, int fd, size_t outstanding)
{
    int64_t start = now_ns();
    self->sent = self->answered = 0;
    while (self->answered < self->count) {
        size_t sent = send_group(self, fd, outstanding);
        if (sent + take_answers(self, fd) > 0)
            continue;
        bool has_room = self->sent < self->count && self->sent - self->answered < outstanding;
        struct pollfd wait = {.fd = fd, .events = (short)(POLLIN | (has_room ? POLLOUT : 0))};
        if (poll(&wait, 1, WAIT_MS) != 1)
            fatalx("intake: no answer for %d s", WAIT_MS / 1000);
    }
    return now_ns() - start;
}
