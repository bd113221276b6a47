#include "storage.h"

#include "ticker.h"

#define TEND_MS 1000

struct storage {
    feed_t *feed;
    char *directory;
    ticker_t *ticker;
};

static void tend(void *arg)
{
    storage_t *self = arg;
    state_t *state = feed_state(self->feed);
    switch (state_tend(state)) {
    case STATE_BECAME_FULL:
        log_warnx("state directory %s: the disk is full; until there is room again no ban is taken "
                  "in: hooks spool, and peers' events wait with them",
                  self->directory);
        break;
    case STATE_HAS_ROOM:
        log_info("state directory %s: has room again", self->directory);
        break;
    case STATE_FAILED:
        fatalx("%s", state_failure(state));
    case STATE_AS_BEFORE:
        break;
    }
}

storage_t *storage_new(zloop_t *loop, feed_t *feed, const char *directory)
{
    storage_t *self = xcalloc(1, sizeof *self);
    self->feed = feed;
    self->directory = xstrdup(directory);
    self->ticker = ticker_new(loop, TEND_MS, tend, self);
    return self;
}

void storage_destroy(storage_t **self_p)
{
    storage_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    free(self->directory);
    free(self);
}
