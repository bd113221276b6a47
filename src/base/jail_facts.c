#include "jail_facts.h"

#include <stdio.h>

#define OUR_ACTION "banmesh" /* of banmesh.conf and banmesh.py */

static const char *const known_watchers[] = {"recidive", "banmesh-fail2ban"};

/* One of these in a journal match: only what fail2ban logged. */
static const char *const own_terms[] = {
    "_SYSTEMD_UNIT=fail2ban.service",
    "_COMM=fail2ban-server",
    "SYSLOG_IDENTIFIER=fail2ban-server",
    "SYSLOG_IDENTIFIER=fail2ban",
};

static bool is_one_of(const char *word, const char *const words[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* The file itself, or one that rotation made of it. */
static bool is_own_log(const char *target, const char *path)
{
    size_t length = strlen(target);
    return *target == '/' && strncmp(path, target, length) == 0 &&
           (path[length] == '\0' || path[length] == '.');
}

/* Terms in a row restrict each other; what stands behind a "+" is matched besides. */
static bool is_own_match(const char *match)
{
    char copy[HELPER_SOURCE_MAX + 1];
    char *rest = copy;
    bool own = false;
    snprintf(copy, sizeof copy, "%s", match);
    for (char *term = strsep(&rest, " "); term != NULL; term = strsep(&rest, " ")) {
        if (strcmp(term, "+") == 0 && !own)
            return false;
        if (strcmp(term, "+") == 0)
            own = false;
        else
            own = own || is_one_of(term, own_terms, sizeof own_terms / sizeof own_terms[0]);
    }
    return own;
}

void jail_facts_add(jail_facts_t *self, const char *target, helper_source_t kind,
                    const char *source)
{
    bool own = kind == HELPER_LOG ? is_own_log(target, source) : is_own_match(source);
    switch (kind) {
    case HELPER_LOG:
    case HELPER_JOURNAL:
        self->reads_own = self->reads_own || own;
        self->reads_others = self->reads_others || !own;
        break;
    case HELPER_ACTION:
        self->publishes = self->publishes || strcmp(source, OUR_ACTION) == 0;
        break;
    case HELPER_NOTHING:
    case HELPER_TARGET:
        break;
    }
}

bool jail_facts_watches(const jail_facts_t *self)
{
    return self->reads_own && !self->reads_others;
}

bool jail_facts_is_known_watcher(const char *name)
{
    return is_one_of(name, known_watchers, sizeof known_watchers / sizeof known_watchers[0]);
}
