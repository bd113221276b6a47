/* shared_log - the log of the local shared jail: one line an accepted ban, for fail2ban to read.
 * Whole lines or none, synced, into the file that has the name now. */
#ifndef BANMESH_NODE_SHARED_LOG_H
#define BANMESH_NODE_SHARED_LOG_H

#include "log.h"
#include "shared_line.h"

typedef struct shared_log shared_log_t;

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
