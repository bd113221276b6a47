/* allowed_file - keeps the file of what is allowed here (allowed.h) as the allowances are that run:
 * for fail2ban's own jails, which ask banmesh-allowed. Replaced as a whole, readable by all. With
 * guard / local-allow = 0 there is none. */
#ifndef BANMESH_NODE_ALLOWED_FILE_H
#define BANMESH_NODE_ALLOWED_FILE_H

#include "graces.h"
#include "judge.h"

typedef struct allowed_file allowed_file_t;

/* All borrowed for as long as it lives, settings until allowed_file_set. */
allowed_file_t *allowed_file_new(const graces_t *graces, judge_t *judge,
                                 const settings_t *settings);

/* The file stays: what is in it ends by itself. */
void allowed_file_destroy(allowed_file_t **self_p);

/* Settings or trust changed. */
void allowed_file_set(allowed_file_t *self, const settings_t *settings);

/* Write it if something changed since the last call. Looks at each allowance then; call it at most
 * once a second. Logs once if that fails, and tries again at the next call. */
void allowed_file_tend(allowed_file_t *self, wall_t now);

/* Something changed since it was written, and it can be written. */
bool allowed_file_lags(const allowed_file_t *self);

/* Why it is not as it should be; NULL: it is. */
const fault_t *allowed_file_fault(const allowed_file_t *self);

/* How many allowances stand in it. */
size_t allowed_file_count(const allowed_file_t *self);

#endif
