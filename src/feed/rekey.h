/* rekey - this host has another key than its own.db was written under: a copied server that was
 * given keys of its own, as it should be. What own.db holds of the other key is a peer's feed from
 * then on: it goes on being handed out, and its bans count here like any peer's. */
#ifndef BANMESH_FEED_REKEY_H
#define BANMESH_FEED_REKEY_H

#include "rows.h"

/* Move all feeds of other keys than self from own.db into peers.db, as far as they are not there
 * already, and run `also` (SQL; may be NULL) in own.db if there were any. Outside of transactions.
 * Returns how many; -1 and errno of db_step. Cut off anywhere, the next call goes on. */
int rekey_move(rows_t *own, rows_t *peers, const pubkey_t *self, const char *also);

#endif
