#include "watchers.h"

#include "clock.h"
#include "jail_facts.h"

#include <stdlib.h>
#include <string.h>

#define JAILS_MAX    1024 /* a host has some dozens */
#define AGAIN_MS     1000 /* at the earliest */
#define AFTER_BAD_MS 60000
#define EACH_MS      (10 * 60 * MS_PER_S)

typedef struct {
    jail_facts_t *items;
    size_t count;
} list_t;

struct watchers {
    jailer_t *jailer;
    void (*done)(void *arg);
    void *arg;
    list_t known;  /* by the last answer that was whole */
    list_t coming; /* of the one that comes */
    char target[HELPER_SOURCE_MAX + 1];
    bool asking;
    mono_t asked_at;
    mono_t next_at;
};

watchers_t *watchers_new(jailer_t *jailer, void (*done)(void *arg), void *arg)
{
    watchers_t *self = xcalloc(1, sizeof *self);
    self->jailer = jailer;
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

/* ---- answers ---- */

/* All that is said of a jail comes in a row. */
static void take_source(void *arg, const jailer_source_t *source)
{
    watchers_t *self = arg;
    list_t *list = &self->coming;
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

/* While fail2ban starts there are more of them each time. */
static void asked(void *arg, jailer_status_t status)
{
    watchers_t *self = arg;
    list_t old = self->known;
    bool is_good = status == JAILER_OK;
    bool is_steady = old.count == self->coming.count;
    self->asking = false;
    self->next_at.ms = mono_now().ms + (!is_good ? AFTER_BAD_MS : is_steady ? EACH_MS : AGAIN_MS);
    if (is_good) {
        self->known = self->coming;
        self->coming = old;
    }
    self->done(self->arg);
}

/* ---- questions ---- */

void watchers_step(watchers_t *self)
{
    if (self->asking || mono_now().ms < self->next_at.ms || !jailer_is_free(self->jailer))
        return;
    self->coming.count = 0;
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
    if (jail_facts_is_known_watcher(jail))
        return true;
    for (size_t i = 0; i < self->known.count; i++)
        if (strcmp(self->known.items[i].name, jail) == 0)
            return jail_facts_watches(&self->known.items[i]);
    ask_soon(self);
    return false;
}

json_t *watchers_status(const watchers_t *self)
{
    json_t *watching = json_array();
    for (size_t i = 0; i < self->known.count; i++)
        if (jail_facts_watches(&self->known.items[i]))
            json_array_append_new(watching, json_string(self->known.items[i].name));
    return json_pack("{s:I, s:o}", "count", (json_int_t)self->known.count, "watching", watching);
}
