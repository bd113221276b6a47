/* judge - asks the guard about bans of the index: knows what the guard must be told of this host,
 * of an origin and of an address. Changes no ban. */
#ifndef BANMESH_NODE_JUDGE_H
#define BANMESH_NODE_JUDGE_H

#include "graces.h"
#include "guard.h"
#include "index.h"
#include "memo.h"
#include "quorum.h"
#include "service.h"

typedef struct judge judge_t;

/* All borrowed for as long as the judge lives. */
judge_t *judge_new(service_t *service, index_t *index, const graces_t *graces, memo_t *memo);
void judge_destroy(judge_t **self_p);

/* Read again what is protected here: on reload and each minute. */
void judge_refresh(judge_t *self);

/* Remember how this host calls an origin of the index; say if it is not trusted any more. */
void judge_note_name(judge_t *self, uint16_t number);
/* Whether others may be protected since the last call, by a name that was looked up. */
bool judge_take_news(judge_t *self);

/* The time of all decisions until the next call.
 *   steady  the same, but for jumps: steady.h */
void judge_set_time(judge_t *self, wall_t now, wall_t steady);

#define JUDGE_NEAR_MAX 1000 /* addresses of one IPv6 /64 whose reports are counted */

/* The bans of a slot are going to be decided: count for whom a quorum is there. What changes of the
 * slot afterwards is not seen until the next call. */
void judge_open(judge_t *self, uint32_t number);

/* Decide one ban of the slot that is open. */
guard_verdict_t judge_ban(judge_t *self, uint32_t number, const index_ban_t *ban);

/* How many origins ban the address of the slot that is open at about the time of this ban. */
int64_t judge_origins(judge_t *self, const index_ban_t *ban);

/* What makes a ban void; NULL: nothing does. */
const grace_entry_t *judge_grace(judge_t *self, const index_slot_t *slot, const index_ban_t *ban);

/* Why no ban may touch an address; NULL: one may. */
const char *judge_protected_by(const judge_t *self, const addr_t *address);

/* The operator's allowance that covers an address; NULL: none. */
const grace_entry_t *judge_allowance(judge_t *self, const addr_t *address);

/* Whether what an origin pardons or allows holds for the bans of all: an operator's word does, and
 * on this host what was said here. */
bool judge_is_operator(const judge_t *self, const pubkey_t *origin);

/* The same of an origin of the index. */
bool judge_believes(judge_t *self, uint16_t origin);

/* How this host calls an origin: its name in the trust directory, or the last one that it had
 * there; "key-" and the first bytes of its key if it never was. Lives until the next call. */
const char *judge_name(judge_t *self, const pubkey_t *origin);

/* A ban of an origin came just now, which began at that time by the origin's clock. */
void judge_note_clock(judge_t *self, const pubkey_t *origin, int64_t time_ms);

/* Add to a status what cannot be protected. */
void judge_attention(const judge_t *self, json_t *status);

/* Whose clocks are ahead, by name, in seconds. */
json_t *judge_clocks(const judge_t *self);

#endif
