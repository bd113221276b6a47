#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ZONE_DIRECTORY "/usr/share/zoneinfo"
#define ZONE_NAME_MAX  100
#define JAIL_PREFIX    HISTORY_PREFIX "jail:"
#define HASH_ARGUMENTS 22 /* HSET, the key, ten fields and their values; two more may follow */

/* Keys that stand, or will stand, beside the jails'. */
static const char *const reserved_words[] = {
    "bans", "active", "nodes",    "node", "node-state", "live",
    "net",  "asn",    "receipts", "jail", "names",
};

#define RESERVED_COUNT (sizeof reserved_words / sizeof reserved_words[0])

/* ---- days ---- */

static bool zone_name_valid(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= ZONE_NAME_MAX && *name != '/' && strstr(name, "..") == NULL &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/") ==
               length;
}

/* The C library takes UTC for a zone that it does not find, and says nothing. */
int history_check_timezone(const char *name, fault_t *fault)
{
    char path[PATH_MAX];
    char magic[4] = "";
    if (strcmp(name, "UTC") == 0)
        return 0;
    if (zone_name_valid(name)) {
        snprintf(path, sizeof path, ZONE_DIRECTORY "/%s", name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd != -1) {
            if (read(fd, magic, sizeof magic) != sizeof magic)
                magic[0] = '\0';
            close(fd);
        }
    }
    if (memcmp(magic, "TZif", sizeof magic) == 0)
        return 0;
    return fault_set(fault,
                     "history / timezone: \"%.100s\": expected UTC or a name below " ZONE_DIRECTORY
                     ", e.g. Europe/Berlin",
                     name);
}

void history_set_timezone(const char *name)
{
    char value[ZONE_NAME_MAX + 8];
    snprintf(value, sizeof value, "%s%s", strcmp(name, "UTC") == 0 ? "" : ":",
             strcmp(name, "UTC") == 0 ? "UTC0" : name);
    setenv("TZ", value, 1);
    tzset();
}

void history_day(int64_t time_ms, char day[static HISTORY_DAY_BYTES])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local;
    localtime_r(&seconds, &local);
    strftime(day, HISTORY_DAY_BYTES, "%Y-%m-%d", &local);
}

/* ---- names ---- */

static bool all_digits(const char *text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static bool is_country(const char *jail, size_t length)
{
    return length == 2 && jail[0] >= 'A' && jail[0] <= 'Z' && jail[1] >= 'A' && jail[1] <= 'Z';
}

static bool is_day(const char *jail, size_t length)
{
    return length == HISTORY_DAY_BYTES - 1 && jail[4] == '-' && jail[7] == '-' &&
           all_digits(jail, 0, 4) && all_digits(jail, 5, 7) && all_digits(jail, 8, 10);
}

bool history_is_reserved(const char *jail)
{
    addr_t address;
    size_t length = strlen(jail);
    for (size_t i = 0; i < RESERVED_COUNT; i++)
        if (strcmp(jail, reserved_words[i]) == 0)
            return true;
    return is_country(jail, length) || all_digits(jail, 0, length) || is_day(jail, length) ||
           strchr(jail, ':') != NULL || addr_parse(jail, &address) == ADDR_OK;
}

static void join(char key[static HISTORY_KEY_BYTES], const char *prefix, const char *name)
{
    size_t prefix_length = strlen(prefix);
    size_t length = strnlen(name, HISTORY_KEY_BYTES - 1 - prefix_length);
    memcpy(key, prefix, prefix_length);
    memcpy(key + prefix_length, name, length);
    key[prefix_length + length] = '\0';
}

/* "f2b:<day>:jail:<jail>"; without a day "f2b:jail:<jail>". */
static void join_words(char key[static HISTORY_KEY_BYTES], const char *day, const char *family,
                       const char *name)
{
    snprintf(key, HISTORY_KEY_BYTES, HISTORY_PREFIX "%s%s%s:%.*s", day, *day != '\0' ? ":" : "",
             family, EVENT_NAME_MAX, name);
}

static bool asn_key(uint32_t asn, char key[static HISTORY_KEY_BYTES])
{
    snprintf(key, HISTORY_KEY_BYTES, HISTORY_PREFIX "asn:%" PRIu32, asn);
    return asn != 0;
}

bool history_key(const attempt_record_t *record, history_family_t family,
                 char key[static HISTORY_KEY_BYTES])
{
    const char *jail = record->ban.jail;
    const char *country = record->facts.country;
    switch (family) {
    case HISTORY_COUNTRY:
        join(key, HISTORY_PREFIX, country);
        break;
    case HISTORY_JAIL:
        join(key, history_is_reserved(jail) ? JAIL_PREFIX : HISTORY_PREFIX, jail);
        break;
    case HISTORY_DAY:
        join(key, HISTORY_PREFIX, record->day);
        break;
    case HISTORY_NODE:
        join_words(key, "", "node", record->node);
        break;
    case HISTORY_ASN:
        return asn_key(record->facts.asn, key);
    case HISTORY_DAY_COUNTRY:
        join_words(key, record->day, "country", country);
        break;
    case HISTORY_DAY_JAIL:
        join_words(key, record->day, "jail", jail);
        break;
    case HISTORY_DAY_NODE:
        join_words(key, record->day, "node", record->node);
        break;
    case HISTORY_FAMILY_COUNT:
        return false;
    }
    return true;
}

void history_ip_key(const attempt_record_t *record, char key[static HISTORY_KEY_BYTES])
{
    char ip[ADDR_TEXT_MAX];
    join(key, HISTORY_PREFIX, addr_print(&record->ban.address, ip));
}

/* ---- the hash ---- */

int64_t history_expires_s(const ban_t *ban)
{
    int64_t end_ms = ban_end_ms(ban);
    return end_ms < EVENT_TIME_MAX_MS ? end_ms / 1000 : HISTORY_EXPIRES_S;
}

static void add_text(commands_t *out, const char *field, const char *value)
{
    commands_text(out, field);
    commands_text(out, value);
}

static void add_number(commands_t *out, const char *field, int64_t value)
{
    commands_text(out, field);
    commands_number(out, value);
}

void history_write_hash(commands_t *out, const attempt_record_t *record)
{
    const ban_t *ban = &record->ban;
    const enrich_facts_t *facts = &record->facts;
    char text[ADDR_TEXT_MAX];
    bool has_network = facts->network.family != 0;
    commands_begin(out, "HSET",
                   HASH_ARGUMENTS + (has_network ? 2u : 0u) + (facts->asn != 0 ? 2u : 0u));
    commands_key(out, HISTORY_PREFIX, record->nid);
    add_text(out, "jail", ban->jail);
    add_text(out, "ip", addr_print(&ban->address, text));
    add_text(out, "country", facts->country);
    add_number(out, "timestamp", ban->time_ms / 1000);
    add_text(out, "node", record->node);
    add_number(out, "bantime", ban->duration_s);
    add_number(out, "expires", history_expires_s(ban));
    add_text(out, "port", ban->port);
    add_text(out, "protocol", ban->protocol);
    add_number(out, "failures", ban->failures);
    if (has_network)
        add_text(out, "network", addr_print(&facts->network, text));
    if (facts->asn != 0)
        add_number(out, "asn", facts->asn);
}

/* What a database calls an owner need not be UTF-8. */
static json_t *network_json(const enrich_facts_t *facts)
{
    json_t *json =
        json_pack("{s:s, s:I}", "country", facts->country, "built", (json_int_t)facts->built_s);
    if (facts->asn != 0)
        json_object_set_new(json, "asn", json_integer(facts->asn));
    if (facts->owner[0] != '\0')
        json_object_set_new(json, "org", json_string(facts->owner));
    return json;
}

static void put_json(commands_t *out, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    commands_text(out, text);
    free(text);
    json_decref(json);
}

void history_write_network(commands_t *out, const attempt_record_t *record)
{
    char key[HISTORY_KEY_BYTES];
    char network[ADDR_TEXT_MAX];
    if (record->facts.network.family == 0)
        return;
    join(key, HISTORY_PREFIX "net:", addr_print(&record->facts.network, network));
    commands_begin(out, "SET", 3);
    commands_text(out, key);
    put_json(out, network_json(&record->facts));
}

/* A nid is a text: JavaScript's numbers have 53 bits. */
void history_tell(commands_t *out, const attempt_record_t *record)
{
    const ban_t *ban = &record->ban;
    char nid[24];
    char text[ADDR_TEXT_MAX];
    snprintf(nid, sizeof nid, "%" PRId64, record->nid);
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "event", "ban", "nid", nid, "ip",
                  addr_print(&ban->address, text), "jail", ban->jail, "node", record->node,
                  "country", record->facts.country, "timestamp", (json_int_t)(ban->time_ms / 1000),
                  "bantime", (json_int_t)ban->duration_s, "expires",
                  (json_int_t)history_expires_s(ban));
    if (record->facts.network.family != 0)
        json_object_set_new(json, "network", json_string(addr_print(&record->facts.network, text)));
    if (record->facts.asn != 0)
        json_object_set_new(json, "asn", json_integer(record->facts.asn));
    commands_begin(out, "PUBLISH", 3);
    commands_text(out, HISTORY_LIVE);
    put_json(out, json);
}
