#include "reply.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

uint8_t *reply_items(reply_t *self)
{
    return self->record + HELPER_ANSWER_HEADER;
}

void reply_send(reply_t *self, bool last)
{
    self->answer.last = last;
    size_t size = helper_answer_write(&self->answer, self->record);
    self->gone = self->gone || send(STDIN_FILENO, self->record, size, MSG_NOSIGNAL) == -1;
    self->answer.count = 0;
}

void reply_failure(reply_t *self, helper_status_t status, const char *text)
{
    self->answer.status = status;
    snprintf(self->answer.text, sizeof self->answer.text, "%s", text);
    reply_send(self, true);
}
