#include "callers.h"

#include "local.h"
#include "request.h"

#include <czmq.h>
#include <sys/socket.h>

#define CALLERS_MAX 256
#define READ_BYTES  49152 /* of one caller before others get their turn: about a group */
#define SOCKET_MODE 0666  /* who may is asked of the kernel: hardened units cannot open less */

struct caller {
    callers_t *all;
    zmq_pollitem_t item;
    uid_t user;
    answers_t answers;           /* while some wait for room, it is not read */
    char line[REQUEST_LINE_MAX]; /* the beginning of one whose end has not come yet */
    size_t line_length;          /* may be more */
    bool dead;
};

struct callers {
    callers_config_t config;
    zmq_pollitem_t listener;
    int spare; /* see local_accept */
    char *path;
    caller_t *items[CALLERS_MAX];
    size_t count;
};

/* ---- answers ---- */

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg);

static void wait_for(caller_t *self, short events)
{
    zloop_t *loop = self->all->config.loop;
    if (self->item.events == events)
        return;
    zloop_poller_end(loop, &self->item);
    self->item.events = events;
    zloop_poller(loop, &self->item, serve, self);
    zloop_poller_set_tolerant(loop, &self->item);
}

void caller_answer(caller_t *self, const answer_t *answer)
{
    if (!self->dead)
        answers_add(&self->answers, answer);
}

void caller_send(caller_t *self)
{
    if (self->dead)
        return;
    /* If it is gone, its own handler hangs up: its owner may be about to answer it again. */
    self->dead = !answers_send(&self->answers, self->item.fd);
    if (self->answers.used > 0)
        wait_for(self, ZMQ_POLLOUT);
}

uid_t caller_user(const caller_t *self)
{
    return self->user;
}

/* ---- lines ---- */

static void hang_up(caller_t *self)
{
    callers_t *all = self->all;
    all->config.gone(all->config.arg, self);
    for (size_t i = 0; i < CALLERS_MAX; i++)
        if (all->items[i] == self)
            all->items[i] = NULL;
    all->count--;
    zloop_poller_end(all->config.loop, &self->item);
    close(self->item.fd);
    answers_free(&self->answers);
    free(self);
}

static void keep(caller_t *self, const char *text, size_t size)
{
    size_t room = sizeof self->line - self->line_length;
    if (self->line_length < sizeof self->line)
        memcpy(self->line + self->line_length, text, size < room ? size : room);
    self->line_length += size;
}

static void take_text(caller_t *self, const char *text, const char *end)
{
    const callers_config_t *config = &self->all->config;
    const char *newline;
    while ((newline = memchr(text, '\n', (size_t)(end - text))) != NULL) {
        if (self->line_length == 0)
            config->line(config->arg, self, text, (size_t)(newline - text));
        else {
            keep(self, text, (size_t)(newline - text));
            config->line(config->arg, self, self->line, self->line_length);
            self->line_length = 0;
        }
        text = newline + 1;
    }
    keep(self, text, (size_t)(end - text));
}

/* Returns false when the connection is to end. */
static bool read_lines(caller_t *self)
{
    char text[READ_BYTES];
    ssize_t got = recv(self->item.fd, text, sizeof text, MSG_DONTWAIT);
    if (got > 0)
        take_text(self, text, text + got);
    return !self->dead && (got > 0 || (got == -1 && errno == EAGAIN));
}

static int serve(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    caller_t *self = arg;
    callers_t *all = self->all;
    bool alive = !self->dead;
    (void)loop;
    (void)item;
    if (alive && self->answers.used > 0) {
        alive = answers_send(&self->answers, self->item.fd);
        if (alive && self->answers.used == 0)
            wait_for(self, ZMQ_POLLIN);
    } else if (alive)
        alive = read_lines(self);
    if (!alive)
        hang_up(self);
    all->config.turned(all->config.arg, all->count == 1);
    return 0;
}

/* ---- who comes ---- */

static void turn_away(int fd, answer_t *refusal)
{
    size_t length = strnlen(refusal->text, sizeof refusal->text - 1);
    refusal->text[length] = '\n';
    if (send(fd, refusal->text, length + 1, MSG_NOSIGNAL) == -1)
        log_debug("who was turned away had hung up");
    close(fd);
}

static int greet(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    callers_t *self = arg;
    answer_t refusal;
    int fd = local_accept(item->fd, &self->spare);
    if (fd == -1)
        return 0;
    uid_t user = local_user(fd);
    size_t slot = 0;
    while (slot < CALLERS_MAX && self->items[slot] != NULL)
        slot++;
    if (!self->config.may(self->config.arg, user, &refusal)) {
        turn_away(fd, &refusal);
        return 0;
    }
    if (slot == CALLERS_MAX) {
        close(fd); /* the hook spools */
        return 0;
    }
    caller_t *caller = xcalloc(1, sizeof *caller);
    caller->all = self;
    caller->user = user;
    caller->item = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    self->items[slot] = caller;
    self->count++;
    zloop_poller(loop, &caller->item, serve, caller);
    zloop_poller_set_tolerant(loop, &caller->item);
    return 0;
}

callers_t *callers_new(const callers_config_t *config, fault_t *fault)
{
    int fd = local_listen(config->path, SOCKET_MODE, fault);
    if (fd == -1)
        return NULL;
    callers_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->path = xstrdup(config->path);
    self->config.path = self->path;
    self->spare = local_spare();
    self->listener = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    zloop_poller(config->loop, &self->listener, greet, self);
    zloop_poller_set_tolerant(config->loop, &self->listener);
    return self;
}

void callers_destroy(callers_t **self_p)
{
    callers_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < CALLERS_MAX; i++)
        if (self->items[i] != NULL)
            hang_up(self->items[i]);
    zloop_poller_end(self->config.loop, &self->listener);
    local_close(self->listener.fd, self->path);
    if (self->spare != -1)
        close(self->spare);
    free(self->path);
    free(self);
}
