/* origin_orders - what an operator decides here about all bans of one origin: to let in what waits
 * for its rate, to make void what it banned. Nothing of it is announced. */
#ifndef BANMESH_NODE_ORIGIN_ORDERS_H
#define BANMESH_NODE_ORIGIN_ORDERS_H

#include "admission.h"
#include "standing.h"

/* All borrowed. */
typedef struct {
    index_t *index;
    memo_t *memo;
    admission_t *admission;
    standing_t *standing;
} origin_orders_parts_t;

/* Carry out "admit ORIGIN" or "undo ORIGIN", ORIGIN by its name, or answer "origin ORIGIN": how
 * many bans of it run here, and how many of these wait. NULL: none of these. */
json_t *origin_orders_carry_out(const origin_orders_parts_t *parts, const char *line);

#endif
