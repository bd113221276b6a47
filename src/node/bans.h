/* bans - which addresses this host holds banned, and until when: by its own jails, or by the shared
 * one. In memory, about 32 bytes an address; the rows that survive a restart are the applier's.
 * Knows no policy. */
#ifndef BANMESH_NODE_BANS_H
#define BANMESH_NODE_BANS_H

#include "addr.h"
#include "clock.h"

typedef struct bans bans_t;

bans_t *bans_new(void);
void bans_destroy(bans_t **self_p);

/* Until when an address is held, ms since 1970; 0 if it is not known. What has ended may still be
 * reported: compare with the clock. */
int64_t bans_until(const bans_t *self, const addr_t *address);

/* Hold an address until then. Returns what bans_until said before. 0 forgets the
 * address. */
int64_t bans_set(bans_t *self, const addr_t *address, int64_t until_ms);

/* Hold an address until then, unless that has passed or it is held for longer. */
void bans_raise(bans_t *self, const addr_t *address, int64_t until_ms);

/* How many are held at that time. */
size_t bans_active(const bans_t *self, wall_t now);

/* Forget those that have ended. Looks at each: now and then only. */
void bans_sweep(bans_t *self, wall_t now);

#endif
