/* attention - what an operator should look at now: lines in words, which a status begins with. */
#ifndef BANMESH_SERVICE_ATTENTION_H
#define BANMESH_SERVICE_ATTENTION_H

#include <jansson.h>
#include <stdbool.h>

/* Add a line to a status; what is not printable ASCII becomes '?'. */
void attention_add(json_t *status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, in front of all that was added before: what keeps this host from doing its part is read
 * first. */
void attention_first(json_t *status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Add what the part "mesh" of the status shows: peers that are away or do not hear this node, keys
 * in use twice. publishes  what this node says matters to others */
void attention_to_mesh(json_t *status, bool publishes);

#endif
