#include "enrich.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OLD_S (60 * 24 * 3600)

enum { COUNTRY, ASN, FILE_COUNT };

struct enrich {
    geo_db_t *files[FILE_COUNT];
    bool failing[FILE_COUNT]; /* cannot be read anew; said so */
};

static const char *const settings_names[FILE_COUNT] = {"geoip / country", "geoip / asn"};

/* ---- one record ---- */

typedef const char *const value_path_t[3];

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_text(const MMDB_entry_data_s *data)
{
    return data->type == MMDB_DATA_TYPE_UTF8_STRING;
}

/* Only two letters pass: whatever else a file holds must not become the name of a key. */
static bool take_code(const MMDB_entry_data_s *data, char out[static ENRICH_COUNTRY_BYTES])
{
    if (!is_text(data) || data->data_size != 2 || !is_letter(data->utf8_string[0]) ||
        !is_letter(data->utf8_string[1]))
        return false;
    out[0] = (char)(data->utf8_string[0] & ~0x20);
    out[1] = (char)(data->utf8_string[1] & ~0x20);
    out[2] = '\0';
    return true;
}

static bool find_country(geo_db_t *db, MMDB_entry_s *entry, char out[static ENRICH_COUNTRY_BYTES])
{
    static value_path_t paths[] = {
        {"country", "iso_code", NULL},
        {"registered_country", "iso_code", NULL},
        {"country_code", NULL, NULL},
        {"country", NULL, NULL},
    };
    MMDB_entry_data_s data;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (geo_db_value(db, entry, paths[i], &data) && take_code(&data, out))
            return true;
    return false;
}

/* A number, or "AS64500". */
static uint32_t take_asn(const MMDB_entry_data_s *data)
{
    uint64_t number = 0;
    if (data->type == MMDB_DATA_TYPE_UINT32)
        return data->uint32;
    if (data->type == MMDB_DATA_TYPE_UINT16)
        return data->uint16;
    if (!is_text(data))
        return 0;
    size_t start = data->data_size > 2 && memcmp(data->utf8_string, "AS", 2) == 0 ? 2 : 0;
    for (size_t i = start; i < data->data_size && number <= UINT32_MAX; i++) {
        if (data->utf8_string[i] < '0' || data->utf8_string[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(data->utf8_string[i] - '0');
    }
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

static uint32_t find_asn(geo_db_t *db, MMDB_entry_s *entry)
{
    static value_path_t paths[] = {{"autonomous_system_number", NULL, NULL}, {"asn", NULL, NULL}};
    MMDB_entry_data_s data;
    uint32_t asn = 0;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0] && asn == 0; i++)
        if (geo_db_value(db, entry, paths[i], &data))
            asn = take_asn(&data);
    return asn;
}

/* As much as fits, without half a character. */
static void take_owner(const MMDB_entry_data_s *data, char out[static ENRICH_OWNER_BYTES])
{
    size_t size = data->data_size;
    if (size > ENRICH_OWNER_BYTES - 1)
        for (size = ENRICH_OWNER_BYTES - 1; size > 0 && (data->utf8_string[size] & 0xc0) == 0x80;)
            size--;
    memcpy(out, data->utf8_string, size);
    out[size] = '\0';
}

static void find_owner(geo_db_t *db, MMDB_entry_s *entry, char out[static ENRICH_OWNER_BYTES])
{
    static value_path_t paths[] = {
        {"autonomous_system_organization", NULL, NULL},
        {"as_name", NULL, NULL},
        {"name", NULL, NULL},
    };
    MMDB_entry_data_s data;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0] && out[0] == '\0'; i++)
        if (geo_db_value(db, entry, paths[i], &data) && is_text(&data))
            take_owner(&data, out);
}

/* ---- the files ---- */

static bool holds_country(geo_db_t *db, MMDB_entry_s *entry)
{
    char country[ENRICH_COUNTRY_BYTES];
    return find_country(db, entry, country);
}

static bool holds_asn(geo_db_t *db, MMDB_entry_s *entry)
{
    return find_asn(db, entry) != 0;
}

static const geo_db_use_t uses[FILE_COUNT] = {
    {"countries", ENRICH_UNKNOWN, holds_country},
    {"AS numbers", "unknown", holds_asn},
};

static const char *path_of(const enrich_paths_t *paths, int file)
{
    return file == COUNTRY ? paths->country : paths->asn;
}

enrich_t *enrich_new(const enrich_paths_t *paths, fault_t *fault)
{
    enrich_t *self = xcalloc(1, sizeof *self);
    for (int i = 0; i < FILE_COUNT; i++) {
        self->files[i] = geo_db_new(&uses[i], path_of(paths, i), fault);
        if (self->files[i] == NULL) {
            enrich_destroy(&self);
            return NULL;
        }
    }
    return self;
}

void enrich_destroy(enrich_t **self_p)
{
    enrich_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (int i = 0; i < FILE_COUNT; i++)
        geo_db_destroy(&self->files[i]);
    free(self);
}

bool enrich_refresh(enrich_t *self, const enrich_paths_t *paths,
                    void (*tell)(void *arg, const fault_t *words), void *arg)
{
    fault_t fault;
    fault_t words;
    bool any = false;
    for (int i = 0; i < FILE_COUNT; i++) {
        int rc = geo_db_refresh(self->files[i], path_of(paths, i), &fault);
        if (rc == 1)
            fault_set(&words, "%s: %.300s: read", settings_names[i], path_of(paths, i));
        else if (rc == -1)
            fault_set(&words, "%s: %.300s; the old one stays in use", settings_names[i],
                      fault.text);
        if (rc == 1 || (rc == -1 && !self->failing[i]))
            tell(arg, &words);
        self->failing[i] = rc == -1;
        any = any || rc == 1;
    }
    return any;
}

/* ---- looking up ---- */

/* Two networks that one address lies in: one of them lies in the other. */
static void narrow(enrich_facts_t *out, const geo_db_t *db, const addr_t *network)
{
    int64_t built_s = geo_db_built_s(db);
    if (out->network.family == 0 || network->prefix > out->network.prefix)
        out->network = *network;
    if (out->built_s == 0 || built_s < out->built_s)
        out->built_s = built_s;
}

void enrich_look_up(enrich_t *self, const addr_t *address, enrich_facts_t *out)
{
    MMDB_entry_s entry;
    addr_t network;
    geo_db_t *country = self->files[COUNTRY];
    geo_db_t *asn = geo_db_is_open(self->files[ASN]) ? self->files[ASN] : country;
    bool found = geo_db_find(country, address, &entry, &network);
    *out = (enrich_facts_t){.country = ENRICH_UNKNOWN};
    if (found) {
        if (find_country(country, &entry, out->country))
            narrow(out, country, &network);
        else
            geo_db_count_unknown(country);
    }
    if (asn != country)
        found = geo_db_find(asn, address, &entry, &network);
    if (found && (out->asn = find_asn(asn, &entry)) != 0) {
        find_owner(asn, &entry, out->owner);
        narrow(out, asn, &network);
    }
}

/* ---- for people ---- */

static void complain_of_file(const enrich_t *self, int file, int64_t now_s, fault_t *out)
{
    const geo_db_t *db = self->files[file];
    const geo_db_use_t *use = &uses[file];
    const char *name = settings_names[file];
    int64_t days = (now_s - geo_db_built_s(db)) / (24 * 3600);
    out->text[0] = '\0';
    if (*geo_db_path(db) == '\0' && file == COUNTRY)
        fault_set(out, "%s: no file is set: all %s will be %s", name, use->things, use->without);
    else if (*geo_db_path(db) != '\0' && !geo_db_is_open(db))
        fault_set(out, "%s: %.300s does not exist: all %s will be %s", name, geo_db_path(db),
                  use->things, use->without);
    else if (geo_db_gap(db) != NULL)
        fault_set(out, "%s: %.400s", name, geo_db_gap(db));
    else if (geo_db_is_open(db) && days * 24 * 3600 > OLD_S)
        fault_set(out, "%s: %.300s was built %lld days ago: get a newer one", name, geo_db_path(db),
                  (long long)days);
}

void enrich_complain(const enrich_t *self, int64_t now_s,
                     void (*complain)(void *arg, const fault_t *words), void *arg)
{
    fault_t words;
    for (int i = 0; i < FILE_COUNT; i++) {
        complain_of_file(self, i, now_s, &words);
        if (words.text[0] != '\0')
            complain(arg, &words);
    }
}

void enrich_status(const enrich_t *self, json_t *status)
{
    json_object_set_new(status, "country_db", geo_db_status(self->files[COUNTRY]));
    json_object_set_new(status, "asn_db", geo_db_status(self->files[ASN]));
}
