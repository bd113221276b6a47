/* cert - a node's certificate: a CURVE key pair to connect with and an Ed25519 key pair to sign
 * with. Files are ZPL in CZMQ's own form, so zcert_load reads them; the `sign` section is ours. We
 * write them ourselves, because zcert_save drops sections that it does not know, and check them
 * ourselves, because zcert_load takes an invalid Z85 character and zeroes the rest of the key.
 *
 *   NAME.cert         public: metadata, curve/public-key, sign/public-key
 *   NAME.cert_secret  the same and curve/secret-key, sign/seed; mode 0600, refused if wider */
#ifndef BANMESH_BASE_CERT_H
#define BANMESH_BASE_CERT_H

#include "event.h"
#include "log.h"

#define CERT_SECRET_BYTES  PUBKEY_BYTES /* a CURVE secret key, an Ed25519 seed */
#define CERT_Z85_BYTES     41           /* 32 bytes in Z85, and its NUL */
#define CERT_ENDPOINT_MAX  255
#define CERT_PUBLIC_SUFFIX ".cert"
#define CERT_SECRET_SUFFIX ".cert_secret"

typedef struct {
    char name[EVENT_NAME_MAX + 1];        /* as its maker called it; nobody has to believe it */
    char endpoint[CERT_ENDPOINT_MAX + 1]; /* its PUB, "" if it has none */
    char replay[CERT_ENDPOINT_MAX + 1];   /* its ROUTER, "" if it has none */
    pubkey_t curve_public;
    pubkey_t sign_public;
    bool has_secret;
    uint8_t curve_secret[CERT_SECRET_BYTES]; /* only if has_secret */
    uint8_t sign_seed[CERT_SECRET_BYTES];
} cert_t;

/* A new certificate with fresh keys. endpoint and replay may be "". Returns NULL with the fault if
 * the name or an address is malformed. The caller owns it. */
cert_t *cert_new(const char *name, const char *endpoint, const char *replay, fault_t *fault);

/* Zeroes the keys and frees. */
void cert_destroy(cert_t **self_p);

/* Read a public certificate; a file with secrets in it is refused. NULL with the fault. */
cert_t *cert_load_public(const char *path, fault_t *fault);

/* Read a secret certificate: mode at most 0600, ours or root's (root takes anybody's), and
 * its halves must fit. */
cert_t *cert_load_secret(const char *path, fault_t *fault);

/* Write NAME.cert_secret and NAME.cert into a directory, durably; existing files are never
 * overwritten (the fault says which one). Returns 0 or -1. */
int cert_save_pair(const cert_t *self, const char *directory, fault_t *fault);

/* Write only the public half, as file `name`.cert, durably, never overwriting. */
int cert_save_public(const cert_t *self, const char *directory, const char *name, fault_t *fault);

/* Check "tcp://host:port" as an address to connect to. */
int cert_check_endpoint(const char *endpoint, fault_t *fault);

/* The text of a public key. */
const char *cert_z85(const pubkey_t *key, char out[static CERT_Z85_BYTES]);

/* The reverse, of either half, strict: 40 characters of the Z85 alphabet that encode 32 bytes. */
bool cert_from_z85(const char *text, uint8_t key[static PUBKEY_BYTES]);

#endif
