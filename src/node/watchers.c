#include "watchers.h"

#include "attention.h"
#include "clock.h"
#include "jail_facts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JAILS_MAX    1024 /* a host has some dozens */
#define AGAIN_MS     1000 /* at the earliest */
#define AFTER_BAD_MS 60000
#define LOOK_MS      10000 /* while nobody reads the shared log */
#define MISSING_MIN  2     /* a fail2ban that starts has its jails one by one */
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

/* Who is to read the shared log. */
typedef struct {
    bool has_jail;  /* there is one of the name that the settings say */
    bool reads_log; /* ... and it reads the log */
    bool known;     /* there was an answer */
} reader_t;

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
    const settings_t *settings;
    reader_t coming_reader; /* of the shared log */
    reader_t reader;        /* by the last answer that was whole */
    int missing;            /* answers in a row without it */
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

void watchers_set(watchers_t *self, const settings_t *settings)
{
    self->settings = settings;
    watchers_begin(self);
}

void watchers_begin(watchers_t *self)
{
    self->missing = 0;
    self->next_at = mono_now();
}

/* ---- answers ---- */

/* The helper says where links lead. */
static bool is_shared_log(const watchers_t *self, const char *path)
{
    char real[PATH_MAX];
    const char *log = self->settings->shared.log;
    return strcmp(path, log) == 0 || (realpath(log, real) != NULL && strcmp(path, real) == 0);
}

static void note_reader(watchers_t *self, const jailer_source_t *source)
{
    if (strcmp(source->jail, self->settings->shared.jail) != 0)
        return;
    self->coming_reader.has_jail = true;
    if (source->kind == HELPER_LOG && is_shared_log(self, source->source))
        self->coming_reader.reads_log = true;
}

/* All that is said of a jail comes in a row. */
static void take_source(void *arg, const jailer_source_t *source)
{
    watchers_t *self = arg;
    list_t *list = &self->coming;
    if (source->kind == HELPER_TARGET) {
        memcpy(self->target, source->source, sizeof self->target);
        return;
    }
    note_reader(self, source);
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
    bool is_read = self->coming_reader.reads_log;
    self->next_at.ms = mono_now().ms + (!is_good     ? AFTER_BAD_MS
                                        : !is_steady ? AGAIN_MS
                                        : !is_read   ? LOOK_MS
                                                     : EACH_MS);
    if (is_good) {
        self->reader = self->coming_reader;
        self->reader.known = true;
        self->missing = is_read ? 0 : self->missing + 1;
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
    self->coming_reader = (reader_t){0};
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

void watchers_attention(const watchers_t *self, json_t *status)
{
    const char *jail = self->settings->shared.jail;
    const char *log = self->settings->shared.log;
    if (self->missing < MISSING_MIN)
        return;
    if (!self->reader.has_jail)
        attention_add(
            status,
            "fail2ban has no jail %s: what peers ban is written to %s, and nobody bans it "
            "(jail.d/banmesh-shared.conf; shared / jail)",
            jail, log);
    else
        attention_add(status,
                      "the jail %s does not read %s: what peers ban is banned by nobody (its "
                      "logpath and backend; shared / log)",
                      jail, log);
}

json_t *watchers_status(const watchers_t *self)
{
    json_t *watching = json_array();
    for (size_t i = 0; i < self->known.count; i++)
        if (jail_facts_watches(&self->known.items[i]))
            json_array_append_new(watching, json_string(self->known.items[i].name));
    return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)self->known.count, "watching",
                     watching, "shared_reads_log",
                     self->reader.known ? json_boolean(self->reader.reads_log) : json_null());
}
