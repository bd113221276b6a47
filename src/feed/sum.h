/* sum - a checksum over a stored row, so that a flipped bit that SQLite does not notice is found
 * when the row is read, not by a peer that refuses its signature. It finds accidents, not enemies:
 * who can write the file can write the sum. */
#ifndef BANMESH_FEED_SUM_H
#define BANMESH_FEED_SUM_H

#include <stddef.h>
#include <stdint.h>

/* Of a row's key and bytes: one row under the key of another is found, too. 32 bits, never
 * negative. */
int64_t sum_of(int64_t id, const uint8_t *bytes, size_t size);

#endif
