/* shared_log - the log of the local shared jail: one line an accepted ban, for fail2ban to read.
 * Whole lines or none, synced, into the file that has the name now.
 *
 * Whoever rotates it takes lines away that fail2ban may not have read yet. So when the file was
 * renamed or removed, its last lines are copied into the new one; when it was truncated
 * (copytruncate), they are written again from memory. Which these are says the caller: those
 * stamped after a time, `since`; of these, only lines of addresses that are still to be held. They
 * keep their stamps, so a line that fail2ban had read already changes nothing. */
#ifndef BANMESH_SHARED_SHARED_LOG_H
#define BANMESH_SHARED_SHARED_LOG_H

#include "log.h"
#include "shared_line.h"

typedef struct shared_log shared_log_t;

typedef struct {
    uint64_t renamed;     /* how often another file had the name */
    uint64_t truncated;   /* how often it had become shorter */
    uint64_t lines_again; /* written a second time, for one of these or on request */
} shared_log_counts_t;

/* The file is opened, or made, at the first check or write. */
shared_log_t *shared_log_new(const char *path);
void shared_log_destroy(shared_log_t **self_p);

/* Whether a line of this address may be written again; without it, all may. */
typedef bool(shared_log_wanted_fn)(void *arg, const addr_t *address);
void shared_log_filter(shared_log_t *self, shared_log_wanted_fn *wanted, void *arg);

/* Add a line to what shared_log_write will write. */
void shared_log_add(shared_log_t *self, const shared_line_t *line, wall_t now);

/* Forget what was added. */
void shared_log_clear(shared_log_t *self);

/* Write all added lines and sync them. Returns 0 once they are on disk, in the file that had the
 * name before and after; -1 with the fault: none of them counts as written, and they stay added. */
int shared_log_write(shared_log_t *self, wall_t since, fault_t *fault);

/* Each second: follow a rotation, and make the file if it is missing (fail2ban does not start
 * without the log of an enabled jail). 0, or -1 with the fault: try again later. */
int shared_log_check(shared_log_t *self, wall_t since, fault_t *fault);

/* Write the lines again that were stamped after a time, each once. 0, or -1 with the fault. */
int shared_log_again(shared_log_t *self, wall_t since, fault_t *fault);

const shared_log_counts_t *shared_log_counts(const shared_log_t *self);

#endif
