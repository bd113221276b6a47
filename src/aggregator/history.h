/* history - what one attempt is in the store: the names of its keys and the fields of its hash.
 *
 *   f2b:<nid>         HASH    jail ip country timestamp node bantime expires port protocol
 * failures, and, where a database says so, network and asn f2b:<CC>          SET     nids; country,
 * two capitals, XX unknown f2b:<jail>        SET     nids f2b:<ip>          SET     nids; a network
 * with its prefix f2b:<day>         SET     nids; YYYY-MM-DD, the day of the ban's time in
 * history/timezone f2b:node:<node>   SET     nids f2b:asn:<n>       SET     nids
 *   f2b:<day>:country:<CC>, f2b:<day>:jail:<jail>, f2b:<day>:node:<node>   SET   nids
 *   f2b:bans          ZSET    nids by timestamp
 *   f2b:active        ZSET    nids by expires, of those that may still run
 *   f2b:net:<network> STRING  JSON: what the databases say of a network
 *   f2b:live          channel JSON: an attempt that is new, with its nid
 *
 * Jails share their family's names with the others. One that would meet another family's key keeps
 * its nids under f2b:jail:<jail> instead: two capitals, digits only, a date, an address, or a word
 * that another family uses or will use (history.c).
 *
 * timestamp and expires are seconds since 1970; bantime is in seconds, -1 for ever, and expires is
 * then the last second of the year 9999. Pure, but for the time zone, which is the process's. */
#ifndef BANMESH_AGGREGATOR_HISTORY_H
#define BANMESH_AGGREGATOR_HISTORY_H

#include "commands.h"
#include "enrich.h"
#include "event.h"

#define HISTORY_PREFIX     "f2b:"
#define HISTORY_KEY_BYTES  96 /* the longest, f2b:<day>:jail:<64 characters>, and its NUL */
#define HISTORY_DAY_BYTES  11
#define HISTORY_BANS_KEY   "f2b:bans"
#define HISTORY_ACTIVE_KEY "f2b:active"
#define HISTORY_LIVE       "f2b:live" /* a channel */
#define HISTORY_LIVE_S     60         /* an older attempt is no news */
#define HISTORY_EXPIRES_S  (EVENT_TIME_MAX_MS / 1000)

/* One attempt, as it goes into the store. */
typedef struct {
    int64_t nid;
    ban_t ban;
    char node[EVENT_NAME_MAX + 1]; /* our name of its origin */
    char day[HISTORY_DAY_BYTES];   /* of the ban's time */
    enrich_facts_t facts;
} attempt_record_t;

/* 0, or -1 with the fault: no such zone in the system's zone database. */
int history_check_timezone(const char *name, fault_t *fault);

/* From now on days are those of a zone that was checked. */
void history_set_timezone(const char *name);

void history_day(int64_t time_ms, char day[static HISTORY_DAY_BYTES]);

/* True for a jail that f2b:<jail> cannot be used for. */
bool history_is_reserved(const char *jail);

/* The families of sets in which one set has many nids. */
typedef enum {
    HISTORY_COUNTRY,
    HISTORY_JAIL,
    HISTORY_DAY,
    HISTORY_NODE,
    HISTORY_ASN,
    HISTORY_DAY_COUNTRY,
    HISTORY_DAY_JAIL,
    HISTORY_DAY_NODE,
    HISTORY_FAMILY_COUNT,
} history_family_t;

/* The key of the set of a family that a record's nid belongs to. False: of none. */
bool history_key(const attempt_record_t *record, history_family_t family,
                 char key[static HISTORY_KEY_BYTES]);

/* That of its address. */
void history_ip_key(const attempt_record_t *record, char key[static HISTORY_KEY_BYTES]);

/* When a ban ends, as the hash says it. */
int64_t history_expires_s(const ban_t *ban);

/* Add the command that writes a record's hash. */
void history_write_hash(commands_t *out, const attempt_record_t *record);

/* Add the command that writes what is known of a record's network; none if nothing is. */
void history_write_network(commands_t *out, const attempt_record_t *record);

/* Add the command that tells those who listen. */
void history_tell(commands_t *out, const attempt_record_t *record);

#endif
