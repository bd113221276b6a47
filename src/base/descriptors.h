/* descriptors - how many files and sockets this process has open, and how many it may have. */
#ifndef BANMESH_BASE_DESCRIPTORS_H
#define BANMESH_BASE_DESCRIPTORS_H

#include <stddef.h>

/* Raise the soft limit as far as the hard one allows, at most to `most`. What select() could not
 * have is fine: nothing here uses it. */
void descriptors_raise(size_t most);

/* The limit in force. */
size_t descriptors_limit(void);

/* How many are open now. Cost: one look at /proc, 1 us each. If none is left to look at it with:
 * the limit. 0 if there is no /proc. */
size_t descriptors_open(void);

#endif
