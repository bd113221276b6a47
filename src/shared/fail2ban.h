/* fail2ban - whether the fail2ban of this host runs, seen from outside: by its socket, and by the
 * file with its process id beside that, if there is one. systemd may hold the socket over a restart
 * (fail2ban 1.1.1); the other file each start writes anew.
 *
 * What fail2ban has read but not yet banned when it ends is lost: its place in the log is behind
 * those lines. So whoever writes the log wants to know that it started anew, and from when on lines
 * may not have been acted upon. Only looks; needs no rights but to see the name. */
#ifndef BANMESH_SHARED_FAIL2BAN_H
#define BANMESH_SHARED_FAIL2BAN_H

#include "clock.h"

#include <stdbool.h>

/* At the pace of the log, its queue and its reading are behind by seconds: what was written so long
 * ago it has acted upon, if it has run since. */
#define FAIL2BAN_BEHIND_MS 60000

typedef struct fail2ban fail2ban_t;

/* Which one it is, as that file shows, or its socket. All zero: none. */
typedef struct {
    int64_t device;
    int64_t inode;
    int64_t started_ns; /* since 1970 */
} fail2ban_id_t;

/* The path of its socket; "": never look. */
fail2ban_t *fail2ban_new(const char *path);
void fail2ban_destroy(fail2ban_t **self_p);

void fail2ban_set_path(fail2ban_t *self, const char *path);

/* Before the first look: which one was seen last in the run before, and a time at or after which it
 * was seen. */
void fail2ban_recall(fail2ban_t *self, const fail2ban_id_t *last, wall_t seen_at);

/* Each second. True if it has started anew since it was seen last. A fail2ban that was never seen
 * counts neither as there nor as gone. */
bool fail2ban_look(fail2ban_t *self, wall_t now);

/* The one that was seen last. */
fail2ban_id_t fail2ban_last(const fail2ban_t *self);
bool fail2ban_id_equal(const fail2ban_id_t *one, const fail2ban_id_t *other);

/* "runs", "gone" or "not seen". */
const char *fail2ban_state(const fail2ban_t *self);

/* Lines stamped later than this may not have been acted upon, by the fail2ban that runs or by the
 * one that is gone. */
wall_t fail2ban_unsure(const fail2ban_t *self, wall_t now);

/* After fail2ban_look returned true: the same, of the one before. */
wall_t fail2ban_unsure_before(const fail2ban_t *self);

#endif
