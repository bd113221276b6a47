#include "local.h"

#include "unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static int make(const char *path, int flags, struct sockaddr_un *address, fault_t *fault)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path)
        return fault_set(fault, "%s: longer than %zu bytes, too long for a socket", path,
                         sizeof address->sun_path - 1);
    memcpy(address->sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd == -1)
        fault_set(fault, "%s: %s", path, strerror(errno));
    return fd;
}

int local_connect(const char *path, fault_t *fault)
{
    int fd = unix_socket_connect(path, SOCK_STREAM, 0);
    if (fd == -1)
        fault_set(fault, "%s: %s", path, strerror(errno));
    return fd;
}

/* Left behind by a process that was killed: a socket file without a listener. */
static int clear_stale(const char *path, fault_t *fault)
{
    struct stat status;
    if (lstat(path, &status) == -1)
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return fault_set(fault, "%s: exists and is not a socket", path);
    int fd = unix_socket_connect(path, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd != -1 || errno == EAGAIN) {
        if (fd != -1)
            close(fd);
        return fault_set(fault, "%s: another process listens here", path);
    }
    return unlink(path) == 0 ? 0 : fault_set(fault, "%s: %s", path, strerror(errno));
}

int local_listen(const char *path, mode_t mode, fault_t *fault)
{
    struct sockaddr_un address;
    if (clear_stale(path, fault) == -1)
        return -1;
    int fd = make(path, SOCK_NONBLOCK, &address, fault);
    if (fd == -1)
        return -1;
    /* The mode is set before anybody can connect: nobody can until listen (). */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == -1 || chmod(path, mode) == -1 ||
        listen(fd, BACKLOG) == -1) {
        fault_set(fault, "%s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

void local_close(int fd, const char *path)
{
    if (fd == -1)
        return;
    unlink(path);
    close(fd);
}

int local_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int local_accept(int fd, int *spare)
{
    int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted != -1 && *spare == -1)
        *spare = local_spare();
    if (accepted != -1 || (errno != EMFILE && errno != ENFILE))
        return accepted;
    if (*spare != -1)
        close(*spare);
    accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted != -1)
        close(accepted);
    *spare = local_spare();
    errno = EMFILE;
    return -1;
}

uid_t local_user(int fd)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == -1)
        return (uid_t)-1;
    return credentials.uid;
}
