/* admission - which bans of an origin are let in, and which wait because it bans too fast. Of each
 * feed a mark says up to where its bans were let in; what lies behind waits in the index, and is
 * let in one after the other, in the order of the feed, as the rate allows. So nothing is kept of a
 * single ban, and a restart knows the same. */
#ifndef BANMESH_NODE_ADMISSION_H
#define BANMESH_NODE_ADMISSION_H

#include "memo.h"
#include "service.h"

typedef struct admission admission_t;

/* All borrowed for as long as it lives.
 *   let_in, arg  called for a ban that waited: look at its slot anew */
typedef void(admission_fn)(void *arg, uint32_t slot);
admission_t *admission_new(service_t *service, index_t *index, memo_t *memo, admission_fn *let_in,
                           void *arg);
void admission_destroy(admission_t **self_p);

/* Each second: who was heard earns. */
void admission_tick(admission_t *self, wall_t now);

/* A batch of an origin came. */
void admission_hear(admission_t *self, const feed_ref_t *feed, uint16_t origin, wall_t now);

/* A ban is new, and stands there: whether it has to wait. */
bool admission_holds(admission_t *self, const feed_ref_t *feed, uint16_t origin, uint64_t place);

/* The same of one that came before: by the mark alone. */
bool admission_held(const admission_t *self, const feed_ref_t *feed, uint64_t place);

/* Let in what the rate allows, some of it; call with nothing taken that is not committed. Returns
 * whether there is more that need not wait. */
bool admission_step(admission_t *self);

/* The operator's word: let in all that waits now of an origin. */
void admission_admit(admission_t *self, uint16_t origin, wall_t now);

#endif
