/* census - compares what the shared jail says that it holds with what this host's book says: after
 * each new start of fail2ban, and once an hour. What the book has and the jail has not is free, and
 * so is told again if it should be held; what the jail has, a ban of the mesh was about, and should
 * not be, is let go, also if that ended and was let go of before (a fail2ban that lost its place in
 * the log reads old lines again); what the mesh knows nothing of is left alone, and counted.
 *
 * A fail2ban that starts bans again what it held before, some at a time: what it says then is not
 * all that it will hold. So it is asked again until it has as many as ten seconds before. */
#ifndef BANMESH_NODE_CENSUS_H
#define BANMESH_NODE_CENSUS_H

#include "lifts.h"

#include <jansson.h>

typedef struct census census_t;

/* All borrowed for as long as the census lives. */
typedef struct {
    index_t *index;
    sink_t *sink;
    jailer_t *jailer;
    void (*differs)(void *arg, uint32_t slot); /* look at the slot anew */
    void (*done)(void *arg);
    void *arg;
} census_parts_t;

/* settings: until census_set. */
census_t *census_new(const census_parts_t *parts, const settings_t *settings);
void census_destroy(census_t **self_p);
void census_set(census_t *self, const settings_t *settings);

/* fail2ban has started anew, or is seen for the first time: what is held has to be asked. */
void census_begin(census_t *self);

/* Ask, or go on comparing, if it is time. Some milliseconds. Returns whether there is more. */
bool census_step(census_t *self);

/* Add how old the last one is, and what it found. */
json_t *census_status(const census_t *self);

#endif
