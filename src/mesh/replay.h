/* replay - what comes over connections that were made to us: answers peers that ask for what we
 * hold, and hands on what peers offer that nobody can reach. A peer is who its connection's key
 * says it is; its request must be signed by the same node. One answer is bounded: FETCH brings at
 * most REPLAY_MESSAGES_MAX messages or REPLAY_BYTES_MAX bytes, then a DONE that says how far it
 * went. A peer that asks too much gets empty answers for a while. */
#ifndef BANMESH_MESH_REPLAY_H
#define BANMESH_MESH_REPLAY_H

#include "digest.h"
#include "link.h"
#include "replica.h"

#define REPLAY_MESSAGES_MAX LINK_ANSWER_MAX /* or its DONE is lost */
#define REPLAY_BYTES_MAX    (1024 * 1024)

typedef struct replay replay_t;

typedef struct {
    uint64_t fetches;
    uint64_t surveys;
    uint64_t heads_sent; /* in answer to surveys, last words included */
    uint64_t batches_sent;
    uint64_t dropped;  /* answers cut short: the peer's queue was full or the peer gone */
    uint64_t put_off;  /* answered with nothing: over the budget */
    uint64_t too_many; /* requests over one connection too many */
} replay_counters_t;

/* Where an answer goes: false if that is full or gone. */
typedef struct {
    bool (*send)(void *to, const uint8_t *bytes, size_t size);
    void *to;
    const char *address; /* where the asker is, as text; NULL: not known */
} replay_way_t;

typedef struct {
    link_t *link;
    feed_t *feed;
    wire_t *wire;
    replica_t *replica;
    digest_t *digest;
    /* What came from a trusted node and is no request. */
    void (*offered)(void *arg, const link_visit_t *visit, const envelope_t *envelope);
    /* What a node is to be told of itself at the end of an answer to its survey; NULL: nothing. */
    void (*tell)(void *arg, const trusted_t *asker, const wire_survey_t *asked, const char *address,
                 wire_heard_t *out);
    void *arg;
} replay_config_t;

/* Everything in config is borrowed for as long as the replay lives. */
replay_t *replay_new(const replay_config_t *config);
void replay_destroy(replay_t **self_p);

/* One message, as it came. True if it was a request. */
bool replay_receive(replay_t *self, const link_visit_t *visit);

/* Answer one FETCH or SURVEY that came from that node. */
void replay_answer(replay_t *self, const replay_way_t *way, const trusted_t *sender,
                   const envelope_t *envelope);

/* From now on this set: whoever is not in it is forgotten. */
void replay_set_trust(replay_t *self, const trust_t *trust);

const replay_counters_t *replay_counters(const replay_t *self);

#endif
