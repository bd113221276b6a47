/* ballast - room that is kept for bad times. With the disk full SQLite cannot even delete; a file
 * of a few MiB beside the databases is removed then, so that what makes room always has some.
 *
 * On a disk of which a part is kept for root, and which is full into that part, removing it gives
 * room to root alone. */
#ifndef BANMESH_DISK_BALLAST_H
#define BANMESH_DISK_BALLAST_H

#include <stdbool.h>

#define BALLAST_BYTES       (6 * 1024 * 1024)
#define BALLAST_LEAST_BYTES (2 * 1024 * 1024) /* while room is scarce */
#define BALLAST_GAIN_BYTES  (3 * 1024 * 1024) /* beyond what a drop gave: else it was no gain */
#define BALLAST_REST_BYTES  (256 * 1024)      /* kept back for the next start: it needs some, too */

typedef struct ballast ballast_t;

/* directory is borrowed for the call; nothing is made yet. */
ballast_t *ballast_new(const char *directory);
void ballast_destroy(ballast_t **self_p); /* the file stays */

/* Make it whole if there is room to spare. True if it is whole. Cheap if it is. */
bool ballast_fill(ballast_t *self);

/* Give its room away, but for the rest. */
void ballast_drop(ballast_t *self);

/* Give all of it away. True if there was any. */
bool ballast_drop_rest(ballast_t *self);

/* After a drop: if somebody made room, make the least. True if so: work may go on. If not, at least
 * the rest is made. */
bool ballast_regain(ballast_t *self);

#endif
