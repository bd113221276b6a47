#include "tops.h"

#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FULL      32768 /* scores: some megabytes */
#define KEY_BYTES 32

/* One score. */
typedef struct {
    char day[TOPS_DAY_BYTES];
    char name[TOPS_NAME_BYTES];
    uint8_t kind;
    bool met;
    bool changed;  /* since it was written */
    uint32_t next; /* of the same bucket, or TOPS_NONE */
    int64_t score;
} top_t;

/* Numbers in the order in which something is to be done with them. */
typedef struct {
    uint32_t *items;
    size_t count;
    size_t size;
} list_t;

struct tops {
    top_t *items;
    size_t count;
    size_t size;
    uint32_t buckets[FULL];
    size_t asked;   /* items that were asked for, or are new and will be */
    list_t due;     /* whose answers are due, in order */
    size_t learned; /* of them */
    list_t changed;
};

static const char *const kind_names[TOPS_KIND_COUNT] = {[TOPS_IP] = "ip", [TOPS_NET] = "net"};

tops_t *tops_new(void)
{
    tops_t *self = xcalloc(1, sizeof *self);
    tops_forget(self);
    return self;
}

void tops_destroy(tops_t **self_p)
{
    tops_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    free(self->items);
    free(self->due.items);
    free(self->changed.items);
    free(self);
}

void tops_forget(tops_t *self)
{
    memset(self->buckets, 0xff, sizeof self->buckets); /* TOPS_NONE */
    self->count = self->asked = 0;
    self->due.count = self->learned = 0;
    self->changed.count = 0;
}

bool tops_is_full(const tops_t *self)
{
    return self->count >= FULL;
}

/* ---- finding ---- */

/* FNV-1a: a trusted node that would make many of one bucket slows down its own bans alone. */
static uint32_t hash(uint32_t seed, const char *text)
{
    for (; *text != '\0'; text++)
        seed = (seed ^ (uint8_t)*text) * 16777619u;
    return seed;
}

static bool is_it(const top_t *top, tops_kind_t kind, const char *day, const char *name)
{
    return top->kind == kind && strcmp(top->name, name) == 0 && strcmp(top->day, day) == 0;
}

static uint32_t add(tops_t *self, tops_kind_t kind, const char *day, const char *name)
{
    if (self->count == self->size) {
        self->size = self->size * 2 + 1024;
        self->items = xrealloc(self->items, self->size * sizeof *self->items);
    }
    top_t *top = &self->items[self->count];
    *top = (top_t){.kind = (uint8_t)kind};
    snprintf(top->day, sizeof top->day, "%s", day);
    snprintf(top->name, sizeof top->name, "%s", name);
    return (uint32_t)self->count++;
}

uint32_t tops_number(tops_t *self, tops_kind_t kind, const char *day, const char *name)
{
    uint32_t *bucket = &self->buckets[hash(hash(2166136261u + kind, day), name) % FULL];
    uint32_t number = *bucket;
    while (number != TOPS_NONE && !is_it(&self->items[number], kind, day, name))
        number = self->items[number].next;
    if (number != TOPS_NONE)
        return number;
    number = add(self, kind, day, name);
    self->items[number].next = *bucket;
    *bucket = number;
    return number;
}

/* ---- commands about several of one key ---- */

static void push(list_t *list, uint32_t number)
{
    if (list->count == list->size) {
        list->size = list->size * 2 + 256;
        list->items = xrealloc(list->items, list->size * sizeof *list->items);
    }
    list->items[list->count++] = number;
}

static bool same_key(const top_t *one, const top_t *other)
{
    return one->kind == other->kind && strcmp(one->day, other->day) == 0;
}

static void put_key(commands_t *out, const top_t *top)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "f2b:%s:top:%s", top->day, kind_names[top->kind]);
    commands_text(out, key);
}

/* Bring those of the first one's key to the front; there are few keys. Returns how many. */
static size_t gather(const tops_t *self, uint32_t *numbers, size_t count)
{
    size_t gathered = 1;
    for (size_t i = 1; i < count; i++)
        if (same_key(&self->items[numbers[i]], &self->items[numbers[0]])) {
            uint32_t number = numbers[i];
            numbers[i] = numbers[gathered];
            numbers[gathered++] = number;
        }
    return gathered;
}

size_t tops_ask(tops_t *self, commands_t *out)
{
    size_t first = self->due.count;
    size_t commands = 0;
    for (; self->asked < self->count; self->asked++)
        push(&self->due, (uint32_t)self->asked);
    while (first < self->due.count) {
        uint32_t *numbers = self->due.items + first;
        size_t count = gather(self, numbers, self->due.count - first);
        commands_begin(out, "ZMSCORE", 2 + count);
        put_key(out, &self->items[numbers[0]]);
        for (size_t i = 0; i < count; i++)
            commands_text(out, self->items[numbers[i]].name);
        first += count;
        commands++;
    }
    return commands;
}

static int64_t score_of(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : 0;
}

void tops_learn(tops_t *self, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < reply->elements && self->learned < self->due.count; i++)
        self->items[self->due.items[self->learned++]].score += score_of(reply->element[i]);
    if (self->learned == self->due.count)
        self->learned = self->due.count = 0;
}

bool tops_is_first(tops_t *self, uint32_t number)
{
    bool first = !self->items[number].met;
    self->items[number].met = true;
    return first;
}

void tops_add(tops_t *self, uint32_t number)
{
    top_t *top = &self->items[number];
    top->score++;
    if (!top->changed)
        push(&self->changed, number);
    top->changed = true;
}

void tops_write(tops_t *self, commands_t *out)
{
    uint32_t *numbers = self->changed.items;
    for (size_t left = self->changed.count; left > 0;) {
        size_t count = gather(self, numbers, left);
        commands_begin(out, "ZADD", 2 + 2 * count);
        put_key(out, &self->items[numbers[0]]);
        for (size_t i = 0; i < count; i++) {
            top_t *top = &self->items[numbers[i]];
            commands_number(out, top->score);
            commands_text(out, top->name);
            top->changed = false;
        }
        numbers += count;
        left -= count;
    }
    self->changed.count = 0;
}
