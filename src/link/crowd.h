/* crowd - too many connections, and whose they are. libzmq neither says how many a peer has nor can
 * end one. So those that were let in are counted by certificate, and the open files by the kernel:
 * if these are more than the mesh can need, whoever came in often of late is kept out for a while,
 * and the caller makes its server sockets anew. Honest nodes are back at once, and catch up. */
#ifndef BANMESH_LINK_CROWD_H
#define BANMESH_LINK_CROWD_H

#include "clock.h"

#include <stdbool.h>
#include <stddef.h>

#define CROWD_FILES_OWN      512   /* the hooks' 256 connections, and all else but the nodes' */
#define CROWD_FILES_PER_NODE 16    /* two connections each way take 6, twice for a moment */
#define CROWD_FILES_LEFT     64    /* of the limit, for what must be opened all the same */
#define CROWD_PATIENCE       32    /* connections of late that nobody is kept out for */
#define CROWD_FADE_MS        60000 /* what was counted is halved */
#define CROWD_KEEP_OUT_MS    600000
#define CROWD_UNKNOWN_MS     3600000 /* between two attempts if nobody came often */

typedef struct crowd crowd_t;

crowd_t *crowd_new(void);
void crowd_destroy(crowd_t **self_p);

/* A node with a trusted certificate knocks. True if it may come in, and then it is counted. */
bool crowd_admits(crowd_t *self, const char *name, mono_t now);

/* How many files may be open before it is a crowd, of a limit and with so many trusted nodes. */
size_t crowd_room(size_t nodes, size_t limit);

/* Call each heartbeat. True if it is a crowd, and the server sockets are to be made anew: at most
 * once in CROWD_FADE_MS if somebody is to blame, in CROWD_UNKNOWN_MS if nobody is. The log says who
 * is kept out. open, room  files: there are, there may be */
bool crowd_look(crowd_t *self, size_t open, size_t room, mono_t now);

#endif
