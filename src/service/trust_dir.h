/* trust_dir - tells when the trust directory shows something else than what the mesh trusts.
 * The two are compared, again and again, by what trust_look sees: so links, a directory that was
 * swapped, or a look that came too late need no case of their own. Reads no certificate. */
#ifndef BANMESH_SERVICE_TRUST_DIR_H
#define BANMESH_SERVICE_TRUST_DIR_H

#include "trust.h"

#include <czmq.h>

typedef struct trust_dir trust_dir_t;

/* Call back on the loop (from a descriptor) once the directory differs from what was taken and has
 * come to rest: two looks a quarter of a second apart saw the same. One that never rests is told of
 * every two seconds. directory is copied; taken is trust_seen of the set in use. */
trust_dir_t *trust_dir_new(zloop_t *loop, const char *directory, uint64_t taken,
                           void (*changed)(void *arg), void *arg);
void trust_dir_destroy(trust_dir_t **self_p);

/* What is in use from now on; 0: the directory cannot be read, and that was said. */
void trust_dir_taken(trust_dir_t *self, const char *directory, uint64_t taken);

#endif
