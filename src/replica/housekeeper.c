#include "housekeeper.h"

#include "trimmer.h"

#include <errno.h>
#include <stdlib.h>

#define TEND_MS  1000
#define PRUNE_MS (24LL * 3600 * MS_PER_S)

struct housekeeper {
    housekeeper_config_t config;
    trimmer_t *trimmer;
    steady_t steady;
    mono_t tended_at;
    mono_t pruned_at;
    bool prunes; /* not done yet */
};

housekeeper_t *housekeeper_new(const housekeeper_config_t *config)
{
    housekeeper_t *self = xcalloc(1, sizeof *self);
    mono_t now = mono_now();
    self->config = *config;
    self->trimmer = trimmer_new(config->feed, config->wire);
    self->steady = steady_begin(wall_now(), now);
    self->tended_at.ms = now.ms - TEND_MS;
    self->pruned_at.ms = now.ms - PRUNE_MS;
    return self;
}

void housekeeper_destroy(housekeeper_t **self_p)
{
    if (*self_p == NULL)
        return;
    trimmer_destroy(&(*self_p)->trimmer);
    free(*self_p);
    *self_p = NULL;
}

void housekeeper_set_kept(housekeeper_t *self, int64_t kept_ms)
{
    trimmer_set_kept(self->trimmer, kept_ms);
}

typedef int(step_fn)(housekeeper_t *self, wall_t now);

static int compact(housekeeper_t *self, wall_t now)
{
    return own_feed_compact(self->config.own_feed, now);
}

static int trim(housekeeper_t *self, wall_t now)
{
    (void)now; /* what is removed under a floor is no running ban */
    return trimmer_step(self->trimmer, wall_now());
}

/* Steps of one kind until there is nothing to do or its time is over. Returns as a step. */
static int work_on(housekeeper_t *self, step_fn *step, wall_t now)
{
    mono_t since = mono_now();
    int rc = 1;
    while (rc == 1 && mono_since_ms(since) < HOUSEKEEPER_MS / 2)
        rc = step(self, now);
    return rc;
}

static int prune_step(housekeeper_t *self, wall_t now)
{
    return own_feed_prune(self->config.own_feed, now);
}

/* Old attempts make room, too. */
static int prune(housekeeper_t *self, wall_t now, bool became_full)
{
    if (became_full || mono_since_ms(self->pruned_at) >= PRUNE_MS) {
        self->pruned_at = mono_now();
        self->prunes = true;
    }
    int rc = self->prunes ? work_on(self, prune_step, now) : 0;
    self->prunes = rc == 1;
    return rc;
}

static void note(housekeeper_round_t *round, int rc)
{
    round->more = round->more || rc == 1;
    if (rc != -1)
        return;
    round->failed = round->failed || errno == EIO || errno == EBADMSG;
    round->put_off = true;
    round->error = errno;
}

housekeeper_round_t housekeeper_work(housekeeper_t *self)
{
    housekeeper_round_t round = {0};
    wall_t wall = wall_now();
    mono_t mono = mono_now();
    round.clock = steady_look(&self->steady, wall, mono);
    wall_t now = steady_time(&self->steady, wall, mono);
    if (mono.ms - self->tended_at.ms >= TEND_MS) {
        self->tended_at = mono;
        round.room = state_tend(feed_state(self->config.feed));
        round.failed = round.room == STATE_FAILED;
    }
    note(&round, replica_commit(self->config.replica));
    note(&round, prune(self, now, round.room == STATE_BECAME_FULL));
    note(&round, work_on(self, compact, now));
    note(&round, work_on(self, trim, now));
    return round;
}

int64_t housekeeper_ahead_ms(const housekeeper_t *self)
{
    return steady_ahead_ms(&self->steady);
}
