/* applier - the consumer of this host: follows the replica with a cursor, and gives what comes to
 * standing. A batch that is its feed's next is taken as it comes in; all others are read back, in
 * slices, others on the loop in between. What was decided becomes true behind the replica's commit.
 * Never touches the network. */
#ifndef BANMESH_NODE_APPLIER_H
#define BANMESH_NODE_APPLIER_H

#include "service.h"

typedef struct applier applier_t;

/* Build the index from all that is stored. service is borrowed for as long as the applier lives.
 * NULL with the fault. */
applier_t *applier_new(service_t *service, fault_t *fault);
void applier_destroy(applier_t **self_p);

/* Settings or trust changed. */
void applier_reload(applier_t *self);

/* One of this host's own jails banned: it is on disk in our feed. */
void applier_note_own(applier_t *self, const ban_t *ban, int64_t nid);

/* When a ban of this host began of which only the second is known: as it was announced, if it runs;
 * otherwise as it says itself. */
int64_t applier_exact_time(const applier_t *self, const ban_t *ban);

/* Whether a ban of one of this host's jails, by its name in fail2ban, may only repeat what the
 * shared jail has banned: the jail watches fail2ban's own log, and the shared jail holds the
 * address, or a network around it. */
bool applier_is_echo(applier_t *self, const char *jail, const addr_t *address);

/* A pardon or an allowance of this host that came back from peers, its place as original. */
void applier_note_own_grace(applier_t *self, const event_t *event);

/* The shared jail says that somebody lifted an address in it, at that time. Returns 1 once that is
 * stored; 0: nothing stands of it here, or the node had asked for it; -1: it cannot be stored now.
 */
int applier_note_lift_by_hand(applier_t *self, const addr_t *address, int64_t at_ms);

/* Answer an operator's question, or carry out an order (questions.h, orders.h); NULL: neither. */
json_t *applier_command(applier_t *self, const char *line);

/* Whether the socket of a fail2ban is there. */
bool applier_sees_fail2ban(const applier_t *self);

/* Whether one of its jails has our action, as far as it could be asked. */
bool applier_sees_publishers(const applier_t *self);

/* Add outcomes, held addresses and the state of the log to the status. */
void applier_status(const applier_t *self, json_t *status);

#endif
