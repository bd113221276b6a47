/* store_login - the first words to a store: log in, find out whether it is a writable master, and
 * agree on its dataset. */
#ifndef BANMESH_AGGREGATOR_STORE_LOGIN_H
#define BANMESH_AGGREGATOR_STORE_LOGIN_H

#include "commands.h"
#include "store.h"
#include "store_access.h"

/* Add the commands. A password may be among them. */
void store_login_ask(const store_access_t *access, commands_t *out);

/* Take the answer to command `index` of them; it is no error. Fills dataset at the last one.
 * Returns 0, or -1 with the fault: this store will not do. */
int store_login_take(const store_access_t *access, size_t index, const redisReply *reply,
                     char dataset[static STORE_DATASET_BYTES], fault_t *fault);

#endif
