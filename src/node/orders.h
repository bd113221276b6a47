/* orders - what an operator has a node say to the mesh: a pardon or an allowance of a network. It
 * becomes an event of this node's feed; on this host it counts at once, on others if they name this
 * node in roles / operator (a pardon of this node's own bans counts everywhere). */
#ifndef BANMESH_NODE_ORDERS_H
#define BANMESH_NODE_ORDERS_H

#include "entries.h"
#include "questions.h"

/* Carry out "pardon ORDER", "allow ORDER" or "disallow ORDER". ORDER is a JSON object: network,
 * text, for_s (how long; a pardon may be without), dry_run. The answer says which bans are void by
 * it, and how many peers have it announced. NULL: none of these. */
json_t *orders_carry_out(const questions_parts_t *parts, entries_t *entries, const char *line);

#endif
