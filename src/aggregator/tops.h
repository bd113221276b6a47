/* tops - how many attempts of a day each address and each network has in the store, so that its
 * ranking gets absolute scores: a block that is written twice counts once.
 *
 *   f2b:<YYYY-MM-DD>:top:ip    ZSET   addresses by their attempts of that day
 *   f2b:<YYYY-MM-DD>:top:net   ZSET   networks, as the databases cut them
 *
 * A score that was read stays true while a chain is open (chain.h), since nobody else writes, and
 * what is written through this room is added here as well. So each is asked for once a chain,
 * however many blocks are on their way. Commands only; knows neither blocks nor sockets. */
#ifndef BANMESH_AGGREGATOR_TOPS_H
#define BANMESH_AGGREGATOR_TOPS_H

#include "commands.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>

#define TOPS_NONE       UINT32_MAX
#define TOPS_DAY_BYTES  11
#define TOPS_NAME_BYTES 48

typedef enum { TOPS_IP, TOPS_NET, TOPS_KIND_COUNT } tops_kind_t;

typedef struct tops tops_t;

tops_t *tops_new(void);
void tops_destroy(tops_t **self_p);

/* A chain begins or ends: nothing is known, and no answer is due. */
void tops_forget(tops_t *self);

/* It has grown so large that it should be forgotten as soon as nothing is on its way. */
bool tops_is_full(const tops_t *self);

/* The number of one score; until it is forgotten. Texts are copied. */
uint32_t tops_number(tops_t *self, tops_kind_t kind, const char *day, const char *name);

/* Add the commands that ask for those that are new. Returns how many commands. */
size_t tops_ask(tops_t *self, commands_t *out);

/* The answers, in the order in which the commands were sent. */
void tops_learn(tops_t *self, const redisReply *reply);

/* Whether this is the first call for it since it was last forgotten. */
bool tops_is_first(tops_t *self, uint32_t number);

/* One more attempt; its score must be known. */
void tops_add(tops_t *self, uint32_t number);

/* Add the commands that write all that were added to. */
void tops_write(tops_t *self, commands_t *out);

#endif
