/* tables - all that a node keeps in its state directory, beside its feeds: for whoever opens it. */
#ifndef BANMESH_NODE_TABLES_H
#define BANMESH_NODE_TABLES_H

#include "state.h"

extern const state_tables_t tables_of_node;

#endif
