/* jail_reader - what fail2ban's jails are and hold, asked of banmesh-helper while one waits. */
#ifndef BANMESH_CLI_JAIL_READER_H
#define BANMESH_CLI_JAIL_READER_H

#include "jail_facts.h"
#include "settings.h"

typedef struct jail_reader jail_reader_t;

/* Reach the helper that the settings name. NULL with the fault. */
jail_reader_t *jail_reader_new(const settings_t *settings, fault_t *fault);
void jail_reader_destroy(jail_reader_t **self_p);

/* All jails, in fail2ban's order; the caller frees them. Returns 0, or -1 with the fault. */
int jail_reader_jails(jail_reader_t *self, jail_facts_t **jails, size_t *count, fault_t *fault);

/* What a jail holds, a portion at a time. The helper waits for as long as a minute while a portion
 * is looked at.
 *   each  returns 0, or -1 and the fault: the rest is not read, and nothing more may be asked
 * Returns 0, or -1 with the fault. */
typedef int(jail_reader_fn)(void *arg, const helper_ticket_t *tickets, size_t count,
                            fault_t *fault);
int jail_reader_tickets(jail_reader_t *self, const char *jail, jail_reader_fn *each, void *arg,
                        fault_t *fault);

#endif
