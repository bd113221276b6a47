#include "ticker.h"

#include "clock.h"
#include "log.h"

#include <czmq.h>

#include <sys/timerfd.h>

struct ticker {
    zloop_t *loop;
    zmq_pollitem_t item;
    int64_t interval_ms;
    void (*tick)(void *arg);
    void *arg;
};

static int fire(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    ticker_t *self = arg;
    uint64_t times;
    if (read(item->fd, &times, sizeof times) == sizeof times)
        self->tick(self->arg);
    return 0;
}

void ticker_set(ticker_t *self, int64_t interval_ms)
{
    struct timespec interval = {interval_ms / MS_PER_S, interval_ms % MS_PER_S * NS_PER_MS};
    struct itimerspec setting = {interval, interval};
    if (interval_ms == self->interval_ms)
        return;
    self->interval_ms = interval_ms;
    if (timerfd_settime(self->item.fd, 0, &setting, NULL) == -1)
        fatal("timerfd");
}

ticker_t *ticker_new(zloop_t *loop, int64_t interval_ms, void (*tick)(void *arg), void *arg)
{
    ticker_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->tick = tick;
    self->arg = arg;
    self->item = (zmq_pollitem_t){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
                                  .events = ZMQ_POLLIN};
    if (self->item.fd == -1)
        fatal("timerfd");
    ticker_set(self, interval_ms);
    zloop_poller(loop, &self->item, fire, self);
    return self;
}

void ticker_destroy(ticker_t **self_p)
{
    ticker_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    zloop_poller_end(self->loop, &self->item);
    close(self->item.fd);
    free(self);
}
