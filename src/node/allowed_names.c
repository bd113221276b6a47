#include "allowed_names.h"

#include "allowed_rows.h"
#include "names.h"
#include "soon.h"
#include "ticker.h"

#include <czmq.h>
#include <inttypes.h>

#define TICK_MS  1000
#define AGAIN_MS (5 * 60 * MS_PER_S)
#define LIFE_MS  (15 * 60 * MS_PER_S)
#define RENEW_MS                                                                                   \
    (11 * 60 * MS_PER_S) /* what is left of one when it is renewed: each answer does               \
                          */
#define KEPT_MS (30LL * 24 * 3600 * MS_PER_S) /* behind the end: the clock may be wrong */

#define TEXT_BETWEEN ": " /* of an announcement: the name, this, and the operator's words */

/* A row. */
typedef struct {
    char name[HOSTNAME_MAX + 1];
    int64_t until_ms;
    char text[EVENT_TEXT_MAX + 1]; /* as it is announced, with the name */
    uint64_t announced;            /* that answer of names.h */
} allowed_t;

struct allowed_names {
    allowed_names_parts_t parts;
    allowed_rows_t *rows;
    names_t *names;
    ticker_t *ticker;
    soon_t *answered_soon;
    allowed_t items[ALLOWED_NAMES_MAX];
    size_t count;
    bool failing; /* nothing can be announced, and it was said */
};

/* ---- the table ---- */

static allowed_t *find(allowed_names_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (streq(self->items[i].name, name))
            return &self->items[i];
    return NULL;
}

static allowed_t *remember(allowed_names_t *self, const char *name, int64_t until_ms,
                           const char *text)
{
    allowed_t *item = find(self, name);
    if (item == NULL)
        item = &self->items[self->count++];
    *item = (allowed_t){.until_ms = until_ms};
    snprintf(item->name, sizeof item->name, "%s", name);
    snprintf(item->text, sizeof item->text, "%s", text);
    return item;
}

static void take_row(void *arg, const char *name, int64_t until_ms, const char *text)
{
    allowed_names_t *self = arg;
    if (self->count < ALLOWED_NAMES_MAX && hostname_valid(name))
        remember(self, name, until_ms, text);
}

static void forget(allowed_names_t *self, const allowed_t *item)
{
    size_t at = (size_t)(item - self->items);
    self->count--;
    memmove(&self->items[at], &self->items[at + 1], (self->count - at) * sizeof *self->items);
}

/* What ended long ago. A row that stays for want of room is dropped another time. */
static void prune(allowed_names_t *self)
{
    for (size_t i = self->count; i-- > 0;)
        if (self->items[i].until_ms + KEPT_MS < wall_now().ms &&
            allowed_rows_remove(self->rows, self->items[i].name) == 0)
            forget(self, &self->items[i]);
}

/* ---- announcing ---- */

/* Say of an address that it is allowed for so long; 0: that it is not. Behind whatever this node
 * said of it before, also if the clock was set back since. */
static int announce(allowed_names_t *self, const addr_t *address, int64_t for_ms, const char *text)
{
    const grace_entry_t *said =
        graces_said(self->parts.graces, self->parts.ours, EVENT_ALLOW, address);
    event_t event = {.kind = EVENT_ALLOW};
    grace_t *grace = &event.grace;
    grace->network = *address;
    grace->time_ms = wall_now().ms;
    if (said != NULL && said->time_ms >= grace->time_ms)
        grace->time_ms = said->time_ms + 1;
    grace->until_ms = grace->time_ms + for_ms;
    snprintf(grace->text, sizeof grace->text, "%s", text);
    if (own_feed_append_grace(service_own_feed(self->parts.service), &event) == -1)
        return -1;
    standing_look_at_clock(self->parts.standing);
    entries_take_own_grace(self->parts.entries, &event);
    return 0;
}

static int64_t allowed_until_ms(const allowed_names_t *self, const addr_t *address, wall_t now)
{
    const grace_entry_t *said =
        graces_said(self->parts.graces, self->parts.ours, EVENT_ALLOW, address);
    return said != NULL && grace_entry_allows(said, now) ? said->until_ms : 0;
}

/* An answer is in that was not announced. */
static int announce_answer(allowed_names_t *self, const allowed_t *item, const names_item_t *name)
{
    wall_t now = wall_now();
    int64_t until_ms = now.ms + LIFE_MS < item->until_ms ? now.ms + LIFE_MS : item->until_ms;
    for (size_t i = 0; i < name->found_count; i++) {
        int64_t known_ms = allowed_until_ms(self, &name->found[i], now);
        if (known_ms < now.ms + RENEW_MS && known_ms < until_ms &&
            announce(self, &name->found[i], until_ms - now.ms, item->text) == -1)
            return -1;
    }
    return 0;
}

static void note_result(allowed_names_t *self, int rc)
{
    if (rc == -1 && !self->failing)
        log_warn("allowed names are not announced: the state directory cannot be written");
    self->failing = rc == -1;
}

static void announce_all(allowed_names_t *self)
{
    names_item_t name;
    wall_t now = wall_now();
    bool did = false;
    int rc = 0;
    for (size_t i = 0; names_at(self->names, i, &name) && rc == 0; i++) {
        allowed_t *item = find(self, name.host);
        if (item == NULL || item->announced == name.answers || item->until_ms <= now.ms)
            continue;
        rc = announce_answer(self, item, &name);
        if (rc == 0)
            item->announced = name.answers;
        did = true;
    }
    note_result(self, rc);
    if (did)
        self->parts.done(self->parts.arg);
}

/* ---- looking up ---- */

static void want_all(allowed_names_t *self)
{
    wall_t now = wall_now();
    names_begin(self->names);
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i].until_ms > now.ms)
            names_want(self->names, self->items[i].name, "");
    names_end(self->names);
}

static void tick(void *arg)
{
    allowed_names_t *self = arg;
    want_all(self);
    announce_all(self);
}

static void announce_now(void *arg)
{
    announce_all(arg);
}

static void answered(void *arg)
{
    soon_call(((allowed_names_t *)arg)->answered_soon);
}

void allowed_names_reload(allowed_names_t *self)
{
    names_look(self->names, true);
}

/* ---- the operator ---- */

size_t allowed_names_text_max(const char *name)
{
    return EVENT_TEXT_MAX - strlen(TEXT_BETWEEN) - strlen(name);
}

int allowed_names_put(allowed_names_t *self, const char *name, int64_t until_ms, const char *text,
                      fault_t *fault)
{
    char whole[EVENT_TEXT_MAX + 1];
    bool is_known = find(self, name) != NULL;
    if (!is_known && self->count == ALLOWED_NAMES_MAX)
        return fault_set(fault, "%s: %d names are allowed already, expected no more", name,
                         ALLOWED_NAMES_MAX);
    snprintf(whole, sizeof whole, "%s" TEXT_BETWEEN "%s", name, text);
    if (allowed_rows_put(self->rows, name, until_ms, whole) == -1)
        return fault_set(fault, "the state directory cannot be written: %s", strerror(errno));
    remember(self, name, until_ms, whole);
    want_all(self); /* looks a new one up */
    if (is_known)
        names_look(self->names, true);
    return 0;
}

/* Whether it is what an answer about this name became; perhaps with other words than now. */
static bool is_of_name(const grace_entry_t *entry, const char *name, wall_t now)
{
    size_t length = strlen(name);
    return entry->until_ms <= now.ms + LIFE_MS && strncmp(entry->text, name, length) == 0 &&
           strncmp(entry->text + length, TEXT_BETWEEN, strlen(TEXT_BETWEEN)) == 0;
}

/* An address that is allowed as this name's; false: there is none. */
static bool find_announced(const allowed_names_t *self, const char *name, addr_t *address)
{
    const grace_entry_t *entry;
    wall_t now = wall_now();
    for (size_t i = 0; (entry = graces_at(self->parts.graces, i)) != NULL; i++)
        if (entry->origin == self->parts.ours && grace_entry_allows(entry, now) &&
            is_of_name(entry, name, now)) {
            *address = entry->network;
            return true;
        }
    return false;
}

int allowed_names_remove(allowed_names_t *self, const char *name, fault_t *fault)
{
    addr_t address;
    const allowed_t *item = find(self, name);
    if (item == NULL)
        return 0;
    if (allowed_rows_remove(self->rows, name) == -1)
        return fault_set(fault, "the state directory cannot be written: %s", strerror(errno));
    const allowed_t gone = *item;
    forget(self, item);
    want_all(self);
    while (find_announced(self, name, &address))
        if (announce(self, &address, 0, gone.text) == -1)
            return fault_set(fault, "%s: removed, but what it is now is allowed for up to 15 min",
                             name);
    for (size_t i = 0; i < self->count; i++) /* one may have the same address */
        self->items[i].announced = 0;
    announce_all(self);
    return 1;
}

/* ---- what it says ---- */

static json_t *addresses_of(const allowed_names_t *self, const names_item_t *name)
{
    json_t *all = json_array();
    char text[ADDR_TEXT_MAX];
    wall_t now = wall_now();
    for (size_t i = 0; i < name->found_count; i++) {
        int64_t until_ms = allowed_until_ms(self, &name->found[i], now);
        if (until_ms != 0)
            json_array_append_new(all, json_pack("{s:s, s:I}", "address",
                                                 addr_print(&name->found[i], text), "until",
                                                 (json_int_t)(until_ms / MS_PER_S)));
    }
    return all;
}

json_t *allowed_names_json(const allowed_names_t *self)
{
    json_t *all = json_array();
    names_item_t name;
    for (size_t i = 0; names_at(self->names, i, &name); i++) {
        const allowed_t *item = find((allowed_names_t *)self, name.host);
        if (item == NULL)
            continue;
        const char *words = item->text + strlen(item->name) + strlen(TEXT_BETWEEN);
        const char *fault = name.fault != NULL ? name.fault->text : NULL;
        json_array_append_new(all,
                              json_pack("{s:s, s:I, s:s, s:o, s:s?}", "name", item->name, "until",
                                        (json_int_t)(item->until_ms / MS_PER_S), "text", words,
                                        "addresses", addresses_of(self, &name), "fault", fault));
    }
    return all;
}

void allowed_names_complain(const allowed_names_t *self,
                            void (*complain)(void *arg, const fault_t *fault), void *arg)
{
    names_complain(self->names, complain, arg);
}

/* ---- start ---- */

allowed_names_t *allowed_names_new(const allowed_names_parts_t *parts, fault_t *fault)
{
    allowed_names_t *self = xcalloc(1, sizeof *self);
    zloop_t *loop = service_loop(parts->service);
    db_t *own_db = feed_own_db(service_feed(parts->service));
    const names_rules_t rules = {
        .again_ms = AGAIN_MS,
        .strict = true,
        .consequence = "allowed by name: what it was before stays allowed for up to 15 min",
        .answered = answered,
        .arg = self,
    };
    self->parts = *parts;
    self->rows = allowed_rows_new(own_db);
    self->names = names_new(loop, &rules);
    self->answered_soon = soon_new(loop, announce_now, self);
    self->ticker = ticker_new(loop, TICK_MS, tick, self);
    if (allowed_rows_each(self->rows, take_row, self) == -1) {
        fault_set(fault, "state directory: %s", db_error(own_db));
        allowed_names_destroy(&self);
        return NULL;
    }
    prune(self);
    want_all(self);
    return self;
}

void allowed_names_destroy(allowed_names_t **self_p)
{
    allowed_names_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    soon_destroy(&self->answered_soon);
    names_destroy(&self->names);
    allowed_rows_destroy(&self->rows);
    free(self);
}
