#include "unix_socket.h"

#include "clock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_within(int fd, const struct sockaddr_un *address, int64_t limit_ms)
{
    const struct timeval limit = {.tv_sec = limit_ms / MS_PER_S,
                                  .tv_usec = limit_ms % MS_PER_S * 1000};
    if (limit_ms > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == -1)
        return -1;
    return connect(fd, (const struct sockaddr *)address, sizeof *address);
}

int unix_socket_connect(const char *path, int type, int64_t limit_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = length == 0 ? ENOENT : ENAMETOOLONG; /* "" would be an abstract name of zeros */
        return -1;
    }
    memcpy(address.sun_path, path, length + 1);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd != -1 && connect_within(fd, &address, limit_ms) == -1) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}
