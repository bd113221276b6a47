#include "f2b_socket.h"

#include "clock.h"
#include "log.h"
#include "unix_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define END       "<F2B_END_COMMAND>"
#define END_BYTES (sizeof END - 1)
#define READ_MIN  65536

/* Bytes that grow. */
typedef struct {
    uint8_t *bytes;
    size_t used;
    size_t size;
} buffer_t;

static void add_text(buffer_t *self, const char *text)
{
    size_t length = strlen(text);
    if (self->size - self->used < length) {
        self->size = self->size * 2 + length;
        self->bytes = xrealloc(self->bytes, self->size);
    }
    memcpy(self->bytes + self->used, text, length);
    self->used += length;
}

/* Protocol 0: a list, each word a line. */
static void write_command(buffer_t *out, const char *const *words, size_t count)
{
    add_text(out, "(l");
    for (size_t i = 0; i < count; i++) {
        add_text(out, "V");
        add_text(out, words[i]);
        add_text(out, "\na");
    }
    add_text(out, "." END);
}

static helper_status_t because(f2b_answer_t *answer, helper_status_t status, const char *path,
                               const char *why)
{
    snprintf(answer->text, sizeof answer->text, "%.100s: %s", path, why);
    return status;
}

/* Until something can be done, or the time is over. Returns 1, 0, -1. */
static int wait_for(int fd, short events, mono_t until)
{
    struct pollfd wait = {.fd = fd, .events = events};
    int64_t left_ms = until.ms - mono_now().ms;
    return left_ms > 0 ? poll(&wait, 1, (int)left_ms) : 0;
}

static helper_status_t send_command(int fd, const buffer_t *command, mono_t until)
{
    size_t sent = 0;
    while (sent < command->used) {
        if (wait_for(fd, POLLOUT, until) != 1)
            return HELPER_TIMED_OUT;
        ssize_t got = send(fd, command->bytes + sent, command->used - sent, MSG_NOSIGNAL);
        if (got == -1 && errno != EAGAIN)
            return HELPER_NO_FAIL2BAN;
        sent += got > 0 ? (size_t)got : 0;
    }
    return HELPER_OK;
}

static bool has_ended(const buffer_t *in)
{
    return in->used >= END_BYTES && memcmp(in->bytes + in->used - END_BYTES, END, END_BYTES) == 0;
}

static helper_status_t read_answer(int fd, buffer_t *in, mono_t until)
{
    while (!has_ended(in)) {
        if (in->used > F2B_ANSWER_MAX)
            return HELPER_NONSENSE;
        if (wait_for(fd, POLLIN, until) != 1)
            return HELPER_TIMED_OUT;
        if (in->size - in->used < READ_MIN) {
            in->size = in->size * 2 + READ_MIN;
            in->bytes = xrealloc(in->bytes, in->size);
        }
        ssize_t got = recv(fd, in->bytes + in->used, in->size - in->used, 0);
        if (got == 0)
            return HELPER_NONSENSE;
        if (got == -1 && errno != EAGAIN)
            return HELPER_NO_FAIL2BAN;
        in->used += got > 0 ? (size_t)got : 0;
    }
    return HELPER_OK;
}

/* (0, value), or (1, exception). */
static helper_status_t understand(f2b_answer_t *answer, size_t size)
{
    answer->pickle = pickle_read(answer->bytes, size);
    if (answer->pickle == NULL)
        return HELPER_NONSENSE;
    const pickle_node_t *code = pickle_first(answer->pickle, pickle_root(answer->pickle));
    if (code == NULL || code->kind != PICKLE_NUMBER)
        return HELPER_NONSENSE;
    answer->value = pickle_next(answer->pickle, code);
    if (answer->value == NULL)
        return HELPER_NONSENSE;
    return code->number == 0 ? HELPER_OK : HELPER_REFUSED;
}

static helper_status_t exchange(int fd, const buffer_t *command, buffer_t *in, int limit_ms)
{
    mono_t until = {mono_now().ms + limit_ms};
    helper_status_t status = send_command(fd, command, until);
    return status == HELPER_OK ? read_answer(fd, in, until) : status;
}

helper_status_t f2b_ask(const char *path, const char *const *words, size_t count, int limit_ms,
                        f2b_answer_t *answer)
{
    buffer_t command = {0};
    buffer_t in = {0};
    *answer = (f2b_answer_t){0};
    int fd = unix_socket_connect(path, SOCK_STREAM | SOCK_NONBLOCK);
    if (fd == -1)
        return because(answer, HELPER_NO_FAIL2BAN, path, strerror(errno));
    write_command(&command, words, count);
    helper_status_t status = exchange(fd, &command, &in, limit_ms);
    close(fd);
    free(command.bytes);
    answer->bytes = in.bytes;
    if (status == HELPER_OK)
        status = understand(answer, in.used - END_BYTES);
    if (status == HELPER_REFUSED) {
        const pickle_node_t *said = pickle_first(answer->pickle, answer->value);
        f2b_text(said != NULL ? said : answer->value, answer->text, sizeof answer->text);
    } else if (status != HELPER_OK)
        because(answer, status, path, helper_status_name(status));
    return status;
}

void f2b_answer_free(f2b_answer_t *answer)
{
    pickle_destroy(&answer->pickle);
    free(answer->bytes);
    *answer = (f2b_answer_t){0};
}

bool f2b_text(const pickle_node_t *node, char *out, size_t size)
{
    *out = '\0';
    if (node->kind != PICKLE_TEXT || memchr(node->text, '\0', node->size) != NULL)
        return false;
    size_t length = node->size < size ? node->size : size - 1;
    memcpy(out, node->text, length);
    out[length] = '\0';
    return true;
}
