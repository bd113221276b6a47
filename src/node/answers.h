/* answers - what the intake says to one client, in order: what the client's queue has no room for
 * is kept. */
#ifndef BANMESH_NODE_ANSWERS_H
#define BANMESH_NODE_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#define ANSWER_MAX 160

typedef struct {
    char text[ANSWER_MAX];
} answer_t;

/* Of one connection: whole lines, but that the first may have been sent in part. All zero: none
 * waits. */
typedef struct {
    char *text;
    size_t used;
    size_t size;
} answers_t;

/* Behind those that wait; a newline goes with it. */
void answers_add(answers_t *self, const answer_t *answer);

/* Send as much as there is room for; the rest waits. Returns false if the client is gone. */
bool answers_send(answers_t *self, int fd);

void answers_free(answers_t *self);

#endif
