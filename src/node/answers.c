#include "answers.h"

#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void answers_add(answers_t *self, const answer_t *answer)
{
    size_t length = strlen(answer->text);
    if (self->size - self->used <= length) {
        self->size = self->size * 2 + ANSWER_MAX;
        self->text = xrealloc(self->text, self->size);
    }
    memcpy(self->text + self->used, answer->text, length);
    self->text[self->used + length] = '\n';
    self->used += length + 1;
}

bool answers_send(answers_t *self, int fd)
{
    size_t sent = 0;
    ssize_t some = 0;
    while (sent < self->used && some != -1) {
        some = send(fd, self->text + sent, self->used - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += some != -1 ? (size_t)some : 0;
    }
    bool alive = some != -1 || errno == EAGAIN;
    self->used -= sent;
    memmove(self->text, self->text + sent, self->used);
    return alive;
}

void answers_free(answers_t *self)
{
    free(self->text);
    *self = (answers_t){0};
}
