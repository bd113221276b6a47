/* state - the state directory: its lock, its two databases, room for bad times, and what is done
 * with a database that is damaged. Knows no feeds. Loop thread only.
 *
 *   lock                     held while a process uses the directory
 *   own.db, peers.db         with their write-ahead logs
 *   own.db.wreck             an own.db that was damaged, until what it still holds is taken over
 *   own.db.damaged-TIME ...  set aside for the operator, the newest two of each
 *   ballast                  ballast.h
 *   own.db-check ...         db.h: an error was seen, look at the whole file at the next start
 *   own.db-newest            witness.h: how far our feed was when the last commit returned */
#ifndef BANMESH_FEED_STATE_H
#define BANMESH_FEED_STATE_H

#include "db.h"

#include <limits.h>

typedef struct state state_t;

/* A change of shape of any table raises the version of both databases, and brings its migration;
 * what was before version 4 was never released. */
#define STATE_VERSION    7
#define STATE_TABLES_MAX 4

/* The tables of rooms above, each as the SQL that makes it, declared where it is used: the first
 * NULL ends them. docs/architecture.md explains all of them to those who open the files. */
typedef struct {
    const char *own[STATE_TABLES_MAX];
    const char *peers[STATE_TABLES_MAX];
    /* SQL that makes version 5 of own.db of version 4, and so on; NULL: nothing changed. */
    const char *own_5;
    const char *own_6;
    const char *peers_6;
    const char *own_7;
    const char *peers_7;
    const char *rekeyed; /* SQL that removes from own.db what belonged to another key; NULL: none */
} state_tables_t;

/* Open both databases; a damaged one is set aside and begun anew, which state_note tells of. The
 * directory must exist. A database of ours without one of the tables is damaged.
 *   more  besides those of feeds; the same at each call for one directory; borrowed for the call
 * NULL with the fault and errno; EBADMSG: damaged and could not be set
 * aside. */
state_t *state_open(const char *directory, const state_tables_t *more, fault_t *fault);
void state_close(state_t **self_p);

db_t *state_own_db(state_t *self);
db_t *state_peers_db(state_t *self);

/* What opening has to say to the operator, a sentence each; NULL behind the last. */
const char *state_note(const state_t *self, size_t index);

/* The damaged own.db whose contents are to be taken over; NULL: none. state_salvaged: that is done,
 * and all of it on disk. 0, or -1 with the fault. name takes its path from then on. */
const char *state_wreck(const state_t *self);
int state_salvaged(state_t *self, char name[static PATH_MAX], fault_t *fault);

/* Path and words of the last EIO or EBADMSG of either; "the state directory" if there was none. */
const char *state_failure(const state_t *self);

/* ---- room ---- */

typedef enum {
    STATE_AS_BEFORE,
    STATE_BECAME_FULL, /* nothing is taken in any more, but for what makes room */
    STATE_HAS_ROOM,    /* all as usual again */
    STATE_FAILED,      /* EIO or EBADMSG: see state_failure; stop */
} state_change_t;

/* Call once a second. Costs next to nothing while there is room and little is deleted. */
state_change_t state_tend(state_t *self);
bool state_is_full(const state_t *self);

#endif
