/* digest - whether two nodes know the same, without a list of it: for each bucket of feeds (by the
 * first byte of their origin) some bytes of a hash over what is known of them. Who trusts others
 * than we do, or has somebody in quarantine, differs in that bucket alone.
 * Not a sum of hashes: an origin chooses its epochs, and could choose such that cancel out. */
#ifndef BANMESH_REPLICA_DIGEST_H
#define BANMESH_REPLICA_DIGEST_H

#include "feed.h"
#include "wire.h"

typedef struct digest digest_t;

/* feed is borrowed for as long as the digest lives. */
digest_t *digest_new(feed_t *feed);
void digest_destroy(digest_t **self_p);

/* A survey with what we know: of each feed the newest number that we can show, and the floor.
 *   history  of epochs that have ended, too
 * Costs a hash over the buckets that changed since the last time, and a look at each feed if
 * one did. */
void digest_fill(digest_t *self, bool history, wire_survey_t *out);

/* True if who asked may lack what we know of a feed. ours: as filled for the same `history`. */
bool digest_wants(const wire_survey_t *asked, const wire_survey_t *ours, const feed_ref_t *feed);

#endif
