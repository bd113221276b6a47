/* pubkey - a public key: who a node is (Ed25519, its signatures), or whom a connection is with
 * (CURVE). 32 bytes and nothing else, so one may be read in place wherever it stands in a message;
 * a struct, so that no other 32 bytes are taken for one. libc only. Knows no cryptography; secret
 * halves are cert's. */
#ifndef BANMESH_BASE_PUBKEY_H
#define BANMESH_BASE_PUBKEY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PUBKEY_BYTES 32

typedef struct {
    uint8_t bytes[PUBKEY_BYTES];
} pubkey_t;

/* Less than, equal to or greater than 0: an order to sort and search by. */
static inline int pubkey_compare(const pubkey_t *one, const pubkey_t *other)
{
    return memcmp(one->bytes, other->bytes, PUBKEY_BYTES);
}

static inline bool pubkey_equal(const pubkey_t *one, const pubkey_t *other)
{
    return pubkey_compare(one, other) == 0;
}

#endif
