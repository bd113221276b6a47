/* jails - what fail2ban's jails are called in the mesh. fail2ban takes any name; the mesh has
 * [A-Za-z0-9_.-]{1,64}, since names stand in logs and keys. A name that is none is tidied, and
 * remembered, so that the operator finds his own again. */
#ifndef BANMESH_NODE_JAILS_H
#define BANMESH_NODE_JAILS_H

#include "db.h"
#include "event.h"

#include <jansson.h>

typedef struct jails jails_t;

/* For the schema of own.db. */
extern const char jails_table[];

/* Remembers in own.db, which is borrowed for as long as the jails live. NULL with the fault. */
jails_t *jails_new(db_t *own_db, fault_t *fault);
void jails_destroy(jails_t **self_p);

/* The name of a jail in the mesh: its own if that is one, and not one that stands for an operator's
 * hand (event_is_by_hand), so that none of fail2ban passes for that; otherwise other bytes are '_',
 * at most 55 of them, and behind '-' stand 8 hex digits of a hash of the original (BLAKE2b). Never
 * fails: what cannot be remembered is told at the next ban of that jail. */
void jails_name(jails_t *self, const char *raw, char name[static EVENT_NAME_MAX + 1]);

/* {name: original} of all that were changed. The caller owns it. */
json_t *jails_json(const jails_t *self);

#endif
