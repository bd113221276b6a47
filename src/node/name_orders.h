/* name_orders - `banmesh allow NAME` and `allow remove NAME`, as orders.h has those of networks. */
#ifndef BANMESH_NODE_NAME_ORDERS_H
#define BANMESH_NODE_NAME_ORDERS_H

#include "allowed_names.h"

/* Carry out "allow ORDER" or "disallow ORDER" if its network is a host name. NULL: it is none. The
 * caller owns the answer. */
json_t *name_orders_carry_out(allowed_names_t *names, const char *line);

#endif
