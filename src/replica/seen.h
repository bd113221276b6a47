/* seen - envelopes that were taken in a moment ago, byte for byte: what comes again by another way
 * costs a hash, not a signature check. Forgets at random; a miss only costs the check. */
#ifndef BANMESH_REPLICA_SEEN_H
#define BANMESH_REPLICA_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct seen seen_t;

seen_t *seen_new(void);
void seen_destroy(seen_t **self_p);

/* Have room for what so many feeds bring at one time. If that is more than there was, all is
 * forgotten. */
void seen_fit(seen_t *self, size_t feeds);

/* True if exactly these bytes were added. */
bool seen_has(const seen_t *self, const uint8_t *bytes, size_t size);
void seen_add(seen_t *self, const uint8_t *bytes, size_t size);

/* Forget all: what was added did not come to stay. */
void seen_clear(seen_t *self);

#endif
