#include "helper_reach.h"

#include "unix_socket.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM   "banmesh-helper"
#define ELSEWHERE "../sbin/" PROGRAM /* banmesh itself is installed in bin */

static void program_path(char path[static PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - sizeof ELSEWHERE);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
    char *name = slash != NULL ? slash + 1 : path;
    snprintf(name, sizeof ELSEWHERE, ELSEWHERE);
    if (access(path, X_OK) == -1)
        snprintf(name, sizeof PROGRAM, PROGRAM);
}

/* With the socket as its standard input, nothing else of ours, and no signal blocked. */
static int spawn(const helper_place_t *place, const char *path, int fd, pid_t *child)
{
    char *const arguments[] = {(char[]){PROGRAM},      (char[]){"--jail"}, place->jail,
                               (char[]){"--fail2ban"}, place->fail2ban,    NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawn(child, path, &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    errno = error;
    if (error != 0)
        *child = 0;
    return error == 0 ? 0 : -1;
}

/* A socket to a child; -1 and the fault. */
static int start_child(const helper_place_t *place, pid_t *child, fault_t *fault)
{
    char path[PATH_MAX];
    int pair[2];
    program_path(path);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
        return fault_set(fault, "no socket for a helper: %s", strerror(errno));
    if (spawn(place, path, pair[1], child) == 0) {
        close(pair[1]);
        return pair[0];
    }
    fault_set(fault, "no banmesh-helper at \"%s\", and cannot start %.200s: %s", place->socket,
              path, strerror(errno));
    close(pair[0]);
    close(pair[1]);
    return -1;
}

int helper_reach(const helper_place_t *place, int flags, pid_t *child, fault_t *fault)
{
    *child = 0;
    int fd = unix_socket_connect(place->socket, SOCK_SEQPACKET | flags, 0);
    if (fd != -1)
        return fd;
    if (*place->socket == '\0' || geteuid() == 0)
        return start_child(place, child, fault);
    return fault_set(fault, "no banmesh-helper at \"%s\": %s", place->socket, strerror(errno));
}

void helper_end_child(pid_t *child)
{
    if (*child == 0)
        return;
    kill(*child, SIGKILL);
    waitpid(*child, NULL, 0);
    *child = 0;
}
