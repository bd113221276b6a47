#include "watch.h"

#include "ticker.h"

#include <sys/inotify.h>

#define EVENTS  (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF)
#define LOOK_MS 1000

struct watch {
    zloop_t *loop;
    zmq_pollitem_t item; /* inotify; fd -1: we look ourselves */
    ticker_t *ticker;
    char *directory;
    struct timespec seen; /* when the directory changed last, as we know */
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

static struct timespec changed_at(const watch_t *self)
{
    struct stat state;
    return stat(self->directory, &state) == 0 ? state.st_mtim : (struct timespec){0};
}

static void look(void *arg)
{
    watch_t *self = arg;
    struct timespec now = changed_at(self);
    if (now.tv_sec == self->seen.tv_sec && now.tv_nsec == self->seen.tv_nsec)
        return;
    self->seen = now;
    self->changed(self->arg);
}

static int start_inotify(watch_t *self)
{
    self->item =
        (zmq_pollitem_t){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .events = ZMQ_POLLIN};
    if (self->item.fd == -1 || inotify_add_watch(self->item.fd, self->directory, EVENTS) == -1)
        return -1;
    zloop_poller(self->loop, &self->item, drain, self);
    return 0;
}

/* An instance or a watch less than others took (fs.inotify.max_user_instances) is no reason to
 * refuse service. */
static int start_looking(watch_t *self)
{
    if (errno != EMFILE && errno != ENOSPC)
        return -1;
    log_warn("%s: looked at each second only, inotify", self->directory);
    if (self->item.fd != -1)
        close(self->item.fd);
    self->item.fd = -1;
    self->seen = changed_at(self);
    self->ticker = ticker_new(self->loop, LOOK_MS, look, self);
    return 0;
}

watch_t *watch_new(zloop_t *loop, const char *directory, void (*changed)(void *arg), void *arg,
                   fault_t *fault)
{
    watch_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->changed = changed;
    self->arg = arg;
    self->directory = xstrdup(directory);
    if (start_inotify(self) == 0 || start_looking(self) == 0)
        return self;
    fault_set(fault, "%s: cannot be watched: %s", directory, strerror(errno));
    if (self->item.fd != -1)
        close(self->item.fd);
    free(self->directory);
    free(self);
    return NULL;
}

void watch_destroy(watch_t **self_p)
{
    watch_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    if (self->item.fd != -1) {
        zloop_poller_end(self->loop, &self->item);
        close(self->item.fd);
    }
    free(self->directory);
    free(self);
}
