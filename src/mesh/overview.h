/* overview - what `banmesh status` shows of the mesh, as JSON. Reads the other rooms; owns nothing.
 */
#ifndef BANMESH_MESH_OVERVIEW_H
#define BANMESH_MESH_OVERVIEW_H

#include "catchup.h"
#include "link.h"
#include "progress.h"
#include "replay.h"
#include "twins.h"

#include <jansson.h>

/* All borrowed for the call. */
typedef struct {
    const trust_t *trust;
    const char *own_name;
    feed_t *feed;
    peer_t *const *peers;
    size_t peer_count;
    const catchup_t *catchup;
    const progress_t *progress;
    const replica_t *replica;
    const replay_t *replay;
    const twins_t *twins;
    link_counters_t connections;
    uint64_t announced; /* batches of ours */
    uint64_t relayed;   /* batches of others */
} overview_t;

/* Peers, feeds, forks, counters. The caller owns it. */
json_t *overview_json(const overview_t *self);

#endif
