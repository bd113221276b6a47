/* local - Unix sockets of this host: listen without taking over a living service, and know who is
 * at the other end. */
#ifndef BANMESH_LOOP_LOCAL_H
#define BANMESH_LOOP_LOCAL_H

#include "log.h"

#include <sys/types.h>

/* Listen at a path: SOCK_STREAM, non-blocking, with that mode. A socket file that nobody listens
 * behind is replaced; one that somebody answers at is an error. Returns the descriptor, or -1 with
 * the fault. */
int local_listen(const char *path, mode_t mode, fault_t *fault);

/* Close, and remove the file. */
void local_close(int fd, const char *path);

/* A descriptor for nothing, to be given up when there is no other; -1 if there is none now. */
int local_spare(void);

/* Accept one connection, non-blocking. -1 and errno. If no descriptor is left, the spare one serves
 * to end the connection: who waits there knows it at once, and nothing is tried without end. */
int local_accept(int fd, int *spare);

/* The user at the other end of a connection; (uid_t)-1 if the kernel does not say. */
uid_t local_user(int fd);

/* Connect, blocking. -1 with the fault. */
int local_connect(const char *path, fault_t *fault);

#endif
