/* history - what one attempt is in the store: the names of its keys and the fields of its hash.
 *
 *   f2b:<nid>         HASH  jail ip country timestamp node bantime expires port protocol failures
 *   f2b:<CC>          SET   nids; country, two capitals, XX unknown
 *   f2b:<jail>        SET   nids
 *   f2b:<ip>          SET   nids; a network with its prefix
 *   f2b:<YYYY-MM-DD>  SET   nids; the day of the ban's time in history/timezone
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

#define HISTORY_PREFIX    "f2b:"
#define HISTORY_KEY_BYTES 80 /* the longest, f2b:jail:<64 characters>, and its NUL */
#define HISTORY_DAY_BYTES 11
#define HISTORY_EXPIRES_S (EVENT_TIME_MAX_MS / 1000)

/* One attempt, as it goes into the store. */
typedef struct {
    int64_t nid;
    ban_t ban;
    char node[EVENT_NAME_MAX + 1]; /* our name of its origin */
    char country[ENRICH_COUNTRY_BYTES];
} attempt_record_t;

/* 0, or -1 with the fault: no such zone in the system's zone database. */
int history_check_timezone(const char *name, fault_t *fault);

/* From now on days are those of a zone that was checked. */
void history_set_timezone(const char *name);

void history_day(int64_t time_ms, char day[static HISTORY_DAY_BYTES]);

/* True for a jail that f2b:<jail> cannot be used for. */
bool history_is_reserved(const char *jail);

/* The keys of the sets that a record's nid belongs to. */
void history_day_key(const attempt_record_t *record, char key[static HISTORY_KEY_BYTES]);
void history_country_key(const attempt_record_t *record, char key[static HISTORY_KEY_BYTES]);
void history_jail_key(const attempt_record_t *record, char key[static HISTORY_KEY_BYTES]);
void history_ip_key(const attempt_record_t *record, char key[static HISTORY_KEY_BYTES]);

/* When a ban ends, as the hash says it. */
int64_t history_expires_s(const ban_t *ban);

/* Add the command that writes a record's hash. */
void history_write_hash(commands_t *out, const attempt_record_t *record);

#endif
