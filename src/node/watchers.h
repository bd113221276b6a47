/* watchers - what this host's jails read. The shared one is to read the shared log: if it does not,
 * nobody bans what peers have banned. One that reads fail2ban's own log bans what another one has
 * banned, and that may be the shared jail. Asks banmesh-helper when fail2ban starts, when a jail is
 * heard of that it did not name, and now and then. */
#ifndef BANMESH_NODE_WATCHERS_H
#define BANMESH_NODE_WATCHERS_H

#include "jailer.h"

#include <jansson.h>

typedef struct watchers watchers_t;

/* jailer: borrowed for as long as they live.
 *   done  called when an answer is in: the jailer is free for others */
watchers_t *watchers_new(jailer_t *jailer, const settings_t *settings, void (*done)(void *arg),
                         void *arg);
void watchers_destroy(watchers_t **self_p);

/* settings: as of watchers_new, until the next call. */
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

/* Add to a status that nobody reads the shared log. */
void watchers_attention(const watchers_t *self, json_t *status);

/* How many jails fail2ban has, by the last answer, and which of them watch. The caller owns it. */
json_t *watchers_status(const watchers_t *self);

/* Whether a jail watches fail2ban's own log, by its name in fail2ban; not of recidive, whose filter
 * leaves out the shared jail (recidive.local). One that is not known makes it time to ask. */
bool watchers_has(watchers_t *self, const char *jail);

#endif
