/* by_hand - what an operator bans: a ban of this node's own feed like those of its jails, but with
 * EVENT_BY_HAND in place of a jail, and a reason. No local jail holds it, so it stands here as
 * peers' bans do: in the shared jail. */
#ifndef BANMESH_NODE_BY_HAND_H
#define BANMESH_NODE_BY_HAND_H

#include "entries.h"
#include "questions.h"

/* Carry out "ban ORDER". ORDER is a JSON object: address, reason, for_s (how long), jail (what is
 * put behind EVENT_BY_HAND; may be missing). The answer says what was announced and until when it
 * is to hold here, or why this node does not want it: then nothing was announced. NULL: not such an
 * order. */
json_t *by_hand_carry_out(const questions_parts_t *parts, entries_t *entries, const char *line);

#endif
