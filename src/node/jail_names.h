/* jail_names - numbers for the names of jails: bans by the million come from a few of them. Names
 * are never forgotten: whoever adds them bounds how many there are. */
#ifndef BANMESH_NODE_JAIL_NAMES_H
#define BANMESH_NODE_JAIL_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#define JAIL_NAMES_MANY 0 /* stands for all that found no number */

typedef struct jail_names jail_names_t;

jail_names_t *jail_names_new(void);
void jail_names_destroy(jail_names_t **self_p);

/* True and the number of a name that was added. */
bool jail_names_find(const jail_names_t *self, const char *name, uint16_t *number);

/* Returns the number of a name that was not; JAIL_NAMES_MANY if there are 65,535. */
uint16_t jail_names_add(jail_names_t *self, const char *name);

/* The name of a number; "many-jails" for those without one. Lives as long as the names. */
const char *jail_names_text(const jail_names_t *self, uint16_t number);

#endif
