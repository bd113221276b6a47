/* nets - which slots of the index lie in one IPv6 /64: whoever has one such network has all of its
 * addresses, so reports of any of them are about the same attacker. Eight bytes a slot, whatever
 * its address, and a table of 256 KiB: it is made only where a quorum is asked for. */
#ifndef BANMESH_NODE_NETS_H
#define BANMESH_NODE_NETS_H

#include "addr.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nets nets_t;

#define NETS_NONE UINT32_MAX

nets_t *nets_new(void);
void nets_destroy(nets_t **self_p);

/* Whether an address is one, or a network, in an IPv6 /64: only then it may be put in. */
bool nets_takes(const addr_t *address);

/* A slot got an address, or gives it up. */
void nets_add(nets_t *self, uint32_t slot, const addr_t *address);
void nets_remove(nets_t *self, uint32_t slot, const addr_t *address);

/* The slots that may lie in the /64 of this address, the newest first; others, too: ask
 * nets_are_near. NETS_NONE: no more. */
uint32_t nets_first(const nets_t *self, const addr_t *address);
uint32_t nets_next(const nets_t *self, uint32_t slot);

/* Both are IPv6, of one /64. */
bool nets_are_near(const addr_t *one, const addr_t *other);

#endif
