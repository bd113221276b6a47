/* callers - the socket that hooks speak to: who is connected, their lines in, their answers out, in
 * order. A connection may stay open and stream. One whose answers find no room is not read
 * meanwhile. Knows nothing of what a line means, and who may speak is asked of its owner. */
#ifndef BANMESH_NODE_CALLERS_H
#define BANMESH_NODE_CALLERS_H

#include "answers.h"
#include "log.h"
#include "loop.h"

#include <sys/types.h>

typedef struct callers callers_t;
typedef struct caller caller_t;

typedef struct {
    zloop_t *loop;
    const char *path; /* copied */
    /* Whether a user may speak; if not, with the words that the user gets. */
    bool (*may)(void *arg, uid_t user, answer_t *refusal);
    /* A line without its newline: length bytes, or if those are more than REQUEST_LINE_MAX, so many
     * of them. Each is owed one answer. */
    void (*line)(void *arg, caller_t *caller, const char *line, size_t length);
    /* It hung up: whoever still owes it an answer forgets that. */
    void (*gone)(void *arg, const caller_t *caller);
    /* One of them had its turn. alone: nobody else is connected. */
    void (*turned)(void *arg, bool alone);
    void *arg;
} callers_config_t;

/* Listen. NULL with the fault. */
callers_t *callers_new(const callers_config_t *config, fault_t *fault);

/* Hang up on all. */
void callers_destroy(callers_t **self_p);

uid_t caller_user(const caller_t *self);

/* Add an answer to those that wait, and send them. Several for one caller are best sent together.
 */
void caller_answer(caller_t *self, const answer_t *answer);
void caller_send(caller_t *self);

#endif
