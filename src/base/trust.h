/* trust - the set of nodes that this host trusts: a directory of public certificates.
 * The file name is the name of the node; nothing that a certificate says of itself counts. A file
 * that cannot be used is left out, and with it the name and the key that it was to bring: all other
 * nodes count. A set never changes: a reload builds a second one. */
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

/* Read every *.cert of a directory (names that start with a dot are passed over). Certificates that
 * share a key are all left out: whose key it is cannot be known. An empty directory is an empty
 * set: it trusts nobody. NULL with the fault if the directory cannot be read. The caller owns the
 * set. */
trust_t *trust_load(const char *directory, fault_t *fault);

void trust_destroy(trust_t **self_p);

/* What a directory shows: equal as long as no *.cert of it was made, written, replaced or removed,
 * also behind a link or by a directory that took its place. 0: it cannot be read. Costs a look at
 * each file. */
uint64_t trust_look(const char *directory);

/* What the directory showed just before the set was read. */
uint64_t trust_seen(const trust_t *self);

/* Why files were left out, in order of name: "DIR/mx2.cert: ..."; NULL behind the last. Lives as
 * long as the set. */
const char *trust_left_out(const trust_t *self, size_t index);

size_t trust_size(const trust_t *self);

/* Members in order of name; they live as long as the set. NULL if there is none such. */
const trusted_t *trust_at(const trust_t *self, size_t index);
const trusted_t *trust_by_name(const trust_t *self, const char *name);
const trusted_t *trust_by_curve(const trust_t *self, const pubkey_t *key);
const trusted_t *trust_by_sign(const trust_t *self, const pubkey_t *key);

#endif
