#include "soon.h"

#include "log.h"

#include <czmq.h>

#include <sys/eventfd.h>

struct soon {
    zloop_t *loop;
    zmq_pollitem_t item;
    void (*call)(void *arg);
    void *arg;
    bool asked;
};

static int fire(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    soon_t *self = arg;
    uint64_t times;
    if (read(item->fd, &times, sizeof times) != sizeof times)
        return 0;
    self->asked = false;
    self->call(self->arg);
    return 0;
}

soon_t *soon_new(zloop_t *loop, void (*call)(void *arg), void *arg)
{
    soon_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->call = call;
    self->arg = arg;
    self->item =
        (zmq_pollitem_t){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .events = ZMQ_POLLIN};
    if (self->item.fd == -1)
        fatal("eventfd");
    zloop_poller(loop, &self->item, fire, self);
    return self;
}

void soon_destroy(soon_t **self_p)
{
    soon_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    zloop_poller_end(self->loop, &self->item);
    close(self->item.fd);
    free(self);
}

void soon_call(soon_t *self)
{
    const uint64_t one = 1;
    if (self->asked)
        return;
    self->asked = true;
    if (write(self->item.fd, &one, sizeof one) != sizeof one)
        fatal("eventfd");
}
