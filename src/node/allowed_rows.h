/* allowed_rows - the host names that are allowed, over restarts: the table `allowed_name` of
 * own.db. Knows nothing of what they are. */
#ifndef BANMESH_NODE_ALLOWED_ROWS_H
#define BANMESH_NODE_ALLOWED_ROWS_H

#include "db.h"

/* For the schema of own.db; and SQL that makes version 7 of it of version 6. */
extern const char allowed_rows_table[];

typedef struct allowed_rows allowed_rows_t;

/* db is own.db, borrowed and closed after us. */
allowed_rows_t *allowed_rows_new(db_t *db);
void allowed_rows_destroy(allowed_rows_t **self_p);

/* A name, until when, and the operator's words; in place of what there was of that name. 0, or -1
 * and errno of db_step. */
int allowed_rows_put(allowed_rows_t *self, const char *name, int64_t until_ms, const char *text);
int allowed_rows_remove(allowed_rows_t *self, const char *name);

/* Call back for each. 0, or -1 and errno. */
typedef void(allowed_rows_fn)(void *arg, const char *name, int64_t until_ms, const char *text);
int allowed_rows_each(allowed_rows_t *self, allowed_rows_fn *tell, void *arg);

#endif
