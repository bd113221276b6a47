#include "local_lifts.h"

#include <stdlib.h>

#define NETWORKS_MAX 10000  /* that wait; where more become allowed at once, so be it */
#define STEP_SLOTS   100000 /* of the index: a millisecond or two */
#define RETRY_MS     5000

/* fail2ban may have asked just before, and act on that answer for a while (ignorecache in
 * jail.d/banmesh-allowed.conf: 2 s; and a second until it bans): so each is asked for twice. */
#define AGAIN_MS 5000

struct local_lifts {
    local_lifts_parts_t parts;
    bool is_off;
    addr_t *networks; /* the last one is next */
    size_t count;
    bool said_full;
    uint32_t scanned; /* slots of the index, for the network that is next */
    addr_t batch[JAILER_LIFT_MAX];
    size_t batch_count;
    addr_t *later; /* to be asked for once more */
    size_t later_count;
    mono_t later_at;
    bool is_again; /* the batch is of them */
    bool asking;
    mono_t not_before; /* after a failure */
    uint64_t done;
};

local_lifts_t *local_lifts_new(const local_lifts_parts_t *parts, const settings_t *settings)
{
    local_lifts_t *self = xcalloc(1, sizeof *self);
    self->parts = *parts;
    local_lifts_set(self, settings);
    return self;
}

void local_lifts_destroy(local_lifts_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->networks);
    free((*self_p)->later);
    free(*self_p);
    *self_p = NULL;
}

void local_lifts_set(local_lifts_t *self, const settings_t *settings)
{
    self->is_off = settings->guard.local_allow == 0;
    if (self->is_off)
        self->count = self->batch_count = self->later_count = self->scanned = 0;
}

void local_lifts_push(local_lifts_t *self, const addr_t *network)
{
    if (self->is_off)
        return;
    if (self->count == NETWORKS_MAX) {
        if (!self->said_full)
            log_warnx("more than %d addresses and networks became allowed at once: local jails are "
                      "not asked to let go of the others",
                      NETWORKS_MAX);
        self->said_full = true;
        return;
    }
    self->networks = xrealloc(self->networks, (self->count + 1) * sizeof *self->networks);
    /* Before the one that is being looked for, which is last. */
    if (self->scanned > 0) {
        self->networks[self->count] = self->networks[self->count - 1];
        self->networks[self->count - 1] = *network;
    } else
        self->networks[self->count] = *network;
    self->count++;
}

/* ---- which addresses ---- */

static void pop(local_lifts_t *self)
{
    self->count--;
    self->scanned = 0;
    self->said_full = self->said_full && self->count > 0;
}

static bool has_own_ban(const local_lifts_t *self, uint32_t number)
{
    const index_ban_t *ban = index_first(self->parts.index, number);
    while (ban != NULL && ban->origin != self->parts.ours)
        ban = index_next(self->parts.index, ban);
    return ban != NULL;
}

static void scan(local_lifts_t *self, const addr_t *network)
{
    uint32_t reach = index_reach(self->parts.index);
    uint32_t end = self->scanned + STEP_SLOTS < reach ? self->scanned + STEP_SLOTS : reach;
    for (; self->scanned < end && self->batch_count < JAILER_LIFT_MAX; self->scanned++) {
        const index_slot_t *slot = index_slot(self->parts.index, self->scanned);
        if ((slot->flags & INDEX_FREE) == 0 && addr_is_host(&slot->address) &&
            addr_contains(network, &slot->address) && has_own_ban(self, self->scanned))
            self->batch[self->batch_count++] = slot->address;
    }
    if (self->scanned >= reach)
        pop(self);
}

/* Begin a batch of those that are asked for once more, if it is time and nothing else waits. */
static void gather_later(local_lifts_t *self)
{
    self->is_again =
        self->count == 0 && self->later_count > 0 && mono_now().ms >= self->later_at.ms;
    while (self->is_again && self->later_count > 0 && self->batch_count < JAILER_LIFT_MAX)
        self->batch[self->batch_count++] = self->later[--self->later_count];
}

/* Returns whether there is more to look at, and room for what is found. */
static bool gather(local_lifts_t *self)
{
    while (self->count > 0 && self->batch_count < JAILER_LIFT_MAX) {
        addr_t network = self->networks[self->count - 1];
        if (!addr_is_host(&network)) {
            scan(self, &network);
            break;
        }
        self->batch[self->batch_count++] = network;
        pop(self);
    }
    return self->count > 0 && self->batch_count < JAILER_LIFT_MAX;
}

/* ---- asking ---- */

static void note_later(local_lifts_t *self)
{
    size_t count = self->later_count + self->batch_count;
    if (count > NETWORKS_MAX)
        return;
    self->later = xrealloc(self->later, count * sizeof *self->later);
    memcpy(self->later + self->later_count, self->batch, self->batch_count * sizeof *self->batch);
    self->later_count = count;
    self->later_at.ms = mono_now().ms + AGAIN_MS;
}

static void answered(void *arg, jailer_status_t status, const uint8_t *jails, size_t count)
{
    local_lifts_t *self = arg;
    self->asking = false;
    for (size_t i = 0; i < count; i++)
        self->done += jails[i] > 0;
    if (status != JAILER_OK)
        self->not_before.ms = mono_now().ms + RETRY_MS;
    else {
        if (!self->is_again && self->batch_count > 0)
            note_later(self);
        self->batch_count = 0;
    }
    self->parts.done(self->parts.arg);
}

/* What was taken back, or has ended, while it waited. */
static void drop_stale(local_lifts_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->batch_count; i++)
        if (judge_allowance(self->parts.judge, &self->batch[i]) != NULL)
            self->batch[kept++] = self->batch[i];
    self->batch_count = kept;
}

static void ask(local_lifts_t *self)
{
    drop_stale(self);
    self->asking =
        self->batch_count > 0 &&
        jailer_lift_everywhere(self->parts.jailer, self->batch, self->batch_count, answered, self);
}

bool local_lifts_step(local_lifts_t *self)
{
    bool more = false;
    if (self->asking)
        return false;
    if (self->batch_count == 0)
        gather_later(self);
    if (!self->is_again)
        more = gather(self);
    if (self->batch_count == 0)
        return more;
    if (mono_now().ms >= self->not_before.ms && jailer_is_free(self->parts.jailer))
        ask(self);
    return false;
}

size_t local_lifts_waiting(const local_lifts_t *self)
{
    return self->count + self->batch_count + self->later_count;
}

uint64_t local_lifts_done(const local_lifts_t *self)
{
    return self->done;
}
