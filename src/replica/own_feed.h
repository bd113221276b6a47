/* own_feed - what this node appends: bans and unbans in; signed, numbered, durable batches out.
 * A group of those that wait together becomes one batch, one signature, one commit. Only after the
 * commit are they published and may be acknowledged. Loop thread only. */
#ifndef BANMESH_REPLICA_OWN_FEED_H
#define BANMESH_REPLICA_OWN_FEED_H

#include "attempts.h"
#include "compaction.h"
#include "feed.h"
#include "wire.h"

typedef enum {
    OWN_FEED_NEW,       /* stored as an event of its own */
    OWN_FEED_PROLONGED, /* the same attempt with a longer ban: an event under the first one's nid */
    OWN_FEED_REPEATED,  /* stored before, or it was lifted before; nothing to do */
    OWN_FEED_LIFTED,    /* an unban: a pardon that names this attempt */
    OWN_FEED_UNKNOWN,   /* an unban of what was never announced; nothing to do */
} own_feed_result_t;

typedef struct {
    const ban_t *ban;         /* in: passes event_check_ban; borrowed for the call */
    bool is_unban;            /* in: the ban that attempts_find_near finds was lifted */
    int64_t at_ms;            /* in, of an unban: when; what is to come becomes now */
    own_feed_result_t result; /* out */
    bool lifted;              /* out: it is, now or since before */
    int64_t nid;              /* out: of the ban; 0: unknown */
    event_position_t named;   /* out, of an unban that lifted: the ban's identity */
    event_position_t place;   /* and where the pardon stands */
} own_feed_item_t;

typedef struct own_feed own_feed_t;

typedef void(own_feed_publish_fn)(void *arg, const uint8_t *envelope, size_t size);

/* feed and wire (with our key) are borrowed for as long as the own feed lives. publish is called
 * for each batch after its commit. */
own_feed_t *own_feed_new(feed_t *feed, wire_t *wire, own_feed_publish_fn *publish, void *arg);
void own_feed_destroy(own_feed_t **self_p);

/* Append up to WIRE_EVENTS_MAX bans and unbans, in their order. A ban that was lifted stays so: a
 * repetition or a longer time changes nothing. Returns 0 once all of them are on disk: they survive
 * power loss. -1 and errno of db_step: none of them is kept. Costs one synced commit, and a
 * signature a batch. */
int own_feed_append(own_feed_t *self, own_feed_item_t *items, size_t count);

/* Append a pardon or an allowance that somebody ordered here; it passes event_check. Sets its
 * original to its place. Returns as own_feed_append. */
int own_feed_append_grace(own_feed_t *self, event_t *event);

/* The event that carries one of our own bans now, by its jail, address and time. Returns 1; 0 if it
 * is not known, or is not stored; -1 and errno of db_step. */
int own_feed_find(own_feed_t *self, const ban_t *ban, event_t *out);

/* The pardon that an unban became: one with the result OWN_FEED_LIFTED. */
event_t own_feed_pardon(const own_feed_item_t *item);

/* Let go of what is not needed at the beginning of our log (compaction.h): copy what still counts,
 * and raise floors, in one transaction; end the epochs that this emptied. One small step a call;
 * call it now and then, and again while it returns 1. Returns 0 if there is nothing to do, -1 and
 * errno of db_step: a full disk only puts it off. Call outside a transaction. now  steady's: by
 * this time bans have ended */
int own_feed_compact(own_feed_t *self, wall_t now);

/* Batches and epochs in our log. */
void own_feed_size(const own_feed_t *self, uint64_t *batches, uint64_t *epochs);

/* Once a day: forget attempts too old to be repeated, a step a call. Returns as attempts_prune. */
int own_feed_prune(own_feed_t *self, wall_t now);

#endif
