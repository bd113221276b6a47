/* watchers - which of this host's jails watch fail2ban's own log: what such a jail bans, another
 * one has banned, and that may be the shared jail. Asks banmesh-helper when fail2ban starts, when a
 * jail is heard of that it did not name, and now and then. The same answers show whether the shared
 * jail is there, and reads the shared log; while it does not, it is asked every ten seconds. */
#ifndef BANMESH_NODE_WATCHERS_H
#define BANMESH_NODE_WATCHERS_H

#include "shared_jail.h"

#include <jansson.h>

typedef struct watchers watchers_t;

/* jailer: borrowed for as long as they live; settings until watchers_set.
 *   done  called when an answer is in: the jailer is free for others */
watchers_t *watchers_new(jailer_t *jailer, const settings_t *settings, void (*done)(void *arg),
                         void *arg);
void watchers_destroy(watchers_t **self_p);
void watchers_set(watchers_t *self, const settings_t *settings);

/* fail2ban has started: its jails come one by one now. */
void watchers_begin(watchers_t *self);

/* Ask, if it is time and the jailer is free. */
void watchers_step(watchers_t *self);

/* A ban of such a jail was not announced: the newest WATCHERS_ECHOES are remembered. */
#define WATCHERS_ECHOES 256
void watchers_note_echo(watchers_t *self, const char *jail, const addr_t *address);

/* Those of an address: jail, and when. The caller owns it. */
json_t *watchers_echoes(const watchers_t *self, const addr_t *address);

/* What is known of the shared jail, and how long ago that was asked; NULL: nothing yet. */
const shared_jail_t *watchers_shared(const watchers_t *self, int64_t *asked_ms);

/* How many jails fail2ban has, by the last answer, and which of them watch. The caller owns it. */
json_t *watchers_status(const watchers_t *self);

/* Whether one of them has our action, by the last answer. */
bool watchers_publish(const watchers_t *self);

/* Whether a jail watches fail2ban's own log, by its name in fail2ban; not of recidive, whose filter
 * leaves out the shared jail (recidive.local). One that is not known makes it time to ask. */
bool watchers_has(watchers_t *self, const char *jail);

#endif
