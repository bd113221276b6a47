/* intake - where this host's own bans and unbans come in: the socket that the hook speaks to, and
 * the spool. A line on the stream is a request (request.h), and each gets one line in answer, in
 * order, after the ban is on disk. What waits together is committed together. A connection may stay
 * open and stream. Refuses nothing because it is banned already: repeats are harmless. Unbans are
 * taken from root and our own user only. */
#ifndef BANMESH_NODE_INTAKE_H
#define BANMESH_NODE_INTAKE_H

#include "applier.h"

typedef struct intake intake_t;

/* Listen, take in what the spool has, and watch it. service and applier are borrowed for as long as
 * the intake lives. NULL with the fault. */
intake_t *intake_new(service_t *service, applier_t *applier, fault_t *fault);
void intake_destroy(intake_t **self_p);

/* Warn of users in the settings that there are not: at the start and at --check. */
void intake_advise(const settings_t *settings);

/* Settings changed: who may hand in bans, and what is not published. */
void intake_reload(intake_t *self);

void intake_status(const intake_t *self, json_t *status);

#endif
