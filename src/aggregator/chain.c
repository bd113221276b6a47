#include "chain.h"

#include "event.h"
#include "log.h"
#include "store.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITER_KEY  "banmesh:writer"
#define MARKS_KEY   "banmesh:marks"
#define WIDTH       3 /* so that the store has the next block when it is done with one and a note */
#define ID_BYTES    8
#define TOKEN_BYTES (EVENT_NAME_MAX + 2 * ID_BYTES + 32)

typedef enum { CLOSED, OPENING, OPEN, RUNNING } chain_state_t;

struct chain {
    chain_state_t state;
    char name[EVENT_NAME_MAX + 1];
    char id[2 * ID_BYTES + 1]; /* of this process: no token is ever made twice */
    uint64_t number;           /* of the newest token */
    uint64_t link;             /* of the link that was sent last */
    uint64_t mark;             /* of the newest token that is surely our mark; 0: none yet */
    size_t sent;               /* links on their way */
};

chain_t *chain_new(const char *name)
{
    uint8_t id[ID_BYTES];
    chain_t *self = xcalloc(1, sizeof *self);
    snprintf(self->name, sizeof self->name, "%s", name);
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(self->id, sizeof self->id, id, sizeof id);
    return self;
}

void chain_destroy(chain_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

void chain_forget(chain_t *self)
{
    chain_close(self);
    self->mark = 0;
}

void chain_close(chain_t *self)
{
    self->state = CLOSED;
    self->sent = 0;
}

bool chain_is_closed(const chain_t *self)
{
    return self->state == CLOSED;
}

void chain_open(chain_t *self, commands_t *out)
{
    commands_begin(out, "WATCH", 3);
    commands_text(out, STORE_DATASET_KEY); /* always there, so a flush touches it */
    commands_text(out, WRITER_KEY);
    self->state = OPENING;
}

void chain_opened(chain_t *self)
{
    self->state = OPEN;
}

bool chain_has_room(const chain_t *self)
{
    return self->sent < (self->state == RUNNING ? WIDTH : self->state == OPEN ? 1 : 0);
}

static void print_token(const chain_t *self, uint64_t number, char token[static TOKEN_BYTES])
{
    snprintf(token, TOKEN_BYTES, "%s %s %llu", self->name, self->id, (unsigned long long)number);
}

static void add_token(const chain_t *self, commands_t *out)
{
    char token[TOKEN_BYTES];
    print_token(self, self->link, token);
    commands_begin(out, "SADD", 3);
    commands_text(out, WRITER_KEY);
    commands_text(out, token);
}

static void add_mark(const chain_t *self, commands_t *out)
{
    char token[TOKEN_BYTES];
    print_token(self, self->number, token);
    commands_begin(out, "HSET", 4);
    commands_text(out, MARKS_KEY);
    commands_text(out, self->name);
    commands_text(out, token);
}

uint64_t chain_begin(chain_t *self, commands_t *out)
{
    if (self->state == RUNNING) {
        commands_begin(out, "WATCH", 2);
        commands_text(out, WRITER_KEY);
        add_token(self, out);
    }
    self->link = ++self->number;
    self->sent++;
    commands_begin(out, "MULTI", 1);
    commands_begin(out, "DEL", 2);
    commands_text(out, WRITER_KEY);
    add_token(self, out);
    add_mark(self, out);
    return self->link;
}

/* Tokens are in the store in the order of their numbers. */
void chain_hold(chain_t *self, uint64_t number)
{
    self->state = RUNNING;
    self->sent--;
    if (self->mark < number)
        self->mark = number;
}

void chain_mark(chain_t *self, commands_t *out)
{
    self->mark = ++self->number;
    add_mark(self, out);
}

uint64_t chain_check(const chain_t *self, commands_t *out)
{
    commands_begin(out, "HMGET", 3);
    commands_text(out, MARKS_KEY);
    commands_text(out, self->name);
    return self->mark;
}

bool chain_is_intact(const chain_t *self, uint64_t oldest, const redisReply *reply)
{
    char token[TOKEN_BYTES];
    print_token(self, 0, token);
    size_t length = strlen(token) - 1; /* without the number */
    if (oldest == 0)
        return true;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
        reply->element[0]->type != REDIS_REPLY_STRING)
        return false;
    const char *found = reply->element[0]->str;
    return strncmp(found, token, length) == 0 && strtoull(found + length, NULL, 10) >= oldest;
}
