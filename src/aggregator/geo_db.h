/* geo_db - one MaxMind DB file: read, read anew when it changes, asked for the record of an
 * address. What a record says is its owner's business.
 *
 * The file is copied into memory and used there. Mapped where it lies, a file that somebody
 * overwrites in place (cp, wget -O) would kill the process. Loop thread only. */
#ifndef BANMESH_AGGREGATOR_GEO_DB_H
#define BANMESH_AGGREGATOR_GEO_DB_H

#include "addr.h"
#include "log.h"

#include <jansson.h>
#include <maxminddb.h>

typedef struct geo_db geo_db_t;

/* What a file is for. */
typedef struct {
    const char *things;  /* that its records hold: "countries" */
    const char *without; /* what all become without: "XX" */
    /* Whether a record has one. */
    bool (*holds)(geo_db_t *db, MMDB_entry_s *entry);
} geo_db_use_t;

/* Read a file; "" is none. One that does not exist is not an error: nothing is found until a
 * refresh finds it. NULL with the fault, which names the file, if it is no MaxMind DB.
 *   use  borrowed for as long as it lives */
geo_db_t *geo_db_new(const geo_db_use_t *use, const char *path, fault_t *fault);
void geo_db_destroy(geo_db_t **self_p);

/* There is a database behind it. */
bool geo_db_is_open(const geo_db_t *self);

/* Its name as it was given; lives until the next refresh. */
const char *geo_db_path(const geo_db_t *self);

/* When it was built, in seconds since 1970; 0: there is none. */
int64_t geo_db_built_s(const geo_db_t *self);

/* What the file lacks as a whole, in words: it has none of what it is for (networks' owners instead
 * of countries), or none for one family. Looks at a thousand records of each. NULL: nothing, or
 * there is no file. Lives until the file is read anew. */
const char *geo_db_gap(const geo_db_t *self);

/* Look whether path is another file than the one that was read (other name, inode, size or time),
 * and read it then. Returns 1 if it was read anew, 0 if there was nothing to do, -1 with the fault:
 * the old one stays in use. A file that vanished is nothing to do. */
int geo_db_refresh(geo_db_t *self, const char *path, fault_t *fault);

/* The record of an address, or of a network's first address. Returns false if there is none, or if
 * the file is damaged there.
 *   entry    lives until the next refresh
 *   network  that the record is about */
bool geo_db_find(geo_db_t *self, const addr_t *address, MMDB_entry_s *entry, addr_t *network);

/* A value of a record. False: there is none, or the file is damaged there.
 *   path  names, the last one NULL */
bool geo_db_value(geo_db_t *self, MMDB_entry_s *entry, const char *const *path,
                  MMDB_entry_data_s *out);

/* A record did not have what was looked for. */
void geo_db_count_unknown(geo_db_t *self);

/* For the status; the caller owns it. */
json_t *geo_db_status(const geo_db_t *self);

#endif
