/* twins - one key at two places at once: a server that was copied with its keys, or a stolen key.
 * Each run of a daemon says a number of its own in its surveys. After a restart the old number
 * never comes again (but for a late message); numbers that take turns three times are two hosts.
 * Knows no sockets, and decides nothing.
 */
#ifndef BANMESH_MESH_TWINS_H
#define BANMESH_MESH_TWINS_H

#include "addr.h"
#include "clock.h"
#include "trust.h"

#define TWINS_TEXT_MAX 400

typedef struct twins twins_t;

twins_t *twins_new(void);
void twins_destroy(twins_t **self_p);

/* A node with that number asked, from that address (NULL: not known). True if it is at two places;
 * other is the other place then, "" if it is not known. Logs when that begins. */
bool twins_note(twins_t *self, const trusted_t *node, uint64_t run, const char *address, mono_t now,
                char other[static ADDR_TEXT_MAX]);

/* A peer says that our own key is at another place, too. */
void twins_note_own(twins_t *self, const char *peer, const char *other, mono_t now);

/* In words, all that was so within the last two minutes; false behind the last. */
bool twins_text(const twins_t *self, size_t index, mono_t now, char text[static TWINS_TEXT_MAX]);

/* Forget nodes that are not in the set. */
void twins_keep(twins_t *self, const trust_t *trust);

#endif
