/* greeting - the first words to a store: log in, find out whether it is a writable master, and
 * agree on its dataset. */
#ifndef BANMESH_AGGREGATOR_GREETING_H
#define BANMESH_AGGREGATOR_GREETING_H

#include "commands.h"
#include "place.h"
#include "store.h"

/* Add the commands. A password may be among them. */
void greeting_ask(const place_t *place, commands_t *out);

/* Take the answer to command `index` of them; it is no error. Fills dataset at the last one.
 * Returns 0, or -1 with the fault: this store will not do. */
int greeting_take(const place_t *place, size_t index, const redisReply *reply,
                  char dataset[static STORE_DATASET_BYTES], fault_t *fault);

#endif
