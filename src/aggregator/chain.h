/* chain - that nobody else writes between our looking and our writing, nor between our links, and
 * that the store does not go back in time meanwhile, although several links are on their way at
 * once. A link is one transaction: a block, or a note of how far we are.
 *
 * banmesh:writer is a set that holds the token of the link that was written last; each link puts
 * its own in place of all others, in its MULTI. A chain is opened by watching that key: the first
 * link is written only if nobody wrote since. Each later link watches the key and then adds the
 * token of the link before it. If that token is there, this changes nothing. If the link before
 * failed, or somebody else wrote since, or all was flushed, or an old copy was put in its place, it
 * changes a key that we watch, and the EXEC that follows does nothing: a compare-and-swap without a
 * script, and without waiting for the answer. So if one link is refused, all that were sent behind
 * it are.
 *
 * banmesh:marks is a hash with the token of what each node did last: its last link, or its last
 * reading of cursors. Whoever finds another mark than the one it left there is connected to a store
 * that went back in time.
 *
 * Only writes that go through a chain are noticed. Commands only; knows neither blocks nor sockets.
 */
#ifndef BANMESH_AGGREGATOR_CHAIN_H
#define BANMESH_AGGREGATOR_CHAIN_H

#include "commands.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>

typedef struct chain chain_t;

/* name: of this node, for those who read the tokens; borrowed for the call. A chain begins closed.
 */
chain_t *chain_new(const char *name);
void chain_destroy(chain_t **self_p);

/* The connection was lost: whatever is found behind the next one is as it should be. */
void chain_forget(chain_t *self);

/* A link was refused: somebody else wrote. Only when all that were sent are answered. */
void chain_close(chain_t *self);
bool chain_is_closed(const chain_t *self);

/* Add the command that opens it. What is looked up behind it stays true until a link is written. */
void chain_open(chain_t *self, commands_t *out);

/* That command, and a check behind it, were answered well: links may follow. */
void chain_opened(chain_t *self);

/* Whether one more link may be sent. The first one waits for its answer alone, so that whoever was
 * quicker is not disturbed by those behind it. */
bool chain_has_room(const chain_t *self);

/* Add what a link begins with, MULTI included; its commands and EXEC follow. Returns its number. */
uint64_t chain_begin(chain_t *self, commands_t *out);

/* The oldest link that was on its way is written. */
void chain_hold(chain_t *self, uint64_t number);

/* Add the command that leaves a mark: a store in which it is missing later is older than what is
 * read behind it. It hides the one before: check that first. */
void chain_mark(chain_t *self, commands_t *out);

/* Add the command that reads our mark. Returns the oldest one that will do: links that are on their
 * way may have left newer ones. */
uint64_t chain_check(const chain_t *self, commands_t *out);

/* Whether its answer is that mark or a newer one. */
bool chain_is_intact(const chain_t *self, uint64_t oldest, const redisReply *reply);

#endif
