/* enrich - what is known of an address without asking anybody: its country, and whose network it is
 * in, from MaxMind DB files (geo_db.h).
 *
 * The country is GeoLite2's and DB-IP's country.iso_code, or else registered_country.iso_code; or
 * the flat country_code or country of other makers. Always two capitals; XX if there is none. The
 * network's owner is autonomous_system_number and autonomous_system_organization, or IPinfo's asn
 * ("AS64500") and as_name or name. One file may hold both: owners are looked for in the file of the
 * countries, too, if there is none of their own. */
#ifndef BANMESH_AGGREGATOR_ENRICH_H
#define BANMESH_AGGREGATOR_ENRICH_H

#include "geo_db.h"

#define ENRICH_COUNTRY_BYTES 3 /* two capitals and their NUL */
#define ENRICH_UNKNOWN       "XX"
#define ENRICH_OWNER_BYTES   96

typedef struct {
    char country[ENRICH_COUNTRY_BYTES];
    uint32_t asn;                   /* the AS number; 0: not known */
    char owner[ENRICH_OWNER_BYTES]; /* of that AS, UTF-8; "": not known */
    addr_t network;                 /* all of which this is said of; family 0: nothing is known */
    int64_t built_s;                /* when the older one of the databases that say it was built */
} enrich_facts_t;

typedef struct {
    const char *country; /* "" is none */
    const char *asn;
} enrich_paths_t;

typedef struct enrich enrich_t;

/* Read the files. One that does not exist is not an error: it may come. NULL with the fault, which
 * names the file, if one is no MaxMind DB. */
enrich_t *enrich_new(const enrich_paths_t *paths, fault_t *fault);
void enrich_destroy(enrich_t **self_p);

/* Read those anew that are other files than before. Calls with words for each that was read, and
 * for each that cannot be (once): the old one stays in use. Returns whether one was read. */
bool enrich_refresh(enrich_t *self, const enrich_paths_t *paths,
                    void (*tell)(void *arg, const fault_t *words), void *arg);

/* Of an address, or of a network's first address. */
void enrich_look_up(enrich_t *self, const addr_t *address, enrich_facts_t *out);

/* Calls with words for each thing that an operator should know: a file that is missing, holds
 * nothing of what it is for, or is older than two months. */
void enrich_complain(const enrich_t *self, int64_t now_s,
                     void (*complain)(void *arg, const fault_t *words), void *arg);

/* For the status: adds country_db and asn_db. */
void enrich_status(const enrich_t *self, json_t *status);

#endif
