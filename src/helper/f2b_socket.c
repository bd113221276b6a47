#include "f2b_socket.h"

#include "log.h"
#include "unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define END       "<F2B_END_COMMAND>"
#define END_BYTES (sizeof END - 1)
#define READ_MIN  65536
#define HELD_MAX  (PICKLE_TEXT_MAX + READ_MIN) /* bytes that are read, but not used */
#define SHUTDOWN  "SHUTDOWN"                   /* what a fail2ban that ends says to everything */

/* Bytes that grow. */
typedef struct {
    uint8_t *bytes;
    size_t used;
    size_t size;
} buffer_t;

static void reserve(buffer_t *self, size_t more)
{
    if (self->size - self->used >= more)
        return;
    self->size = self->size * 2 + more;
    self->bytes = xrealloc(self->bytes, self->size);
}

static void take_out(buffer_t *self, size_t count)
{
    self->used -= count;
    memmove(self->bytes, self->bytes + count, self->used);
}

static void add_text(buffer_t *self, const char *text)
{
    size_t length = strlen(text);
    reserve(self, length);
    memcpy(self->bytes + self->used, text, length);
    self->used += length;
}

/* A character beyond ASCII of UTF-8 that is valid, and how many bytes it takes; 0: it is none. */
static size_t read_character(const uint8_t *text, uint32_t *out)
{
    size_t size = text[0] < 0xc2   ? 0
                  : text[0] < 0xe0 ? 2
                  : text[0] < 0xf0 ? 3
                  : text[0] < 0xf5 ? 4
                                   : 0;
    *out = size > 0 ? text[0] & (0x7fU >> size) : 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *out = *out << 6 | (text[i] & 0x3fU);
    }
    return size;
}

/* Protocol 0 has Latin-1, and escapes. */
static void add_word(buffer_t *self, const char *word)
{
    for (const uint8_t *p = (const uint8_t *)word; *p != '\0';) {
        char text[] = "\\U00000000";
        uint32_t character;
        size_t size = *p < 0x80 ? 0 : read_character(p, &character);
        if (size > 0)
            snprintf(text, sizeof text, "\\U%08x", (unsigned)character);
        else
            snprintf(text, sizeof text, "%c", *p);
        add_text(self, text);
        p += size > 0 ? size : 1;
    }
}

/* Protocol 0: a list, each word a line. */
static void write_command(buffer_t *out, const char *const *words, size_t count)
{
    add_text(out, "(l");
    for (size_t i = 0; i < count; i++) {
        add_text(out, "V");
        add_word(out, words[i]);
        add_text(out, "\na");
    }
    add_text(out, "." END);
}

/* ---- the connection ---- */

static int64_t left_ms(mono_t until)
{
    int64_t left = until.ms - mono_now().ms;
    return left > 0 ? left : 0;
}

/* Until something can be done, or the time is over. */
static bool wait_for(int fd, short events, mono_t until)
{
    struct pollfd wait = {.fd = fd, .events = events};
    return poll(&wait, 1, (int)left_ms(until)) == 1;
}

/* fail2ban lets two wait while it is busy; a third one waits in the call itself.
 * A socket, or -1 and errno; EAGAIN: the time is over. */
static int connect_to(const f2b_t *f2b)
{
    int fd = unix_socket_connect(f2b->path, SOCK_STREAM, left_ms(f2b->until) + 1);
    if (fd == -1 || fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- one command ---- */

static helper_status_t send_command(int fd, const buffer_t *command, mono_t until)
{
    size_t sent = 0;
    while (sent < command->used) {
        if (!wait_for(fd, POLLOUT, until))
            return HELPER_TIMED_OUT;
        ssize_t got = send(fd, command->bytes + sent, command->used - sent, MSG_NOSIGNAL);
        if (got == -1 && errno != EAGAIN)
            return HELPER_NO_FAIL2BAN;
        sent += got > 0 ? (size_t)got : 0;
    }
    return HELPER_OK;
}

/* Some bytes more. Who hangs up in the middle is not fail2ban; without a word, it is about to end.
 */
static helper_status_t read_some(int fd, buffer_t *in, bool is_first, mono_t until)
{
    if (in->used > HELD_MAX)
        return HELPER_NONSENSE;
    if (!wait_for(fd, POLLIN, until))
        return HELPER_TIMED_OUT;
    reserve(in, READ_MIN);
    ssize_t got = recv(fd, in->bytes + in->used, in->size - in->used, 0);
    if (got == 0) {
        errno = ECONNRESET;
        return is_first ? HELPER_NO_FAIL2BAN : HELPER_NONSENSE;
    }
    if (got == -1 && errno != EAGAIN)
        return HELPER_NO_FAIL2BAN;
    in->used += got > 0 ? (size_t)got : 0;
    return HELPER_OK;
}

static helper_status_t read_pickle(int fd, buffer_t *in, pickle_t *pickle, mono_t until)
{
    pickle_state_t state = PICKLE_MORE;
    helper_status_t status = read_some(fd, in, true, until);
    while (status == HELPER_OK) {
        size_t used = 0;
        state = pickle_feed(pickle, in->bytes, in->used, &used);
        take_out(in, used);
        if (state != PICKLE_MORE)
            return state == PICKLE_WHOLE ? HELPER_OK : HELPER_NONSENSE;
        status = read_some(fd, in, false, until);
    }
    return status;
}

/* What stands behind the pickle, and nothing else. */
static helper_status_t read_end(int fd, buffer_t *in, mono_t until)
{
    helper_status_t status = HELPER_OK;
    while (status == HELPER_OK && in->used < END_BYTES)
        status = read_some(fd, in, false, until);
    if (status == HELPER_OK && (in->used != END_BYTES || memcmp(in->bytes, END, END_BYTES) != 0))
        return HELPER_NONSENSE;
    return status;
}

static helper_status_t exchange(const f2b_t *f2b, const buffer_t *command, pickle_t *pickle)
{
    buffer_t in = {0};
    int fd = connect_to(f2b);
    if (fd == -1)
        return errno == EAGAIN ? HELPER_TIMED_OUT : HELPER_NO_FAIL2BAN;
    helper_status_t status = send_command(fd, command, f2b->until);
    if (status == HELPER_OK)
        status = read_pickle(fd, &in, pickle, f2b->until);
    if (status == HELPER_OK)
        status = read_end(fd, &in, f2b->until);
    close(fd);
    free(in.bytes);
    return status;
}

/* ---- what the answer says ---- */

static bool is_text(const pickle_node_t *node, const char *text)
{
    return node->kind == PICKLE_TEXT && node->size == strlen(text) &&
           memcmp(node->text, text, node->size) == 0;
}

/* (0, value), or (1, exception), or a text about what it could not even say. */
static helper_status_t understand(f2b_answer_t *answer)
{
    const pickle_node_t *root = pickle_root(answer->pickle);
    const pickle_node_t *code = pickle_first(answer->pickle, root);
    answer->value = root;
    if (root->kind == PICKLE_TEXT)
        return HELPER_REFUSED;
    if (code == NULL)
        return HELPER_NONSENSE;
    if (is_text(code, SHUTDOWN))
        return HELPER_NO_FAIL2BAN;
    answer->value = pickle_next(answer->pickle, code);
    if (code->kind != PICKLE_NUMBER || answer->value == NULL)
        return HELPER_NONSENSE;
    return code->number == 0 ? HELPER_OK : HELPER_REFUSED;
}

/* The first text among an exception's arguments. */
static const pickle_node_t *find_said(const f2b_answer_t *answer)
{
    const pickle_node_t *item = pickle_first(answer->pickle, answer->value);
    while (item != NULL && item->kind != PICKLE_TEXT)
        item = pickle_next(answer->pickle, item);
    return item != NULL ? item : answer->value;
}

/* fail2ban's words alone may be just the name of a jail: so what they are about stands before. */
static void say_refusal(f2b_answer_t *answer, const char *const *words, size_t count)
{
    size_t size = sizeof answer->text;
    int length =
        snprintf(answer->text, size, "fail2ban says no to \"%.20s%s%.64s%s%.20s\": ", words[0],
                 count > 1 ? " " : "", count > 1 ? words[1] : "", count > 2 ? " " : "",
                 count > 2 ? words[2] : "");
    answer->value = find_said(answer);
    pickle_text(answer->value, answer->text + length, size - (size_t)length);
    log_make_printable(answer->text);
}

static void say_why(f2b_answer_t *answer, helper_status_t status, const char *path, int error)
{
    snprintf(answer->text, sizeof answer->text, "%.100s: %s", path,
             status == HELPER_NO_FAIL2BAN && error != 0 ? strerror(error)
                                                        : helper_status_name(status));
    log_make_printable(answer->text);
}

helper_status_t f2b_ask(const f2b_t *f2b, const char *const *words, size_t count,
                        pickle_item_fn *each, void *arg, f2b_answer_t *answer)
{
    buffer_t command = {0};
    *answer = (f2b_answer_t){.pickle = pickle_new(each, arg)};
    write_command(&command, words, count);
    helper_status_t status = exchange(f2b, &command, answer->pickle);
    int error = status != HELPER_OK ? errno : 0;
    free(command.bytes);
    if (status == HELPER_OK)
        status = understand(answer);
    if (status == HELPER_REFUSED)
        say_refusal(answer, words, count);
    else if (status != HELPER_OK)
        say_why(answer, status, f2b->path, error);
    return status;
}

void f2b_answer_free(f2b_answer_t *answer)
{
    pickle_destroy(&answer->pickle);
    *answer = (f2b_answer_t){0};
}
