#include "jails.h"

#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES 55
#define JAILS_MAX  1024 /* that are remembered: a host has some dozens */

const char jails_table[] =
    "CREATE TABLE jail (name TEXT NOT NULL PRIMARY KEY, original BLOB NOT NULL) WITHOUT ROWID";

typedef struct {
    char name[EVENT_NAME_MAX + 1];
    char original[REQUEST_VALUE_MAX + 1];
} jail_t;

struct jails {
    db_t *db;
    sqlite3_stmt *add;
    jail_t *items;
    size_t count;
};

static const jail_t *find(const jails_t *self, const char *original)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->items[i].original, original) == 0)
            return &self->items[i];
    return NULL;
}

static jail_t *remember(jails_t *self, const char *name, const char *original)
{
    self->items = xrealloc(self->items, (self->count + 1) * sizeof *self->items);
    jail_t *jail = &self->items[self->count++];
    snprintf(jail->name, sizeof jail->name, "%s", name);
    snprintf(jail->original, sizeof jail->original, "%s", original);
    return jail;
}

static int load(jails_t *self)
{
    sqlite3_stmt *all = db_prepare(self->db, "SELECT name, CAST (original AS TEXT) FROM jail");
    int rc;
    while ((rc = db_step(self->db, all)) == 1)
        if (self->count < JAILS_MAX)
            remember(self, (const char *)sqlite3_column_text(all, 0),
                     (const char *)sqlite3_column_text(all, 1));
    sqlite3_finalize(all);
    return rc;
}

jails_t *jails_new(db_t *own_db, fault_t *fault)
{
    jails_t *self = xcalloc(1, sizeof *self);
    self->db = own_db;
    self->add = db_prepare(own_db, "INSERT OR REPLACE INTO jail (name, original) VALUES (?, ?)");
    if (load(self) == -1) {
        fault_set(fault, "state directory: %s", db_error(own_db));
        jails_destroy(&self);
    }
    return self;
}

void jails_destroy(jails_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->items);
    free(*self_p);
    *self_p = NULL;
}

static void tidy(const char *raw, char name[static EVENT_NAME_MAX + 1])
{
    uint8_t hash[crypto_generichash_BYTES_MIN];
    char kept[KEPT_BYTES + 1];
    snprintf(kept, sizeof kept, "%s", raw);
    for (char *p = kept; *p != '\0'; p++)
        if (!event_name_valid(p, 1))
            *p = '_';
    crypto_generichash(hash, sizeof hash, (const uint8_t *)raw, strlen(raw), NULL, 0);
    if (event_is_by_hand(kept) && strlen(kept) > strlen(EVENT_BY_HAND))
        kept[strlen(EVENT_BY_HAND)] = '_';
    snprintf(name, EVENT_NAME_MAX + 1, "%s-%08" PRIx32, kept, get_u32(hash));
}

void jails_name(jails_t *self, const char *raw, char name[static EVENT_NAME_MAX + 1])
{
    if (event_name_valid(raw, strlen(raw)) && !event_is_by_hand(raw)) {
        memcpy(name, raw, strlen(raw) + 1);
        return;
    }
    const jail_t *known = find(self, raw);
    if (known != NULL) {
        memcpy(name, known->name, sizeof known->name);
        return;
    }
    tidy(raw, name);
    if (self->count == JAILS_MAX || db_is_frozen(self->db))
        return;
    sqlite3_bind_text(self->add, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(self->add, 2, raw, (int)strlen(raw), SQLITE_STATIC);
    /* A name is worth less than the ban: with the disk full it is remembered another time. */
    if (db_step(self->db, self->add) == 0)
        remember(self, name, raw);
    else if (errno == EIO || errno == EBADMSG)
        fatalx("%s", db_error(self->db));
}

/* Letters of any script: no control characters, C1's (U+0080 to U+009F) included, nor those that
 * change the direction (U+200E ..., U+202A ..., U+2066 ...). */
static bool is_text(const char *original)
{
    for (const unsigned char *p = (const unsigned char *)original; *p != '\0'; p++)
        if (*p < ' ' || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0) ||
            (*p == 0xe2 && (p[1] == 0x80 || p[1] == 0x81)))
            return false;
    return true;
}

/* A terminal must not be told what to do, and JSON holds text only. */
static json_t *shown(const char *original)
{
    char quoted[3 * REQUEST_VALUE_MAX + 1];
    json_t *text = is_text(original) ? json_string(original) : NULL;
    if (text != NULL)
        return text;
    request_quote(original, quoted, sizeof quoted);
    return json_string(quoted);
}

json_t *jails_json(const jails_t *self)
{
    json_t *names = json_object();
    for (size_t i = 0; i < self->count; i++)
        json_object_set_new(names, self->items[i].name, shown(self->items[i].original));
    return names;
}
