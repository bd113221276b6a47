#include "packets.h"

#include "log.h"

#include <stdlib.h>

struct packets {
    size_t size;
    char *text; /* PACKETS_MAX times size */
    struct iovec parts[PACKETS_MAX];
    struct mmsghdr headers[PACKETS_MAX];
};

packets_t *packets_new(size_t size)
{
    packets_t *self = xcalloc(1, sizeof *self);
    self->size = size;
    self->text = xcalloc(PACKETS_MAX, size);
    for (size_t i = 0; i < PACKETS_MAX; i++) {
        self->parts[i] = (struct iovec){self->text + i * size, size};
        self->headers[i].msg_hdr = (struct msghdr){.msg_iov = &self->parts[i], .msg_iovlen = 1};
    }
    return self;
}

void packets_destroy(packets_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->text);
    free(*self_p);
    *self_p = NULL;
}

int packets_receive(packets_t *self, int fd)
{
    return recvmmsg(fd, self->headers, PACKETS_MAX, MSG_DONTWAIT, NULL);
}

const char *packets_at(const packets_t *self, int index, size_t *size)
{
    *size = self->headers[index].msg_len;
    return self->text + (size_t)index * self->size;
}

size_t packets_send(int fd, struct iovec *packets, size_t count)
{
    struct mmsghdr headers[PACKETS_MAX] = {0};
    size_t sent = 0;
    for (size_t i = 0; i < count; i++)
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &packets[i], .msg_iovlen = 1};
    while (sent < count) {
        int some = sendmmsg(fd, headers + sent, (unsigned)(count - sent), MSG_NOSIGNAL);
        if (some == -1)
            break;
        sent += (size_t)some;
    }
    return sent;
}
