/* index - the bans that run, by address: all that are considered here, this host's own included.
 * An address has a slot; a slot has the bans of that address, and what the shared log was told of
 * it. In memory only: it is built from the replica, and from the rows of held.h. A ban costs 40
 * bytes, an address 36, and its place in the table about 8. Knows no policy. */
#ifndef BANMESH_NODE_INDEX_H
#define BANMESH_NODE_INDEX_H

#include "clock.h"
#include "event.h"

typedef struct index index_t;

#define INDEX_NONE    UINT32_MAX /* no slot, no ban */
#define INDEX_FOREVER UINT32_MAX /* a duration */

#define INDEX_EVENT_BITS 9 /* an event's place in its batch */
#define INDEX_PLACE_BITS 62
#define INDEX_PLACE_MAX  ((1ULL << INDEX_PLACE_BITS) - 1)

/* Bans of one origin on one address: more are left out, as those beyond its share are. An address
 * is looked at ban by ban. */
#define INDEX_PER_ADDRESS 32

/* One ban. Owned by the index; the same until it is removed. */
typedef struct {
    int64_t nid;
    int64_t time_ms; /* when it began, by its origin's clock */
    /* seq << INDEX_EVENT_BITS | event: where it stands in its feed; 0: our own */
    uint64_t place : INDEX_PLACE_BITS;
    uint64_t waits : 1;  /* for the rate of its origin: index_set_waits */
    uint64_t lifted : 1; /* somebody lifted it in the shared jail: memo.h knows when */
    uint32_t feed;       /* number of that feed in peers.db */
    uint32_t duration_s;
    uint32_t next; /* of the same address */
    uint16_t origin;
    uint16_t jail;
} index_ban_t;

enum {
    INDEX_WAITS = 1,   /* for the pace: a line is wanted */
    INDEX_LET_GO = 2,  /* the jail is to let go of it */
    INDEX_ASKED = 4,   /* ... and is asked to, right now */
    INDEX_RECHECK = 8, /* it did, but a line may have been on its way: ask once more */
    INDEX_SEEN = 16,   /* the jail holds it, by its own word: census.h */
    INDEX_FREE = 32,   /* nobody's slot */
    INDEX_SHORT = 64,  /* of origins: no ban of it stands, and one waits for a quorum */
};

/* One address. */
typedef struct {
    addr_t address;
    uint16_t flags;
    uint32_t first;        /* of its bans; INDEX_NONE: none runs */
    uint32_t held_until_s; /* the shared jail holds it until then, by what it was told; 0: not */
    uint32_t held_row;     /* of held.h */
} index_slot_t;

/* Whose bans they are. */
typedef struct {
    pubkey_t key;
    uint32_t bans;       /* in the index */
    uint32_t waiting;    /* of these, for its rate */
    uint64_t left_out;   /* that run and found no place, since it was built last */
    uint32_t jail_names; /* that it brought in */
} index_origin_t;

/* how many bans there may be in all, and of one origin */
typedef struct {
    size_t all;
    size_t of_origin;
} index_limits_t;

index_t *index_new(void);
void index_destroy(index_t **self_p);
void index_set_limits(index_t *self, const index_limits_t *limits);

/* ---- origins and jails: numbers for what would take too much room in each ban ---- */

/* The number of an origin, made if it is new. */
uint16_t index_origin(index_t *self, const pubkey_t *key);
const index_origin_t *index_origin_at(const index_t *self, uint16_t origin);
size_t index_origin_count(const index_t *self);

const char *index_jail(const index_t *self, const index_ban_t *ban);

/* ---- addresses ---- */

/* The slot of an address, INDEX_NONE if there is none; made if there is none. */
uint32_t index_find(const index_t *self, const addr_t *address);
uint32_t index_make(index_t *self, const addr_t *address);
index_slot_t *index_slot(const index_t *self, uint32_t slot);

/* Forget an address of which there is neither a ban nor a hold nor anything to do. */
void index_tidy(index_t *self, uint32_t number);

/* Have slots found by their IPv6 /64, or no longer. It looks at each. */
void index_know_nets(index_t *self, bool wanted);

/* The slots of one IPv6 /64 besides a slot, the newest first: from INDEX_NONE on; INDEX_NONE: no
 * more, or they are not to be found. */
uint32_t index_near(const index_t *self, uint32_t slot, uint32_t from);

/* Slots have numbers below this; some of them are free (INDEX_FREE). */
uint32_t index_reach(const index_t *self);

/* ---- bans ---- */

typedef enum {
    INDEX_ADDED,
    INDEX_LONGER,   /* it was known, for a shorter time */
    INDEX_KNOWN,    /* as it is; perhaps at another place */
    INDEX_LEFT_OUT, /* no place for it: counted at its origin */
} index_result_t;

typedef struct {
    const addr_t *address;
    const char *jail;
    int64_t nid;
    int64_t time_ms;
    bool is_clamped;    /* time_ms is that of its coming: what is known of its begin stays */
    int64_t duration_s; /* -1: for ever */
    uint16_t origin;
    uint32_t feed;
    uint64_t place;
} index_entry_t;

/* Put a ban in; *slot is that of its address, unless it was left out. */
index_result_t index_put(index_t *self, const index_entry_t *entry, uint32_t *slot);

/* The bans of a slot; NULL behind the last. Removing one makes its successors no others. */
index_ban_t *index_first(const index_t *self, uint32_t slot);
index_ban_t *index_next(const index_t *self, const index_ban_t *ban);
void index_remove(index_t *self, uint32_t slot, const index_ban_t *ban);

/* Of a slot; NULL: it is not there. */
index_ban_t *index_find_ban(const index_t *self, uint32_t slot, int64_t nid);

void index_set_waits(index_t *self, index_ban_t *ban, bool waits);

/* All that runs is about to be put in again. */
void index_forget_left_out(index_t *self);

/* Slots keep whole seconds, rounded up; what is later than they can say is the latest. */
static inline uint32_t index_seconds(int64_t ms)
{
    int64_t s = (ms + MS_PER_S - 1) / MS_PER_S;
    return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

/* As an event has it: -1 is for ever. */
static inline int64_t index_duration_s(const index_ban_t *ban)
{
    return ban->duration_s == INDEX_FOREVER ? -1 : (int64_t)ban->duration_s;
}

size_t index_bans(const index_t *self);
size_t index_addresses(const index_t *self);

/* ---- when ---- */

/* Have a slot found at that time, in place of any other; 0: never. */
void index_set_due(index_t *self, uint32_t slot, uint32_t due_s);
uint32_t index_due_s(const index_t *self, uint32_t slot);

/* A slot whose time has come, without a due time from now on. INDEX_NONE: no more in this second.
 * Each second all due times are looked at once: four bytes a slot, a millisecond for two million.
 */
uint32_t index_due(index_t *self, wall_t now);

#endif
