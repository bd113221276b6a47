#include "jail_health.h"

#include "attention.h"

#include <string.h>

#define UNSEEN_MS 60000

/* What is known of the shared jail. */
typedef enum {
    JAIL_READS = 0,   /* it is there, and reads the shared log */
    JAIL_UNKNOWN,     /* nobody could be asked yet */
    JAIL_NOT_WATCHED, /* shared / fail2ban is empty */
    JAIL_NOT_SEEN,    /* there was no fail2ban since the start */
    JAIL_DOWN,        /* fail2ban is gone */
    JAIL_UNREACHABLE, /* no word from the helper, or of fail2ban to it */
    JAIL_MISSING,     /* fail2ban runs without it */
    JAIL_NOT_READING, /* it is there, and reads something else */
    JAIL_STATE_COUNT,
} found_t;

static const char *const state_names[JAIL_STATE_COUNT] = {
    [JAIL_READS] = "reads",
    [JAIL_UNKNOWN] = "unknown",
    [JAIL_NOT_WATCHED] = "not-watched",
    [JAIL_NOT_SEEN] = "not-seen",
    [JAIL_DOWN] = "down",
    [JAIL_UNREACHABLE] = "unreachable",
    [JAIL_MISSING] = "missing",
    [JAIL_NOT_READING] = "not-reading",
};

static found_t find_state(const jail_health_t *self, const shared_jail_t *jail)
{
    const char *fail2ban = sink_fail2ban(self->sink);
    jailer_status_t last = jailer_last(self->jailer);
    if (*self->settings->shared.fail2ban == '\0')
        return JAIL_NOT_WATCHED;
    if (strcmp(fail2ban, "gone") == 0)
        return JAIL_DOWN;
    if (strcmp(fail2ban, "runs") != 0)
        return JAIL_NOT_SEEN;
    if (last != JAILER_OK && last != JAILER_REFUSED)
        return JAIL_UNREACHABLE;
    if (jail == NULL)
        return JAIL_UNKNOWN;
    if (!jail->is_there)
        return JAIL_MISSING;
    return jail->reads ? JAIL_READS : JAIL_NOT_READING;
}

static void tell_missing(const jail_health_t *self, const shared_jail_t *jail, json_t *status)
{
    const char *name = self->settings->shared.jail;
    const char *log = self->settings->shared.log;
    if (*jail->reader != '\0')
        attention_first(status,
                        "fail2ban has no jail \"%s\" (shared / jail), but \"%s\" reads %s: is that "
                        "its name?",
                        name, jail->reader, log);
    else
        attention_first(status,
                        "fail2ban has no jail \"%s\" (shared / jail): no ban of a peer holds here",
                        name);
}

static void tell(const jail_health_t *self, found_t state, const shared_jail_t *jail,
                 json_t *status)
{
    const settings_t *settings = self->settings;
    const fault_t *fault = jailer_fault(self->jailer);
    if (state == JAIL_DOWN)
        attention_first(status, "fail2ban does not run: bans and lifts of peers wait for it");
    else if (state == JAIL_NOT_SEEN && self->uptime_ms >= UNSEEN_MS)
        attention_first(status,
                        "no fail2ban was seen at %s (shared / fail2ban) since the start: whether "
                        "bans of peers hold is not known",
                        settings->shared.fail2ban);
    else if (state == JAIL_UNREACHABLE)
        attention_first(status,
                        "whether bans hold is not known, and nothing is let go of in the jail %s: "
                        "%s",
                        settings->shared.jail, fault != NULL ? fault->text : "no answer");
    else if (state == JAIL_MISSING)
        tell_missing(self, jail, status);
    else if (state == JAIL_NOT_READING)
        attention_first(status, "the jail \"%s\" does not read %s%s%s: no ban of a peer holds here",
                        settings->shared.jail, settings->shared.log,
                        *jail->reader != '\0' ? ", only the jail " : "", jail->reader);
    else if (fault != NULL) /* it is there, and says no */
        attention_first(status, "nothing is let go of in the jail %s: %s", settings->shared.jail,
                        fault->text);
}

void jail_health_status(const jail_health_t *self, json_t *status)
{
    int64_t asked_ms;
    const shared_jail_t *jail = watchers_shared(self->watchers, &asked_ms);
    found_t state = find_state(self, jail);
    json_object_set_new(status, "shared_jail",
                        json_pack("{s:s, s:s, s:o, s:o}", "jail", self->settings->shared.jail,
                                  "state", state_names[state], "asked_s_ago",
                                  jail != NULL ? json_integer(asked_ms / MS_PER_S) : json_null(),
                                  "other_reader",
                                  jail != NULL && *jail->reader != '\0' ? json_string(jail->reader)
                                                                        : json_null()));
    tell(self, state, jail, status);
}
