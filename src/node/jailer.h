/* jailer - asks banmesh-helper to do in fail2ban what this user may not: let go of addresses, and
 * list what is held. Never waits: one request at a time, its answer comes on the loop. The helper
 * listens at helper / socket; if that is "", or nobody listens and banmeshd runs as root, the one
 * that lies beside banmeshd's own program is started as a child. A helper that is missing, dies,
 * hangs or answers nonsense costs the request, and a pause before the next one: a second, twice as
 * long each time, up to a minute. */
#ifndef BANMESH_NODE_JAILER_H
#define BANMESH_NODE_JAILER_H

#include "addr.h"
#include "helper_record.h"
#include "loop.h"
#include "settings.h"

#define JAILER_LIFT_MAX HELPER_LIFT_MAX

typedef struct jailer jailer_t;

typedef enum {
    JAILER_OK,
    JAILER_NO_HELPER,
    JAILER_NO_FAIL2BAN,
    JAILER_REFUSED, /* fail2ban says no: there is no such jail */
    JAILER_FAILED,  /* nonsense, or no answer in time */
} jailer_status_t;

typedef helper_ticket_t jailer_ticket_t;

/* settings: borrowed until jailer_set. */
jailer_t *jailer_new(zloop_t *loop, const settings_t *settings);
void jailer_destroy(jailer_t **self_p);

/* If jail, fail2ban or socket changed: a request that runs ends in this call, without a helper, and
 * the next one may be made at once. */
void jailer_set(jailer_t *self, const settings_t *settings);

/* A request may be made: none runs, and no pause. */
bool jailer_is_free(const jailer_t *self);

/* Why the last request failed; NULL: it did not, or there was none. */
const fault_t *jailer_fault(const jailer_t *self);

/* What the last request came to; JAILER_OK if there was none. */
jailer_status_t jailer_last(const jailer_t *self);

/* The requests. Each calls done once, later, unless the jailer is destroyed before; false: it is
 * not free, and nothing is called. What they are given is copied. */

/* Let go of 1 to JAILER_LIFT_MAX addresses in the shared jail.
 *   held  of each: whether fail2ban held it; count of them if it is JAILER_OK, else 0 */
typedef void(jailer_lifted_fn)(void *arg, jailer_status_t status, const bool *held, size_t count);
bool jailer_lift(jailer_t *self, const addr_t *addresses, size_t count, jailer_lifted_fn *done,
                 void *arg);

/* In all jails; no networks.
 *   jails  of each: how many held it, at most 255 */
typedef void(jailer_counted_fn)(void *arg, jailer_status_t status, const uint8_t *jails,
                                size_t count);
bool jailer_lift_everywhere(jailer_t *self, const addr_t *addresses, size_t count,
                            jailer_counted_fn *done, void *arg);

/* What a jail holds, some at a time. */
typedef void(jailer_tickets_fn)(void *arg, const jailer_ticket_t *tickets, size_t count);
typedef void(jailer_done_fn)(void *arg, jailer_status_t status);
bool jailer_list(jailer_t *self, const char *jail, jailer_tickets_fn *portion, jailer_done_fn *done,
                 void *arg);

/* Which jails there are, and what each reads and does, one thing at a time; before them, of no
 * jail, where fail2ban's own log goes. */
typedef struct {
    char jail[HELPER_JAIL_BYTES + 1];
    helper_source_t kind;
    char source[HELPER_SOURCE_MAX + 1];
} jailer_source_t;
typedef void(jailer_source_fn)(void *arg, const jailer_source_t *source);
bool jailer_jails(jailer_t *self, jailer_source_fn *each, jailer_done_fn *done, void *arg);

#endif
