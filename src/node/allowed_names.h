/* allowed_names - the host names that an operator allowed on this node, and what comes of them:
 * each is looked up every five minutes, and each of its addresses is announced as an allowance of
 * 15 minutes, renewed as long as the name has it and is allowed. So others need not look up
 * anything, and an address that the name has no longer is not allowed for long. The names survive a
 * restart: a table of own.db. Where this node's own word allows an address for longer, nothing is
 * said. */
#ifndef BANMESH_NODE_ALLOWED_NAMES_H
#define BANMESH_NODE_ALLOWED_NAMES_H

#include "entries.h"
#include "graces.h"
#include "hostname.h"
#include "service.h"

#include <jansson.h>

#define ALLOWED_NAMES_MAX 100

typedef struct allowed_names allowed_names_t;

/* All borrowed for as long as it lives. */
typedef struct {
    service_t *service;
    const graces_t *graces;
    standing_t *standing;
    entries_t *entries;
    uint16_t ours; /* the origin that is this host */
    /* Something was announced: there is work. */
    void (*done)(void *arg);
    void *arg;
} allowed_names_parts_t;

/* Begins to look up what was allowed before. NULL with the fault: the state directory says no. */
allowed_names_t *allowed_names_new(const allowed_names_parts_t *parts, fault_t *fault);
void allowed_names_destroy(allowed_names_t **self_p);

/* Look all names up now. */
void allowed_names_reload(allowed_names_t *self);

/* Allow a name (folded) until then, or until another time than before. It is looked up at once, and
 * what it is counts when the answer is in. Returns 0, or -1 with the fault. */
int allowed_names_put(allowed_names_t *self, const char *name, int64_t until_ms, const char *text,
                      fault_t *fault);

/* How long a text may be beside a name. */
size_t allowed_names_text_max(const char *name);

/* Forget a name, and withdraw what was announced of it. Returns 1; 0: it was not allowed; -1 with
 * the fault. */
int allowed_names_remove(allowed_names_t *self, const char *name, fault_t *fault);

/* [{name, until, text, addresses: [{address, until}], fault}] of those that have not ended. */
json_t *allowed_names_json(const allowed_names_t *self);

/* Calls for each name that cannot be looked up, or whose answer was refused. */
void allowed_names_complain(const allowed_names_t *self,
                            void (*complain)(void *arg, const fault_t *fault), void *arg);

#endif
