/* helper_reach - a connection to banmesh-helper: the socket where systemd listens for it, or, for
 * root, a child of its own. libc only. */
#ifndef BANMESH_BASE_HELPER_REACH_H
#define BANMESH_BASE_HELPER_REACH_H

#include "log.h"

#include <sys/types.h>

/* Borrowed for the call. */
typedef struct {
    const char *socket; /* "": none, it is a child in any case */
    char *jail;         /* what a child is told: the shared one, and fail2ban's socket */
    char *fail2ban;
} helper_place_t;

/* Connect; if nobody listens and we are root, start the helper that lies beside our own program, or
 * in sbin beside its directory.
 *   flags  0 or SOCK_NONBLOCK
 *   child  out: its process; 0: none
 * Returns a SOCK_SEQPACKET socket, closed at exec; -1 and the fault. */
int helper_reach(const helper_place_t *place, int flags, pid_t *child, fault_t *fault);

/* End a child at once, if there is one. */
void helper_end_child(pid_t *child);

#endif
