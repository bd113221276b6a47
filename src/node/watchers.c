#include "watchers.h"

#include "clock.h"
#include "jail_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JAILS_MAX    1024 /* a host has some dozens */
#define AGAIN_MS     1000 /* at the earliest */
#define AFTER_BAD_MS 60000
#define DEAF_MS      10000 /* while the shared jail is missing, or does not read the log */
#define EACH_MS      (10 * 60 * MS_PER_S)
#define FILTERED     "recidive" /* its filter leaves out the shared jail: recidive.local */

typedef struct {
    jail_facts_t *items;
    size_t count;
} list_t;

/* A ban that was not announced. */
typedef struct {
    addr_t address;
    char jail[HELPER_JAIL_BYTES + 1];
    wall_t at;
} echo_t;

struct watchers {
    jailer_t *jailer;
    const settings_t *settings;
    void (*done)(void *arg);
    void *arg;
    list_t known;  /* by the last answer that was whole */
    list_t coming; /* of the one that comes */
    char target[HELPER_SOURCE_MAX + 1];
    shared_jail_t coming_shared;
    shared_jail_t shared; /* by two answers that agreed in the number of jails */
    bool knows_shared;
    mono_t shared_at;
    bool asking;
    mono_t asked_at;
    mono_t next_at;
    echo_t echoes[WATCHERS_ECHOES];
    size_t echo_count; /* of all time: the next one's place follows from it */
};

watchers_t *watchers_new(jailer_t *jailer, const settings_t *settings, void (*done)(void *arg),
                         void *arg)
{
    watchers_t *self = xcalloc(1, sizeof *self);
    self->jailer = jailer;
    self->settings = settings;
    self->done = done;
    self->arg = arg;
    watchers_begin(self);
    return self;
}

void watchers_destroy(watchers_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->known.items);
    free((*self_p)->coming.items);
    free(*self_p);
    *self_p = NULL;
}

void watchers_begin(watchers_t *self)
{
    self->next_at = mono_now();
}

void watchers_set(watchers_t *self, const settings_t *settings)
{
    self->settings = settings;
    self->knows_shared = false;
    watchers_begin(self);
}

/* ---- answers ---- */

/* All that is said of a jail comes in a row. */
static void take_source(void *arg, const jailer_source_t *source)
{
    watchers_t *self = arg;
    list_t *list = &self->coming;
    shared_jail_add(&self->coming_shared, self->settings, source);
    if (source->kind == HELPER_TARGET) {
        memcpy(self->target, source->source, sizeof self->target);
        return;
    }
    if (list->count == 0 || strcmp(list->items[list->count - 1].name, source->jail) != 0) {
        if (list->count == JAILS_MAX)
            return;
        list->items = xrealloc(list->items, (list->count + 1) * sizeof *list->items);
        list->items[list->count] = (jail_facts_t){0};
        memcpy(list->items[list->count++].name, source->jail, sizeof source->jail);
    }
    jail_facts_add(&list->items[list->count - 1], self->target, source->kind, source->source);
}

static void note_shared(watchers_t *self)
{
    self->shared = self->coming_shared;
    self->knows_shared = true;
    self->shared_at = mono_now();
}

/* Until when nothing need be asked. */
static int64_t pause_after(const watchers_t *self, bool is_good, bool is_steady)
{
    if (!is_good)
        return AFTER_BAD_MS;
    if (!is_steady)
        return AGAIN_MS;
    if (!self->shared.is_there || !self->shared.reads)
        return DEAF_MS;
    return watchers_publish(self) ? EACH_MS : AFTER_BAD_MS;
}

/* While fail2ban starts there are more of them each time. */
static void asked(void *arg, jailer_status_t status)
{
    watchers_t *self = arg;
    list_t old = self->known;
    bool is_good = status == JAILER_OK;
    bool is_steady = old.count == self->coming.count;
    self->asking = false;
    if (is_good && is_steady)
        note_shared(self);
    if (is_good) {
        self->known = self->coming;
        self->coming = old;
    }
    self->next_at.ms = mono_now().ms + pause_after(self, is_good, is_steady);
    self->done(self->arg);
}

/* ---- questions ---- */

void watchers_step(watchers_t *self)
{
    if (self->asking || mono_now().ms < self->next_at.ms || !jailer_is_free(self->jailer))
        return;
    self->coming.count = 0;
    self->coming_shared = (shared_jail_t){0};
    self->target[0] = '\0';
    self->asked_at = mono_now();
    self->asking = jailer_jails(self->jailer, take_source, asked, self);
}

static void ask_soon(watchers_t *self)
{
    int64_t earliest_ms = self->asked_at.ms + AGAIN_MS;
    if (self->next_at.ms > earliest_ms)
        self->next_at.ms = earliest_ms;
}

bool watchers_has(watchers_t *self, const char *jail)
{
    if (strcmp(jail, FILTERED) == 0)
        return false;
    for (size_t i = 0; i < self->known.count; i++)
        if (strcmp(self->known.items[i].name, jail) == 0)
            return jail_facts_watches(&self->known.items[i]);
    ask_soon(self);
    return false;
}

bool watchers_publish(const watchers_t *self)
{
    for (size_t i = 0; i < self->known.count; i++)
        if (self->known.items[i].publishes)
            return true;
    return false;
}

void watchers_note_echo(watchers_t *self, const char *jail, const addr_t *address)
{
    echo_t *echo = &self->echoes[self->echo_count++ % WATCHERS_ECHOES];
    *echo = (echo_t){.address = *address, .at = wall_now()};
    snprintf(echo->jail, sizeof echo->jail, "%s", jail);
}

json_t *watchers_echoes(const watchers_t *self, const addr_t *address)
{
    json_t *all = json_array();
    for (size_t i = 0; i < self->echo_count && i < WATCHERS_ECHOES; i++) {
        const echo_t *echo = &self->echoes[i];
        if (addr_equal(&echo->address, address))
            json_array_append_new(all, json_pack("{s:s, s:I}", "jail", echo->jail, "time",
                                                 (json_int_t)(echo->at.ms / MS_PER_S)));
    }
    return all;
}

const shared_jail_t *watchers_shared(const watchers_t *self, int64_t *asked_ms)
{
    *asked_ms = mono_since_ms(self->shared_at);
    return self->knows_shared ? &self->shared : NULL;
}

json_t *watchers_status(const watchers_t *self)
{
    json_t *watching = json_array();
    for (size_t i = 0; i < self->known.count; i++)
        if (jail_facts_watches(&self->known.items[i]))
            json_array_append_new(watching, json_string(self->known.items[i].name));
    return json_pack("{s:I, s:o}", "count", (json_int_t)self->known.count, "watching", watching);
}
