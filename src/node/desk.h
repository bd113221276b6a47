/* desk - what an operator asks of what is decided here, orders, and sees in the status: to each
 * question its room. Decides nothing. */
#ifndef BANMESH_NODE_DESK_H
#define BANMESH_NODE_DESK_H

#include "allowed_file.h"
#include "allowed_names.h"
#include "census.h"
#include "entries.h"
#include "local_lifts.h"
#include "watchers.h"

/* All borrowed. */
typedef struct {
    service_t *service;
    index_t *index;
    graces_t *graces;
    memo_t *memo;
    chronicle_t *chronicle;
    judge_t *judge;
    standing_t *standing;
    admission_t *admission;
    entries_t *entries;
    sink_t *sink;
    jailer_t *jailer;
    lifts_t *lifts;
    census_t *census;
    watchers_t *watchers;
    local_lifts_t *local_lifts;
    allowed_file_t *allowed_file;
    allowed_names_t *allowed_names;
    mono_t started_at;
    int64_t run; /* told to who watches: numbers of events begin anew with it */
} desk_t;

/* Answer a question or carry out an order of the admin socket; NULL: neither. The caller owns it.
 * docs/commands.md has the answers. */
json_t *desk_command(const desk_t *self, const char *line);

/* Add outcomes, held addresses, and what needs a look, to the status.
 *   failing  the shared log, or the database, cannot be written */
void desk_status(const desk_t *self, bool failing, json_t *status);

#endif
