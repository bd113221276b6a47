/* trust - the set of nodes that this host trusts: a directory of public certificates.
 * The file name is the name of the node; nothing that a certificate says of itself counts. A set
 * never changes: a reload builds a second one, and it replaces the first only if it is whole. */
#ifndef BANMESH_BASE_TRUST_H
#define BANMESH_BASE_TRUST_H

#include "cert.h"

typedef struct trust trust_t;

typedef struct {
    char name[EVENT_NAME_MAX + 1]; /* the name of the file, without ".cert" */
    pubkey_t curve_public;
    pubkey_t sign_public;
    char endpoint[CERT_ENDPOINT_MAX + 1];
    char replay[CERT_ENDPOINT_MAX + 1];
} trusted_t;

/* Read every *.cert of a directory (names that start with a dot are passed over). NULL with the
 * fault if the directory or any certificate cannot be used, or if two share a key. An empty
 * directory is an empty set: it trusts nobody. The caller owns the set. */
trust_t *trust_load(const char *directory, fault_t *fault);

void trust_destroy(trust_t **self_p);

size_t trust_size(const trust_t *self);

/* Members in order of name; they live as long as the set. NULL if there is none such. */
const trusted_t *trust_at(const trust_t *self, size_t index);
const trusted_t *trust_by_name(const trust_t *self, const char *name);
const trusted_t *trust_by_curve(const trust_t *self, const pubkey_t *key);
const trusted_t *trust_by_sign(const trust_t *self, const pubkey_t *key);

#endif
