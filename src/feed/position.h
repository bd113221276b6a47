/* position - what the numbers of one feed mean together: what is here, what counts, what is missed.
 * Pure. Where they come from, and what of it is on disk, is feed's business. */
#ifndef BANMESH_FEED_POSITION_H
#define BANMESH_FEED_POSITION_H

#include "feed_ref.h"

/* A feed as its row and its batches say.
 *   newest, oldest  stored numbers; 0: nothing is stored */
void position_load(feed_ref_t *feed, const feed_mark_t *mark, uint64_t newest, uint64_t oldest);

/* What lies under the floor counts as here, unless this host keeps the history; what is signed for
 * beyond that is missed, unless nothing of it is taken in. */
void position_settle(feed_ref_t *feed, bool keeps_history);

/* Its epoch has ended: nothing in it counts, and none of it is missed, but by those who keep the
 * history. Ours counts until compaction has copied what runs. */
void position_end(feed_ref_t *feed, bool is_ours, bool keeps_history);

/* One more batch is stored. */
void position_advance(feed_ref_t *feed, uint64_t seq);

/* Nobody has what lies between have and seq any more: have moves up to seq, at most to the floor.
 */
void position_give_up(feed_ref_t *feed, uint64_t seq);

/* Whether a head says more than the one that is held: no number in it is lower, one is higher. */
bool position_is_newer(const feed_ref_t *feed, const feed_mark_t *mark);

/* The newest number that can be shown: by its origin's head, or the batch itself. What was only
 * promised, by a batch that came too early, is none. */
uint64_t position_shown(const feed_ref_t *feed);

/* Nothing is here of what its origin signed for. An epoch that was compacted wholly promises no
 * more. */
bool position_is_promise(const feed_ref_t *feed);

#endif
