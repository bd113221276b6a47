/* gate - who may connect: the ZAP handler (rfc.zeromq.org/spec:27) of this process.
 * Answers from the trust set that it was last given, and nothing else; an empty set denies all.
 * CZMQ's zauth is not used: it reads the directory anew at each handshake and fails open. */
#ifndef BANMESH_LINK_GATE_H
#define BANMESH_LINK_GATE_H

#include "clock.h"
#include "crowd.h"
#include "readers.h"
#include "trust.h"

typedef struct gate gate_t;

typedef struct {
    uint64_t admitted;
    uint64_t refused;
    uint64_t kept_out;                /* trusted, but they came too often */
    char refused_key[CERT_Z85_BYTES]; /* the last one, "" if none */
    char refused_address[64];
} gate_counters_t;

/* Start answering, on the loop. Before any server socket is bound. trust is borrowed until
 * gate_set_trust brings another, readers and crowd for as long as the gate lives. Fatal if the
 * handler's address is taken. */
gate_t *gate_new(readers_t *readers, const trust_t *trust, crowd_t *crowd);
void gate_destroy(gate_t **self_p);

/* From now on, this set. Connections that stand already are not touched: libzmq cannot end one, so
 * a removal means making the server sockets anew. */
void gate_set_trust(gate_t *self, const trust_t *trust);

const gate_counters_t *gate_counters(const gate_t *self);

#endif
