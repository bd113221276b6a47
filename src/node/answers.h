/* answers - what the intake says to one client, in order: what its queue has no room for is kept.
 */
#ifndef BANMESH_NODE_ANSWERS_H
#define BANMESH_NODE_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#define ANSWER_MAX 160

typedef struct {
    char text[ANSWER_MAX];
} answer_t;

/* Of one connection. All zero: none waits. */
typedef struct {
    answer_t *waiting;
    size_t count;
} answers_t;

/* Send answers behind those that wait, or keep them. Returns false if the client is gone: errno. */
bool answers_send(answers_t *self, int fd, answer_t *const *answers, size_t count);

/* Send those that wait, now that there is room. The same. */
bool answers_send_waiting(answers_t *self, int fd);

void answers_free(answers_t *self);

#endif
