#include "names.h"

#include "lookup.h"
#include "special.h"

#include <czmq.h>

#define LOOK_MS        50
#define FAULT_AGAIN_MS 50000 /* less than the minute at which some owners come by */

typedef struct {
    char *host;
    char *reason;
    bool wanted;
    lookup_t *lookup; /* NULL: none is under way */
    mono_t looked_at; /* 0: never */
    fault_t fault;    /* "": none */
    addr_t found[NAMES_FOUND_MAX];
    size_t found_count;
    uint64_t answers;
} name_t;

struct names {
    zloop_t *loop;
    names_rules_t rules;
    int timer; /* -1: no name is being looked up */
    name_t **items;
    size_t count;
};

names_t *names_new(zloop_t *loop, const names_rules_t *rules)
{
    names_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->rules = *rules;
    self->timer = -1;
    return self;
}

static void drop(name_t *name)
{
    lookup_destroy(&name->lookup);
    free(name->host);
    free(name->reason);
    free(name);
}

void names_destroy(names_t **self_p)
{
    names_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->timer != -1)
        zloop_timer_end(self->loop, self->timer);
    for (size_t i = 0; i < self->count; i++)
        drop(self->items[i]);
    free(self->items);
    free(self);
}

/* ---- an answer ---- */

typedef struct {
    addr_t found[NAMES_FOUND_MAX];
    size_t count; /* of different ones, also beyond those that are kept */
    addr_t special;
    bool has_special;
} answer_t;

static bool has(const addr_t *list, size_t count, const addr_t *address)
{
    for (size_t i = 0; i < count; i++)
        if (addr_equal(&list[i], address))
            return true;
    return false;
}

static void add_found(void *arg, const addr_t *address)
{
    answer_t *answer = arg;
    size_t kept = answer->count < NAMES_FOUND_MAX ? answer->count : NAMES_FOUND_MAX;
    if (has(answer->found, kept, address))
        return;
    if (!answer->has_special && special_name(address) != NULL) {
        answer->special = *address;
        answer->has_special = true;
    }
    if (answer->count < NAMES_FOUND_MAX)
        answer->found[answer->count] = *address;
    answer->count++;
}

/* Returns -1 with the fault if the answer is refused. */
static int check(const names_t *self, const char *host, const answer_t *answer, fault_t *fault)
{
    char text[ADDR_TEXT_MAX];
    if (answer->count == 0)
        return fault_set(fault, "%s: it has no address", host);
    if (self->rules.strict && answer->has_special)
        return fault_set(fault, "%s: refused: it has the address %s (%s)", host,
                         addr_print(&answer->special, text), special_name(&answer->special));
    if (self->rules.strict && answer->count > NAMES_FOUND_MAX)
        return fault_set(fault, "%s: refused: it has %zu addresses, expected at most %d", host,
                         answer->count, NAMES_FOUND_MAX);
    return 0;
}

static void take_answer(names_t *self, name_t *name, const answer_t *answer)
{
    name->fault.text[0] = '\0';
    if (check(self, name->host, answer, &name->fault) == -1)
        return;
    name->found_count = answer->count < NAMES_FOUND_MAX ? answer->count : NAMES_FOUND_MAX;
    memcpy(name->found, answer->found, name->found_count * sizeof *name->found);
    name->answers++;
    if (answer->count > NAMES_FOUND_MAX)
        fault_set(&name->fault, "%s: it has %zu addresses, and only %d count", name->host,
                  answer->count, NAMES_FOUND_MAX);
    if (self->rules.answered != NULL)
        self->rules.answered(self->rules.arg);
}

static void take_result(names_t *self, name_t *name)
{
    const fault_t before = name->fault;
    answer_t answer = {0};
    fault_t fault;
    int rc = lookup_each(name->lookup, add_found, &answer, &fault);
    if (rc == 0)
        return;
    lookup_destroy(&name->lookup);
    if (rc == -1)
        name->fault = fault;
    else
        take_answer(self, name, &answer);
    if (name->fault.text[0] != '\0' && strcmp(before.text, name->fault.text) != 0)
        log_warnx("%s; %s", name->fault.text, self->rules.consequence);
}

/* ---- looking up ---- */

static int look(zloop_t *loop, int timer, void *arg);

static void look_at_all(names_t *self)
{
    bool waiting = false;
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i]->lookup != NULL)
            take_result(self, self->items[i]);
        waiting = waiting || self->items[i]->lookup != NULL;
    }
    if (waiting && self->timer == -1)
        self->timer = zloop_timer(self->loop, LOOK_MS, 1, look, self);
}

static int look(zloop_t *loop, int timer, void *arg)
{
    names_t *self = arg;
    (void)loop;
    (void)timer;
    self->timer = -1;
    look_at_all(self);
    return 0;
}

static void begin(name_t *name)
{
    char endpoint[CERT_ENDPOINT_MAX + 1];
    snprintf(endpoint, sizeof endpoint, "tcp://%s:1", name->host); /* a port has to be */
    name->looked_at = mono_now();
    if (name->lookup == NULL)
        name->lookup = lookup_new(endpoint, &name->fault);
}

/* A name may move; one that could not be looked up may come. */
static bool is_old(const names_t *self, const name_t *name)
{
    int64_t again_ms = self->rules.again_ms;
    if (name->fault.text[0] != '\0' && FAULT_AGAIN_MS < again_ms)
        again_ms = FAULT_AGAIN_MS;
    return name->looked_at.ms == 0 || mono_since_ms(name->looked_at) >= again_ms;
}

void names_look(names_t *self, bool anew)
{
    for (size_t i = 0; i < self->count; i++) {
        if (anew) /* one that is under way may have been answered already */
            lookup_destroy(&self->items[i]->lookup);
        if (anew || is_old(self, self->items[i]))
            begin(self->items[i]);
    }
    look_at_all(self);
}

/* ---- which ---- */

void names_begin(names_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        self->items[i]->wanted = false;
}

static name_t *find(const names_t *self, const char *host)
{
    for (size_t i = 0; i < self->count; i++)
        if (streq(self->items[i]->host, host))
            return self->items[i];
    return NULL;
}

void names_want(names_t *self, const char *host, const char *reason)
{
    name_t *name = find(self, host);
    if (name == NULL) {
        name = xcalloc(1, sizeof *name);
        name->host = xstrdup(host);
        self->items = xrealloc(self->items, (self->count + 1) * sizeof(name_t *));
        self->items[self->count++] = name;
    }
    free(name->reason);
    name->reason = xstrdup(reason);
    name->wanted = true;
}

void names_end(names_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i]->wanted)
            self->items[kept++] = self->items[i];
        else
            drop(self->items[i]);
    }
    self->count = kept;
    names_look(self, false);
}

/* ---- asking ---- */

bool names_at(const names_t *self, size_t index, names_item_t *out)
{
    if (index >= self->count)
        return false;
    const name_t *name = self->items[index];
    *out = (names_item_t){
        .host = name->host,
        .reason = name->reason,
        .found = name->found,
        .found_count = name->found_count,
        .fault = name->fault.text[0] != '\0' ? &name->fault : NULL,
        .answers = name->answers,
    };
    return true;
}

const char *names_reason(const names_t *self, const addr_t *address)
{
    for (size_t i = 0; i < self->count; i++)
        for (size_t j = 0; j < self->items[i]->found_count; j++)
            if (addr_overlaps(&self->items[i]->found[j], address))
                return self->items[i]->reason;
    return NULL;
}

void names_complain(const names_t *self, void (*complain)(void *arg, const fault_t *fault),
                    void *arg)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->items[i]->fault.text[0] != '\0')
            complain(arg, &self->items[i]->fault);
}
