/* feed_ref - one feed as this host holds it: what it is called, and how far it is here. */
#ifndef BANMESH_FEED_FEED_REF_H
#define BANMESH_FEED_FEED_REF_H

#include "event.h"

#include <stdbool.h>
#include <stddef.h>

#define FEED_SEQ_BITS 40 /* a row's key is feed number << 40 | seq */
#define FEED_SEQ_MAX  ((1ULL << FEED_SEQ_BITS) - 1)

#define FEED_NOTES_MAX 8

/* What a signed head says of its feed, and of its origin's feeds. */
typedef struct {
    uint64_t seq;         /* newest number; 0: none */
    uint64_t floor;       /* oldest number that still counts; at least 1 */
    uint64_t epoch_floor; /* oldest epoch of the origin that still counts; 0: all do */
} feed_mark_t;

/* Owned by feed_t, at the same address until feed_remove; read-only to others. */
typedef struct {
    feed_id_t id;
    int64_t number;       /* of its row */
    bool own_db;          /* in own.db, not peers.db */
    bool of_this_run;     /* begun by feed_own: nobody else knows more of it */
    bool ended;           /* its epoch lies under the origin's epoch floor: nothing of it counts */
    bool quarantined;     /* nothing more of its origin is taken in, so none of it is missed */
    uint64_t have;        /* newest seq stored; no gaps from floor up to it; 0: none */
    uint64_t floor;       /* oldest seq that still counts, by its origin; at least 1 */
    uint64_t oldest;      /* oldest seq stored, perhaps under the floor; have + 1: none */
    uint64_t head_seq;    /* newest seq that its origin signed for; may be ahead of have */
    uint64_t kept_seq;    /* seq of the head that feed_read_head returns; 0: none */
    uint64_t epoch_floor; /* what its own row says of it */
    uint64_t cursor;      /* newest seq that our consumer is done with */
    size_t index;         /* catalog's */
    void *notes[FEED_NOTES_MAX]; /* what rooms keep of it: feed_note */
} feed_ref_t;

#endif
