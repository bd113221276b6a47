/* heads - the signed heads that this node can show: its own, made here, and those of others, kept
 * verbatim; and which of them changed since all were last told. */
#ifndef BANMESH_REPLICA_HEADS_H
#define BANMESH_REPLICA_HEADS_H

#include "feed.h"
#include "wire.h"

#define HEADS_ENVELOPE_MAX 512 /* bytes; a head takes 180, and later versions may add to it */

/* Write the newest head of one of our own feeds, signed now; with seq 0 if its newest batch is not
 * here. ref may be NULL: the heartbeat of a node that never published. Returns its size, at most
 * HEADS_ENVELOPE_MAX. */
size_t heads_sign(feed_t *feed, wire_t *wire, const feed_ref_t *ref, wall_t now, uint8_t *out);

/* The head of any feed that we hold, ours signed now. 0 if there is none yet. */
size_t heads_read(feed_t *feed, wire_t *wire, const feed_ref_t *ref, wall_t now, uint8_t *out);

typedef struct heads heads_t;

/* feed and wire are borrowed for as long as the heads live. */
heads_t *heads_new(feed_t *feed, wire_t *wire);
void heads_destroy(heads_t **self_p);

/* Gather heads whose numbers changed in the last heartbeats (time alone is no change: 200
 * nodes would verify 40,000 signatures a second); each HEADS_TELL_TIMES times, for those whose
 * connection was away for a moment. The newest of our own is left out: it is the heartbeat. Fills
 * one bundle; what has no room comes the next time. */
#define HEADS_TELL_TIMES 6 /* a connection may be away for five heartbeats, and nobody notices */
void heads_gather_changed(heads_t *self, wall_t now, wire_bundle_t *out);

/* A feed whose newest batch no head tells of, though its origin had the time to sign one: it died
 * in between, and that batch itself is the only proof that it is there. Call behind
 * heads_gather_changed until NULL; each batch once, HEADS_LAST_WORDS_MAX a heartbeat. */
#define HEADS_LAST_WORDS_MAX 16
const feed_ref_t *heads_last_words(heads_t *self);

#endif
