#include "chain.h"

#include "event.h"
#include "log.h"
#include "store.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define WRITER_KEY  "banmesh:writer"
#define WIDTH       2 /* so that the store has the next block when it is done with one */
#define ID_BYTES    8
#define TOKEN_BYTES (EVENT_NAME_MAX + 2 * ID_BYTES + 32)

typedef enum { CLOSED, OPENING, RUNNING } state_t;

struct chain {
    state_t state;
    char name[EVENT_NAME_MAX + 1];
    char id[2 * ID_BYTES + 1]; /* of this process: no token is ever made twice */
    uint64_t number;           /* of the block that was sent last */
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

void chain_close(chain_t *self)
{
    self->state = CLOSED;
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

size_t chain_width(const chain_t *self)
{
    return self->state == RUNNING ? WIDTH : 1;
}

static void add_token(const chain_t *self, commands_t *out)
{
    char token[TOKEN_BYTES];
    snprintf(token, sizeof token, "%s %s %llu", self->name, self->id,
             (unsigned long long)self->number);
    commands_begin(out, "SADD", 3);
    commands_text(out, WRITER_KEY);
    commands_text(out, token);
}

void chain_begin_block(chain_t *self, commands_t *out)
{
    if (self->state == RUNNING) {
        commands_begin(out, "WATCH", 2);
        commands_text(out, WRITER_KEY);
        add_token(self, out);
    }
    self->number++;
    commands_begin(out, "MULTI", 1);
    commands_begin(out, "DEL", 2);
    commands_text(out, WRITER_KEY);
    add_token(self, out);
}

void chain_hold(chain_t *self)
{
    self->state = RUNNING;
}
