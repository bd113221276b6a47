#include "spooled.h"

#include "soon.h"
#include "ticker.h"
#include "watch.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_MS 1000

struct spooled {
    spooled_config_t config;
    char *directory;
    watch_t *watch;
    ticker_t *ticker;
    soon_t *soon;
    spool_taker_t *taker; /* NULL: there was nothing to take */
    spool_result_t all;
    spool_result_t said; /* of these, in the log */
    fault_t failure;     /* what was said last */
};

/* Each failing attempt would say the same: it is said once. */
static void say_failure(spooled_t *self, const fault_t *fault)
{
    if (strcmp(self->failure.text, fault->text) != 0)
        log_warnx("spool: %s", fault->text);
    self->failure = *fault;
}

static void say_taken(spooled_t *self)
{
    const spool_result_t *all = &self->all;
    const spool_result_t *said = &self->said;
    if (all->taken > said->taken)
        log_info("took %" PRIu64 " bans from the spool", all->taken - said->taken);
    if (all->rejected > said->rejected)
        log_warnx("%" PRIu64 " records of the spool are damaged; kept in %s/spool.rejected",
                  all->rejected - said->rejected, self->directory);
    if (all->moved > said->moved)
        log_warnx("spool: something that is no spool stood in its place; kept in %s as "
                  "spool.strange-*",
                  self->directory);
    self->said = *all;
}

static bool is_there(const spooled_t *self, const char *file)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", self->directory, file);
    return lstat(path, &status) == 0;
}

bool spooled_waits(const spooled_t *self)
{
    return is_there(self, "spool") || is_there(self, "spool.taking");
}

/* A step, and the next one in another round. */
static void take(void *arg)
{
    spooled_t *self = arg;
    fault_t fault;
    if (self->config.is_full(self->config.arg))
        return;
    if (self->taker == NULL)
        self->taker = spool_taker_new(self->directory, self->config.take, self->config.arg);
    int rc = spool_take(self->taker, &self->all, &fault);
    if (rc == 1) {
        soon_call(self->soon);
        return;
    }
    say_taken(self);
    if (rc == -1 && !self->config.is_full(self->config.arg))
        say_failure(self, &fault);
    if (rc == 0) {
        self->failure.text[0] = '\0';
        spool_taker_destroy(&self->taker);
    }
}

static void tick(void *arg)
{
    spooled_t *self = arg;
    if (spooled_waits(self))
        take(self);
}

spooled_t *spooled_new(const spooled_config_t *config, fault_t *fault)
{
    spooled_t *self = xcalloc(1, sizeof *self);
    self->config = *config;
    self->directory = xstrdup(config->directory);
    self->watch = watch_new(config->loop, self->directory, take, self, fault);
    if (self->watch == NULL) {
        spooled_destroy(&self);
        return NULL;
    }
    self->soon = soon_new(config->loop, take, self);
    self->ticker = ticker_new(config->loop, LOOK_MS, tick, self);
    return self;
}

void spooled_destroy(spooled_t **self_p)
{
    spooled_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    soon_destroy(&self->soon);
    watch_destroy(&self->watch);
    spool_taker_destroy(&self->taker);
    free(self->directory);
    free(self);
}

void spooled_begin(spooled_t *self)
{
    take(self);
}

const spool_result_t *spooled_counts(const spooled_t *self)
{
    return &self->all;
}
