#include "census.h"

#include "fail2ban.h"

#include <stdlib.h>

#define AGAIN_MS   10000 /* after an answer that was none, or not the last word */
#define SETTLE_MAX 360   /* times: fail2ban works through what it restores for an hour at most */
#define EACH_MS    (3600LL * MS_PER_S)
#define STEP_SLOTS 65536
#define UNREAD_S   (FAIL2BAN_BEHIND_MS / MS_PER_S)

typedef enum {
    CENSUS_IDLE,
    CENSUS_ASKING,
    CENSUS_COMPARING,
} phase_t;

struct census {
    census_parts_t parts;
    const settings_t *settings;
    phase_t phase;
    mono_t next_at;
    bool settling;    /* fail2ban has started: ask until the number stays */
    int settle_count; /* how often */
    size_t before;    /* how many it had then */
    uint32_t asked_s; /* lines written later may be unread */
    uint32_t compared;
    size_t tickets;
    size_t strangers;
    size_t missing;
    /* of the last one that was whole */
    bool counted;
    mono_t counted_at;
    size_t last_tickets;
    size_t last_strangers;
    size_t last_missing;
};

census_t *census_new(const census_parts_t *parts, const settings_t *settings)
{
    census_t *self = xcalloc(1, sizeof *self);
    self->parts = *parts;
    self->settings = settings;
    census_begin(self);
    return self;
}

void census_destroy(census_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

void census_set(census_t *self, const settings_t *settings)
{
    self->settings = settings;
}

void census_begin(census_t *self)
{
    self->settling = true;
    self->settle_count = 0;
    self->before = SIZE_MAX;
    self->next_at = mono_now();
}

/* ---- what the jail says ---- */

static void forget_seen(census_t *self)
{
    for (uint32_t i = 0; i < index_reach(self->parts.index); i++) {
        index_slot_t *slot = index_slot(self->parts.index, i);
        slot->flags = (uint16_t)(slot->flags & ~INDEX_SEEN);
    }
}

static void see(void *arg, const jailer_ticket_t *tickets, size_t count)
{
    census_t *self = arg;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = index_find(self->parts.index, &tickets[i].address);
        if (number == INDEX_NONE && sink_let_go_of(self->parts.sink, &tickets[i].address))
            number = index_make(self->parts.index, &tickets[i].address);
        if (number == INDEX_NONE)
            self->strangers++;
        else
            index_slot(self->parts.index, number)->flags |= INDEX_SEEN;
    }
    self->tickets += count;
}

static void asked(void *arg, jailer_status_t status)
{
    census_t *self = arg;
    bool is_steady =
        !self->settling || self->tickets == self->before || self->settle_count >= SETTLE_MAX;
    self->phase = CENSUS_IDLE;
    self->before = self->tickets;
    self->settle_count++;
    if (status != JAILER_OK || !is_steady)
        self->next_at.ms = mono_now().ms + AGAIN_MS;
    else {
        self->phase = CENSUS_COMPARING;
        self->compared = 0;
    }
    self->parts.done(self->parts.arg);
}

static void ask(census_t *self)
{
    if (!jailer_is_free(self->parts.jailer))
        return;
    forget_seen(self);
    self->tickets = self->strangers = self->missing = 0;
    self->asked_s = (uint32_t)(wall_now().ms / MS_PER_S);
    if (jailer_list(self->parts.jailer, self->settings->shared.jail, see, asked, self))
        self->phase = CENSUS_ASKING;
}

/* ---- the comparison ---- */

/* The line that the hold stands on was written long enough before the jail was asked. */
static bool should_be_seen(const census_t *self, const index_slot_t *slot)
{
    int64_t told_s = (int64_t)slot->held_until_s - self->settings->shared.bantime_s;
    return slot->held_until_s > self->asked_s && told_s + UNREAD_S < (int64_t)self->asked_s;
}

static void compare(census_t *self, uint32_t number)
{
    index_slot_t *slot = index_slot(self->parts.index, number);
    bool seen = (slot->flags & INDEX_SEEN) != 0;
    if ((slot->flags & (INDEX_FREE | INDEX_ASKED)) != 0)
        return;
    if (!seen && should_be_seen(self, slot)) {
        sink_note_free(self->parts.sink, number);
        self->missing++;
    } else if (seen && slot->held_until_s == 0)
        slot->flags |= INDEX_RECHECK; /* let go of it, unless it should be held */
    else
        return;
    self->parts.differs(self->parts.arg, number);
}

static void finish(census_t *self)
{
    self->phase = CENSUS_IDLE;
    self->settling = false;
    self->counted = true;
    self->counted_at = mono_now();
    self->next_at.ms = mono_now().ms + EACH_MS;
    self->last_tickets = self->tickets;
    self->last_strangers = self->strangers;
    self->last_missing = self->missing;
    if (self->missing > 0)
        log_info("fail2ban does not hold %zu of the addresses that it was told to: those that "
                 "should be held are handed over again",
                 self->missing);
}

bool census_step(census_t *self)
{
    if (self->phase == CENSUS_IDLE && mono_now().ms >= self->next_at.ms)
        ask(self);
    if (self->phase != CENSUS_COMPARING)
        return false;
    for (int i = 0; i < STEP_SLOTS && self->compared < index_reach(self->parts.index); i++) {
        if (sink_is_full(self->parts.sink))
            return true;
        compare(self, self->compared++);
    }
    if (self->compared < index_reach(self->parts.index))
        return true;
    finish(self);
    return false;
}

json_t *census_status(const census_t *self)
{
    if (!self->counted)
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:I}", "s_ago",
                     (json_int_t)(mono_since_ms(self->counted_at) / MS_PER_S), "tickets",
                     (json_int_t)self->last_tickets, "handed_over_again",
                     (json_int_t)self->last_missing, "not_of_the_mesh",
                     (json_int_t)self->last_strangers);
}
