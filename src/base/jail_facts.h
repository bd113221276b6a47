/* jail_facts - what kind of jail one of fail2ban's is, by what banmesh-helper says that it reads
 * and does. Pure; libc only. */
#ifndef BANMESH_BASE_JAIL_FACTS_H
#define BANMESH_BASE_JAIL_FACTS_H

#include "helper_record.h"

typedef struct {
    char name[HELPER_JAIL_BYTES + 1];
    bool publishes;    /* it has our action, by its own name */
    bool reads_own;    /* fail2ban's own log */
    bool reads_others; /* some other log */
} jail_facts_t;

/* Take in one thing that is said of a jail.
 *   target  where fail2ban's own log goes */
void jail_facts_add(jail_facts_t *self, const char *target, helper_source_t kind,
                    const char *source);

/* Whether all that it reads is fail2ban's own log: it bans whom other jails have banned. */
bool jail_facts_watches(const jail_facts_t *self);

/* The same for a jail of which nothing but the name is known. */
bool jail_facts_is_known_watcher(const char *name);

#endif
