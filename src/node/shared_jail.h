/* shared_jail - what fail2ban's jails say of the shared log: whether the shared jail is there, and
 * who reads the log. Looks at paths only to see whether two of them are one file. */
#ifndef BANMESH_NODE_SHARED_JAIL_H
#define BANMESH_NODE_SHARED_JAIL_H

#include "jailer.h"

typedef struct {
    bool is_there;
    bool reads;                         /* the shared log */
    char reader[HELPER_JAIL_BYTES + 1]; /* another jail that does; "": none */
} shared_jail_t;

/* Take in one thing that is said of a jail. */
void shared_jail_add(shared_jail_t *self, const settings_t *settings,
                     const jailer_source_t *source);

#endif
