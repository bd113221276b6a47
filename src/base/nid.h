/* nid - the short id of an event: the same on every host, so writing it twice changes nothing. */
#ifndef BANMESH_BASE_NID_H
#define BANMESH_BASE_NID_H

#include "event.h"

/* The first 63 bits of the BLAKE2b hash of (origin, epoch, channel, seq, index), numbers in network
 * order. Stores keep small sets of such integers compactly, and they fit a signed 64-bit column.
 *   origin    the origin's public signing key
 *   position  the event's place, or its original place if it has one */
int64_t nid_of(const pubkey_t *origin, const event_position_t *position);

#endif
