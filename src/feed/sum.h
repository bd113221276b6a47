/* sum - checksums over stored rows, so that a flipped bit that SQLite does not notice is found when
 * the row is read: not by a peer that refuses a signature, and not by nobody, where it is a floor
 * or a cursor and bans are passed over. They find accidents, not enemies: who can write the file
 * can write the sum. 32 bits, never negative. */
#ifndef BANMESH_FEED_SUM_H
#define BANMESH_FEED_SUM_H

#include "feed_ref.h"

/* Of a batch: its bytes, its feed, and its key: a row under the key of another is found, too. */
int64_t sum_batch(const feed_id_t *feed, int64_t key, const uint8_t *bytes, size_t size);

/* Of a feed's row; head may be NULL if size is 0. */
int64_t sum_feed(const feed_id_t *feed, const feed_mark_t *mark, const uint8_t *head, size_t size);

/* Of a consumer's cursor. */
int64_t sum_cursor(const feed_id_t *feed, uint64_t seq);

#endif
