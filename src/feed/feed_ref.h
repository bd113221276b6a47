/* feed_ref - one feed as this host holds it: what it is called, and how far it is here. */
#ifndef BANMESH_FEED_FEED_REF_H
#define BANMESH_FEED_FEED_REF_H

#include "event.h"

#include <stdbool.h>

#define FEED_SEQ_BITS 40 /* a row's key is feed number << 40 | seq */
#define FEED_SEQ_MAX  ((1ULL << FEED_SEQ_BITS) - 1)

/* Owned by feed_t, at the same address as long as feed_t lives; read-only to others. */
typedef struct {
    feed_id_t id;
    int64_t number;    /* of its row */
    bool own_db;       /* in own.db, not peers.db */
    uint64_t have;     /* newest seq stored; no gaps from floor up to it; 0: none */
    uint64_t floor;    /* oldest seq that still counts, by its origin; at least 1 */
    uint64_t oldest;   /* oldest seq stored, perhaps under the floor; have + 1: none */
    uint64_t head_seq; /* newest seq that its origin signed for; may be ahead of have */
    uint64_t kept_seq; /* seq of the head that feed_read_head returns; 0: none */
    bool quarantined;  /* nothing more of its origin is taken in, so none of it is missed */
    uint64_t cursor;   /* newest seq that our consumer is done with */
} feed_ref_t;

#endif
