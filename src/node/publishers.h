/* publishers - the local users who may hand in bans: asked of the kernel for each connection, since
 * hardened units cannot open a socket that only root may. Pure but for the user database. */
#ifndef BANMESH_NODE_PUBLISHERS_H
#define BANMESH_NODE_PUBLISHERS_H

#include "settings.h"

#include <sys/types.h>

#define PUBLISHERS_MAX           16
#define PUBLISHERS_STRANGERS_MAX 16 /* that the log names; all are counted */

typedef struct {
    uid_t users[PUBLISHERS_MAX];
    size_t count;
    uid_t strangers[PUBLISHERS_STRANGERS_MAX];
    size_t stranger_count;
} publishers_t;

/* publish / users, by name or number; nobody is a stranger yet.
 *   warn  of those that there are not, and of too many */
void publishers_set(publishers_t *self, const settings_t *settings, bool warn);

/* One of them, or whoever runs this. */
bool publishers_has(const publishers_t *self, uid_t user);

/* Root, or whoever runs this: an unban lifts a ban on all hosts, and none of the settings gives
 * that away. */
bool publishers_may_lift(uid_t user);

/* Log that one is not. Once a user, not once an attempt: two who take turns must not fill the log.
 */
void publishers_warn(publishers_t *self, uid_t user);

#endif
