/* store_login - the first words to a store: log in, find out whether it is a writable master, and
 * agree on its dataset. */
#ifndef BANMESH_AGGREGATOR_STORE_LOGIN_H
#define BANMESH_AGGREGATOR_STORE_LOGIN_H

#include "commands.h"
#include "store.h"
#include "store_access.h"

/* Add the commands. A password may be among them. */
void store_login_ask(const store_access_t *access, commands_t *out);

/* What is found out by it. */
typedef struct {
    char dataset[STORE_DATASET_BYTES];
    bool may_select;        /* a database; a user of an older set of rules may not */
    bool is_active_replica; /* KeyDB: a writable master that others write into, too */
    fault_t warning;        /* what an operator should change; "": nothing */
} store_login_t;

/* Whether an error in answer to command `index` is to be taken, too: not every user may ask that.
 */
bool store_login_may_fail(const store_access_t *access, size_t index);

/* Take the answer to command `index` of them, in order. Returns 0, or -1 with the fault: this store
 * will not do. */
int store_login_take(const store_access_t *access, size_t index, const redisReply *reply,
                     store_login_t *login, fault_t *fault);

#endif
