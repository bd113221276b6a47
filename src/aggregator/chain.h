/* chain - that nobody else writes between our looking and our writing, nor between our blocks,
 * although several of them are on their way at once.
 *
 * banmesh:writer is a set that holds the token of the block that was written last; each block puts
 * its own in place of all others, in its MULTI. A chain is opened by watching that key: the first
 * block is written only if nobody wrote since. Each later block watches the key and then adds the
 * token of the block before it. If that token is there, this changes nothing. If the block before
 * failed, or somebody else wrote since, or all was flushed, it changes a key that we watch, and the
 * EXEC that follows does nothing: a compare-and-swap without a script, and without waiting for the
 * answer. So if one block is refused, all that were sent behind it are.
 *
 * Only writes that go through a chain are noticed. Commands only; knows neither blocks nor sockets.
 */
#ifndef BANMESH_AGGREGATOR_CHAIN_H
#define BANMESH_AGGREGATOR_CHAIN_H

#include "commands.h"

#include <stdbool.h>

typedef struct chain chain_t;

/* name: of this node, for those who read banmesh:writer; borrowed for the call. A chain begins
 * closed. */
chain_t *chain_new(const char *name);
void chain_destroy(chain_t **self_p);

/* Nothing is sure any more: the connection was lost, or a block refused. Only when all blocks that
 * were sent are answered. */
void chain_close(chain_t *self);
bool chain_is_closed(const chain_t *self);

/* Add the command that opens it. What is looked up behind it stays true until a block is written.
 */
void chain_open(chain_t *self, commands_t *out);

/* How many blocks may be on their way: while it opens one, so that whoever was quicker is not
 * disturbed by those behind it. */
size_t chain_width(const chain_t *self);

/* Add what a block begins with, MULTI included; its commands and EXEC follow. */
void chain_begin_block(chain_t *self, commands_t *out);

/* A block was written. */
void chain_hold(chain_t *self);

#endif
