/* unix_socket - connect to a Unix socket by its path. libc only. */
#ifndef BANMESH_BASE_UNIX_SOCKET_H
#define BANMESH_BASE_UNIX_SOCKET_H

#include <stdint.h>

/* A connected descriptor, closed at exec.
 *   type      SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK: then a full backlog is EAGAIN
 *   limit_ms  how long it may wait for a place in the backlog; then EAGAIN. 0: for ever
 * -1 and errno; ENOENT if the path is "", ENAMETOOLONG if the path does not fit an address. */
int unix_socket_connect(const char *path, int type, int64_t limit_ms);

#endif
