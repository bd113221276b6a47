/* reply - what goes back to banmeshd: the records of an answer (helper_record.h), on standard
 * input, which is the socket. Also what all requests have at hand. */
#ifndef BANMESH_HELPER_REPLY_H
#define BANMESH_HELPER_REPLY_H

#include "f2b_socket.h"

typedef struct {
    const char *jail; /* the shared one */
    f2b_t f2b;        /* its time limit is the request's */
    helper_request_t request;
    helper_answer_t answer; /* count: how many items stand in the record */
    uint8_t record[HELPER_RECORD_MAX];
    bool gone; /* nobody listens any more */
} reply_t;

/* Where the items of the record begin. */
uint8_t *reply_items(reply_t *self);

/* Send the record, and begin an empty one. Who does not read for a minute is gone. */
void reply_send(reply_t *self, bool last);

/* The last record: it failed. */
void reply_failure(reply_t *self, helper_status_t status, const char *text);

#endif
