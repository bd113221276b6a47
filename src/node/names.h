/* names - host names, and the addresses that they have now: each is looked up when it comes, and
 * again at an interval, beside the loop (lookup.h). What was known stays until something else is.
 * Whoever owns the list says what an answer may be, and what an address is worth. */
#ifndef BANMESH_NODE_NAMES_H
#define BANMESH_NODE_NAMES_H

#include "addr.h"
#include "clock.h"
#include "log.h"
#include "loop.h"

/* Of one name: whoever has its zone must not speak for the world. */
#define NAMES_FOUND_MAX 16

typedef struct names names_t;

typedef struct {
    int64_t again_ms; /* one without a good answer is asked for again after a minute */
    bool strict; /* an answer with a special address, or with too many, is refused as a whole; not:
                  * the first NAMES_FOUND_MAX count */
    const char *consequence;     /* what a fault means here, for the log */
    void (*answered)(void *arg); /* there is a good answer; NULL: nobody waits for it */
    void *arg;
} names_rules_t;

/* One name; the same until the next call that takes a names_t which is not const. */
typedef struct {
    const char *host;
    const char *reason; /* as the owner gave it */
    const addr_t *found;
    size_t found_count;
    const fault_t *fault; /* why it is not known, or not any more; NULL: it is */
    uint64_t answers;     /* how many good ones there were */
} names_item_t;

names_t *names_new(zloop_t *loop, const names_rules_t *rules);
void names_destroy(names_t **self_p);

/* Which names these are from now on: begin, want each, end. Of those that were there before, all
 * that is known stays known. Then, and at names_look, those are looked up whose time has come;
 * anew: all of them. A host may be an address, of IPv6 in brackets. Both texts are copied. */
void names_begin(names_t *self);
void names_want(names_t *self, const char *host, const char *reason);
void names_end(names_t *self);
void names_look(names_t *self, bool anew);

/* False behind the last. */
bool names_at(const names_t *self, size_t index, names_item_t *out);

/* The reason of a name that has an address which touches this one; NULL: there is none. */
const char *names_reason(const names_t *self, const addr_t *address);

void names_complain(const names_t *self, void (*complain)(void *arg, const fault_t *fault),
                    void *arg);

#endif
