#include "housekeeping.h"

#include "ticker.h"

#define REST_MS 1000
#define BUSY_MS 100 /* while there is more to do: a tenth of the time at most */
#define DAY_MS  (24LL * 3600 * MS_PER_S)

struct housekeeping {
    housekeeper_t *housekeeper;
    state_t *state;
    const settings_t *settings;
    ticker_t *ticker;
    bool put_off; /* and said so */
};

static void tell_room(const housekeeping_t *self, state_change_t change)
{
    const char *directory = self->settings->node.state;
    if (change == STATE_BECAME_FULL)
        log_warnx("state directory %s: the disk is full; until there is room again no ban is taken "
                  "in: hooks spool, and peers' events wait with them",
                  directory);
    else if (change == STATE_HAS_ROOM)
        log_info("state directory %s: has room again", directory);
}

static void tell_clock(const housekeeping_t *self, steady_change_t change)
{
    switch (change) {
    case STEADY_JUMPED:
        log_warnx("the clock jumped by %+lld s: until it is back, or has gone on for an hour, our "
                  "log is kept by the earlier time",
                  (long long)(housekeeper_ahead_ms(self->housekeeper) / MS_PER_S));
        break;
    case STEADY_RETURNED:
        log_info("the clock is back where it was");
        break;
    case STEADY_BELIEVED:
        log_info("the clock has gone on for an hour since it jumped: it counts");
        break;
    case STEADY_AS_BEFORE:
        break;
    }
}

/* A full disk is told of as such. */
static void tell_put_off(housekeeping_t *self, const housekeeper_round_t *round)
{
    bool news = round->put_off && round->error != ENOSPC && !self->put_off;
    self->put_off = round->put_off && round->error != ENOSPC;
    if (news)
        log_warnx("state directory %s: what is not needed stays for now: %s",
                  self->settings->node.state, strerror(round->error));
}

static void work(void *arg)
{
    housekeeping_t *self = arg;
    housekeeper_round_t round = housekeeper_work(self->housekeeper);
    if (round.failed)
        fatalx("%s", state_failure(self->state));
    tell_room(self, round.room);
    tell_clock(self, round.clock);
    tell_put_off(self, &round);
    ticker_set(self->ticker, round.more ? BUSY_MS : REST_MS);
}

housekeeping_t *housekeeping_new(zloop_t *loop, const housekeeper_config_t *config,
                                 const settings_t *settings)
{
    housekeeping_t *self = xcalloc(1, sizeof *self);
    self->state = feed_state(config->feed);
    self->housekeeper = housekeeper_new(config);
    housekeeping_set(self, settings);
    self->ticker = ticker_new(loop, REST_MS, work, self);
    return self;
}

void housekeeping_destroy(housekeeping_t **self_p)
{
    housekeeping_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    housekeeper_destroy(&self->housekeeper);
    free(self);
}

void housekeeping_set(housekeeping_t *self, const settings_t *settings)
{
    self->settings = settings;
    housekeeper_set_kept(self->housekeeper, settings->history.retention_days * DAY_MS);
}
