/* hand_in - bans that fail2ban holds already, handed to the local node through the door that the
 * hook takes: many on their way at once, so that the node commits them in groups. */
#ifndef BANMESH_CLI_HAND_IN_H
#define BANMESH_CLI_HAND_IN_H

#include "helper_record.h"
#include "log.h"

typedef struct hand_in hand_in_t;

/* What became of them. */
typedef struct {
    size_t announced; /* new, or longer than known */
    size_t known;
    size_t not_for_others; /* special addresses */
    size_t refused;        /* malformed */
} hand_in_counts_t;

/* Connect to the node's publish socket. NULL with the fault. */
hand_in_t *hand_in_new(const char *path, fault_t *fault);
void hand_in_destroy(hand_in_t **self_p);

/* Hand in up to HELPER_TICKETS_MAX bans of a jail, and wait until they are on disk; counts are
 * added up. Returns 0; -1 with the fault: the node is gone, or cannot store them. */
int hand_in_bans(hand_in_t *self, const char *jail, const helper_ticket_t *tickets, size_t count,
                 hand_in_counts_t *counts, fault_t *fault);

#endif
