/* denials - which nodes said that they have nothing of what comes next of a feed. Knows them by
 * their public signing keys, so that it outlives their connections. Asks nobody and decides
 * nothing. */
#ifndef BANMESH_MESH_DENIALS_H
#define BANMESH_MESH_DENIALS_H

#include "clock.h"
#include "feed.h"

/* All zero: nobody said so. */
typedef struct {
    pubkey_t *keys; /* owned; until denials_clear */
    size_t count;
    size_t size;
    uint64_t behind; /* what they lack begins behind this seq */
    uint64_t oldest; /* where those who have later batches go on; 0: nobody has any */
    mono_t since;    /* the first of them said so, even if that one was taken out since */
} denials_t;

/* A node said that it lacks what comes behind `behind`, and that its own batches go on at oldest;
 * 0: it has none. What was said of another number is forgotten. Returns false if this node had said
 * so already. */
bool denials_add(denials_t *self, const pubkey_t *key, uint64_t behind, uint64_t oldest,
                 mono_t now);

/* Its word counts no longer: it may have come back with more. */
void denials_remove(denials_t *self, const pubkey_t *key);

bool denials_has(const denials_t *self, const pubkey_t *key);

/* Forget all, and free it. */
void denials_clear(denials_t *self);

#endif
