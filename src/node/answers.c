#include "answers.h"

#include "log.h"
#include "packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_gone(void)
{
    return errno != EAGAIN;
}

/* Returns how many the client's queue took; if not all, errno says why. */
static size_t send_some(int fd, answer_t *const *answers, size_t count)
{
    struct iovec parts[PACKETS_MAX];
    size_t sent = 0;
    while (sent < count) {
        size_t group = 0;
        for (; group < PACKETS_MAX && sent + group < count; group++) {
            answer_t *answer = answers[sent + group];
            parts[group] = (struct iovec){answer->text, strlen(answer->text)};
        }
        size_t some = packets_send(fd, parts, group);
        sent += some;
        if (some < group)
            break;
    }
    return sent;
}

bool answers_send(answers_t *self, int fd, answer_t *const *answers, size_t count)
{
    size_t sent = self->count == 0 ? send_some(fd, answers, count) : 0;
    if (sent == count)
        return true;
    if (self->count == 0 && is_gone())
        return false;
    self->waiting = xrealloc(self->waiting, (self->count + count - sent) * sizeof *self->waiting);
    while (sent < count)
        self->waiting[self->count++] = *answers[sent++];
    return true;
}

bool answers_send_waiting(answers_t *self, int fd)
{
    answer_t **answers = xcalloc(self->count + 1, sizeof(answer_t *));
    for (size_t i = 0; i < self->count; i++)
        answers[i] = &self->waiting[i];
    size_t sent = send_some(fd, answers, self->count);
    bool alive = sent == self->count || !is_gone();
    self->count -= sent;
    memmove(self->waiting, self->waiting + sent, self->count * sizeof *self->waiting);
    free(answers);
    return alive;
}

void answers_free(answers_t *self)
{
    free(self->waiting);
    *self = (answers_t){0};
}
