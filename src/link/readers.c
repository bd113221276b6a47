#include "readers.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define EVENTS_MAX 64 /* at one time; the others are still there the next time */

struct reader {
    socket_t *socket;
    readers_fn *read;
    void *arg;
    int fd;
    bool due;
    reader_t *next; /* of those that are due */
};

struct readers {
    zloop_t *loop;
    zmq_pollitem_t item; /* epoll: of all sockets, and of `wake` */
    int wake;            /* somebody is due, whatever the sockets' descriptors say */
    reader_t *first;     /* of those that are due, in the order in which they became so */
    reader_t **end;
    size_t due_count;
    const reader_t *reading; /* NULL: it was removed meanwhile */
};

static void watch(readers_t *self, int fd, reader_t *reader)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
    if (epoll_ctl(self->item.fd, EPOLL_CTL_ADD, fd, &event) == -1)
        fatal("epoll");
}

static void wake_up(readers_t *self)
{
    if (eventfd_write(self->wake, 1) == -1)
        fatal("eventfd");
}

static void set_due(readers_t *self, reader_t *reader)
{
    if (reader->due)
        return;
    reader->due = true;
    reader->next = NULL;
    *self->end = reader;
    self->end = &reader->next;
    self->due_count++;
}

static void clear_due(readers_t *self, reader_t *reader)
{
    reader_t **at = &self->first;
    if (!reader->due)
        return;
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    if (reader->next == NULL)
        self->end = at;
    reader->due = false;
    self->due_count--;
}

/* Asking is what makes its descriptor tell of the next message. */
static bool has_message(const reader_t *reader)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(reader->socket, ZMQ_EVENTS, &events, &size) == 0 &&
           (events & ZMQ_POLLIN) != 0;
}

static void note_news(readers_t *self)
{
    struct epoll_event events[EVENTS_MAX];
    eventfd_t times;
    int count = epoll_wait(self->item.fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr != NULL)
            set_due(self, events[i].data.ptr);
        else
            eventfd_read(self->wake, &times);
}

static void read_one(readers_t *self, reader_t *reader)
{
    clear_due(self, reader);
    if (!has_message(reader))
        return;
    self->reading = reader;
    reader->read(reader->arg, reader->socket);
    if (self->reading == reader && has_message(reader))
        set_due(self, reader);
}

/* Each that is due once, as long as the others on the loop can wait. */
static int read_due(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    readers_t *self = arg;
    const mono_t since = mono_now();
    note_news(self);
    for (size_t i = self->due_count; i > 0 && self->due_count > 0; i--) {
        read_one(self, self->first);
        if (mono_since_ms(since) >= SOCKET_BURST_MS)
            break;
    }
    if (self->due_count > 0)
        wake_up(self);
    return 0;
}

readers_t *readers_new(zloop_t *loop)
{
    readers_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->item = (zmq_pollitem_t){.fd = epoll_create1(EPOLL_CLOEXEC), .events = ZMQ_POLLIN};
    self->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->item.fd == -1 || self->wake == -1)
        fatal("epoll");
    self->end = &self->first;
    watch(self, self->wake, NULL);
    zloop_poller(loop, &self->item, read_due, self);
    return self;
}

void readers_destroy(readers_t **self_p)
{
    readers_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    zloop_poller_end(self->loop, &self->item);
    close(self->item.fd);
    close(self->wake);
    free(self);
}

zloop_t *readers_loop(const readers_t *self)
{
    return self->loop;
}

reader_t *readers_add(readers_t *self, socket_t *socket, readers_fn *read, void *arg)
{
    reader_t *reader = xcalloc(1, sizeof *reader);
    size_t size = sizeof reader->fd;
    reader->socket = socket;
    reader->read = read;
    reader->arg = arg;
    if (zmq_getsockopt(socket, ZMQ_FD, &reader->fd, &size) == -1)
        fatalx("ZMQ_FD: %s", zmq_strerror(zmq_errno()));
    watch(self, reader->fd, reader);
    readers_look(self, reader);
    return reader;
}

void readers_remove(readers_t *self, reader_t **reader_p)
{
    reader_t *reader = *reader_p;
    if (reader == NULL)
        return;
    *reader_p = NULL;
    clear_due(self, reader);
    epoll_ctl(self->item.fd, EPOLL_CTL_DEL, reader->fd, NULL);
    if (self->reading == reader)
        self->reading = NULL;
    free(reader);
}

void readers_look(readers_t *self, reader_t *reader)
{
    bool had = self->due_count > 0;
    set_due(self, reader);
    if (!had)
        wake_up(self);
}
