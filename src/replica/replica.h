/* replica - the copies of feeds: what may come in, in which order, and what was refused and why.
 * Every batch and head passes here, whoever brought it: a trusted origin's signature is what
 * counts, not the connection. Knows no sockets. */
#ifndef BANMESH_REPLICA_REPLICA_H
#define BANMESH_REPLICA_REPLICA_H

#include "feed.h"
#include "forks.h"
#include "settings.h"
#include "trust.h"
#include "wire.h"

typedef enum {
    REPLICA_WANTED,  /* worth the check of its signature */
    REPLICA_STORED,  /* the next batch of its feed, and what waited behind it */
    REPLICA_KNOWN,   /* not newer than what is held */
    REPLICA_EARLY,   /* a gap before it: catch-up is wanted */
    REPLICA_HEAD,    /* a head, kept or not newer */
    REPLICA_REFUSED, /* counted under its reason */
    REPLICA_FAILED,  /* the disk said no; errno of db_step; nothing of it is kept */
} replica_result_t;

/* Reasons besides wire_error_t's. */
typedef enum {
    REPLICA_UNKNOWN_ORIGIN,  /* signed by a key that is not in the trust directory */
    REPLICA_AGGREGATOR_ROLE, /* an aggregator may read, its events count nowhere */
    REPLICA_OUR_NUMBERS,     /* a number of our running epoch that we never gave */
    REPLICA_TOO_MANY_FEEDS,
    REPLICA_MORE_FRAMES, /* a message of several frames */
    REPLICA_WRONG_PEER,  /* a request signed by another than who sent it */
    REPLICA_QUARANTINED, /* of an origin that signed two bodies for one number */
    REPLICA_REASON_COUNT,
} replica_reason_t;

typedef struct {
    uint64_t stored;
    uint64_t known;
    uint64_t early;
    uint64_t heads;
    uint64_t refused_wire[WIRE_ERROR_COUNT];
    uint64_t refused[REPLICA_REASON_COUNT];
} replica_counters_t;

const char *replica_reason_name(replica_reason_t reason);

/* A batch or head on its way in. */
typedef struct {
    envelope_t envelope;
    const trusted_t *signer; /* as replica_resolve says; NULL: this node */
    bool quarantined;        /* the same */
    bool live; /* nobody had promised it: announced, offered, or newer than any head */
} arrival_t;

/* What the rooms of this floor keep: enough for a host without a shared log. */
extern const state_tables_t replica_tables;

typedef struct replica replica_t;

typedef struct {
    feed_t *feed;
    wire_t *wire;
    /* A batch is stored, in order, before the commit. It is decoded: its events are those of
     * wire_event. */
    void (*stored)(void *arg, const arrival_t *in, const feed_ref_t *feed,
                   const wire_batch_t *batch);
    /* What was stored since the last commit is not. */
    void (*taken_back)(void *arg);
    /* An origin signed two bodies for one number: nothing more is taken from it. */
    void (*forked)(void *arg, const fork_t *fork);
    void *arg;
} replica_config_t;

/* Everything in config is borrowed for as long as the replica lives; trust and settings until
 * replica_set_trust. Callbacks may be NULL. NULL with the fault. */
replica_t *replica_new(const replica_config_t *config, const trust_t *trust,
                       const settings_t *settings, fault_t *fault);
void replica_destroy(replica_t **self_p);

void replica_set_trust(replica_t *self, const trust_t *trust, const settings_t *settings);

/* True if batches of an origin are taken in: it is trusted, may publish, and is not in quarantine.
 */
bool replica_takes(const replica_t *self, const pubkey_t *origin);

/* Say who signed: sets in->signer, which lives as long as the trust set, and whether that is in
 * quarantine. False: nobody whom we trust; counted. */
bool replica_resolve(replica_t *self, arrival_t *in);

/* Resolve an envelope and look at it, before the costly check of its signature. Returns
 * REPLICA_WANTED, REPLICA_KNOWN (the same bytes were taken in a moment ago) or REPLICA_REFUSED. */
replica_result_t replica_look(replica_t *self, arrival_t *in);

/* Whether a head says what its origin signed before, but for its time. Whoever knows by the
 * connection that it comes from the origin need not check its signature: it brings nothing but the
 * time. Fills head if so. */
bool replica_knows_head(replica_t *self, const envelope_t *envelope, wire_head_t *head);

/* Take in one batch or head that is resolved and whose signature is right. Stored batches are on
 * disk after replica_commit.
 *   head  filled for REPLICA_HEAD */
replica_result_t replica_receive(replica_t *self, const arrival_t *in, wire_head_t *head);

/* End the transaction that receiving began, if any. 0, or -1 and errno: all of it is forgotten and
 * will be fetched again. */
int replica_commit(replica_t *self);

/* The operator's word: an origin that was quarantined counts again. Returns how many forks that was
 * about; -1 and errno of db_step. */
int replica_reset(replica_t *self, const pubkey_t *origin);

/* What origins signed twice; NULL behind the last. */
const fork_t *replica_fork(const replica_t *self, size_t index);

/* Count a refusal that others decided. */
void replica_refuse(replica_t *self, replica_reason_t reason);
void replica_refuse_wire(replica_t *self, wire_error_t error);

const replica_counters_t *replica_counters(const replica_t *self);

#endif
