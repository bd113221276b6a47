#include "trust_dir.h"

#include "ticker.h"

#define LOOK_MS   250
#define LOOKS_MAX 8

struct trust_dir {
    ticker_t *ticker;
    char *directory;
    uint64_t taken;
    uint64_t looked; /* what the last look saw */
    int waited;      /* looks since it first differed */
    void (*changed)(void *arg);
    void *arg;
};

/* Somebody copies two hundred files, or git checks another commit out: one change, not many. */
static void look(void *arg)
{
    trust_dir_t *self = arg;
    uint64_t before = self->looked;
    self->looked = trust_look(self->directory);
    if (self->looked == self->taken) {
        self->waited = 0;
        return;
    }
    self->waited++;
    if (self->looked != before && self->waited < LOOKS_MAX)
        return;
    self->waited = 0;
    self->changed(self->arg);
}

trust_dir_t *trust_dir_new(zloop_t *loop, const char *directory, uint64_t taken,
                           void (*changed)(void *arg), void *arg)
{
    trust_dir_t *self = xcalloc(1, sizeof *self);
    self->directory = xstrdup(directory);
    self->taken = self->looked = taken;
    self->changed = changed;
    self->arg = arg;
    self->ticker = ticker_new(loop, LOOK_MS, look, self);
    return self;
}

void trust_dir_destroy(trust_dir_t **self_p)
{
    trust_dir_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    free(self->directory);
    free(self);
}

void trust_dir_taken(trust_dir_t *self, const char *directory, uint64_t taken)
{
    if (!streq(self->directory, directory)) {
        free(self->directory);
        self->directory = xstrdup(directory);
    }
    self->taken = taken;
}
