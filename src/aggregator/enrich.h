/* enrich - what is known of an address without asking anybody: its country, from a MaxMind DB file.
 *
 * GeoLite2's country.iso_code, or else its registered_country.iso_code; or the flat country_code
 * (or country) of other makers. Always two capitals; XX if the file has none for the address.
 *
 * The file is copied into memory and used there. Mapped where it lies, a file that somebody
 * overwrites in place (cp, wget -O) would kill the process. Loop thread only. */
#ifndef BANMESH_AGGREGATOR_ENRICH_H
#define BANMESH_AGGREGATOR_ENRICH_H

#include "addr.h"
#include "log.h"

#include <jansson.h>

#define ENRICH_COUNTRY_BYTES 3 /* two capitals and their NUL */
#define ENRICH_UNKNOWN       "XX"

typedef struct enrich enrich_t;

/* Read a file; "" is none. One that does not exist is not an error: all countries are then XX until
 * a refresh finds it. NULL with the fault, which names the file, if it is no MaxMind DB. */
enrich_t *enrich_new(const char *path, fault_t *fault);
void enrich_destroy(enrich_t **self_p);

/* There is a database behind it. */
bool enrich_is_open(const enrich_t *self);

/* What the file lacks as a whole, in words: it has no countries (an ASN database), or none of one
 * family. Looks at a thousand records of each. NULL: nothing, or there is no file. Lives until the
 * file is read anew. */
const char *enrich_gap(const enrich_t *self);

/* Look whether path is another file than the one that was read (other name, inode, size or time),
 * and read it then. Returns 1 if it was read anew, 0 if there was nothing to do, -1 with the fault:
 * the old one stays in use. A file that vanished is nothing to do. */
int enrich_refresh(enrich_t *self, const char *path, fault_t *fault);

/* The country of an address, or of a network's first address. */
void enrich_country(enrich_t *self, const addr_t *address, char out[static ENRICH_COUNTRY_BYTES]);

/* For the status; the caller owns it. */
json_t *enrich_status(const enrich_t *self);

#endif
