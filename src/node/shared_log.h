/* shared_log - the log of the local shared jail: one line an accepted ban, for fail2ban to read.
 *
 *   2026-11-21T12:00:00.123Z: 192.0.2.7: reported by mx1 in sshd for 3600 s until 1795266000 nid 46
 *
 * The stamp is this host's clock at writing: fail2ban takes a line that is off by more than a
 * minute for one of now, and passes over old ones when it starts. Every part is checked before it
 * comes here; nothing that a peer chose freely is in a line. */
#ifndef BANMESH_NODE_SHARED_LOG_H
#define BANMESH_NODE_SHARED_LOG_H

#include "addr.h"
#include "clock.h"
#include "log.h"

typedef struct shared_log shared_log_t;

typedef struct {
    const addr_t *address;
    const char *origin; /* our name for it */
    const char *jail;
    int64_t duration_s; /* from the ban's time to until_ms */
    int64_t until_ms;
    int64_t nid;
} shared_line_t;

/* The file is opened, or made, at the first write. */
shared_log_t *shared_log_new(const char *path);

/* Make the file now if it is missing: fail2ban does not start without the log of an enabled jail.
 * 0, or -1 with the fault. */
int shared_log_touch(shared_log_t *self, fault_t *fault);
void shared_log_destroy(shared_log_t **self_p);

/* Add a line to what shared_log_write will write. */
void shared_log_add(shared_log_t *self, const shared_line_t *line, wall_t now);

/* Forget what was added. */
void shared_log_clear(shared_log_t *self);

/* Write all added lines and sync them. The file is opened anew if it was rotated, and made if it is
 * missing. Returns 0 once they are on disk; -1 with the fault: none of them counts as written, and
 * they stay added. */
int shared_log_write(shared_log_t *self, fault_t *fault);

#endif
