#include "watch.h"

#include <sys/inotify.h>

#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF)

struct watch {
    zloop_t *loop;
    zmq_pollitem_t item;
    void (*changed)(void *arg);
    void *arg;
};

static int drain(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    watch_t *self = arg;
    char events[4096];
    while (read(item->fd, events, sizeof events) > 0)
        continue;
    self->changed(self->arg);
    return 0;
}

watch_t *watch_new(zloop_t *loop, const char *directory, void (*changed)(void *arg), void *arg,
                   fault_t *fault)
{
    watch_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->changed = changed;
    self->arg = arg;
    self->item =
        (zmq_pollitem_t){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .events = ZMQ_POLLIN};
    if (self->item.fd == -1 || inotify_add_watch(self->item.fd, directory, EVENTS) == -1) {
        fault_set(fault, "%s: cannot be watched: %s", directory, strerror(errno));
        if (self->item.fd != -1)
            close(self->item.fd);
        free(self);
        return NULL;
    }
    zloop_poller(loop, &self->item, drain, self);
    return self;
}

void watch_destroy(watch_t **self_p)
{
    watch_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    zloop_poller_end(self->loop, &self->item);
    close(self->item.fd);
    free(self);
}
