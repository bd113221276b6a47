/* unix_socket - connect to a Unix socket by its path. libc only. */
#ifndef BANMESH_BASE_UNIX_SOCKET_H
#define BANMESH_BASE_UNIX_SOCKET_H

/* A connected descriptor, closed at exec.
 *   type  SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK: then a full backlog is EAGAIN
 * -1 and errno; ENOENT if the path is "", ENAMETOOLONG if the path does not fit an address. */
int unix_socket_connect(const char *path, int type);

#endif
