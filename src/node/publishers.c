#include "publishers.h"

#include "log.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* Returns 0, or -1 if there is nobody of that name. */
static int find_user(const char *text, uid_t *out)
{
    char *end;
    const struct passwd *user = getpwnam(text);
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (user != NULL)
        *out = user->pw_uid;
    else if (isdigit((unsigned char)*text) && *end == '\0' && errno == 0 && number < UINT32_MAX)
        *out = (uid_t)number;
    else
        return -1;
    return 0;
}

static void warn_of(const char *name, size_t count)
{
    if (count == PUBLISHERS_MAX)
        log_warnx("publish / users: more than %d, \"%s\" is left out", PUBLISHERS_MAX, name);
    else
        log_warnx("publish / users: there is no user \"%s\"", name);
}

void publishers_set(publishers_t *self, const settings_t *settings, bool warn)
{
    const text_list_t *names = &settings->publish.users;
    self->count = self->stranger_count = 0;
    for (size_t i = 0; i < names->size; i++)
        if (self->count < PUBLISHERS_MAX &&
            find_user(names->items[i], &self->users[self->count]) == 0)
            self->count++;
        else if (warn)
            warn_of(names->items[i], self->count);
}

bool publishers_has(const publishers_t *self, uid_t user)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->users[i] == user)
            return true;
    return user == geteuid();
}

bool publishers_may_lift(uid_t user)
{
    return user == 0 || user == geteuid();
}

void publishers_warn(publishers_t *self, uid_t user)
{
    for (size_t i = 0; i < self->stranger_count; i++)
        if (self->strangers[i] == user)
            return;
    if (self->stranger_count == PUBLISHERS_STRANGERS_MAX)
        return;
    self->strangers[self->stranger_count++] = user;
    log_warnx("user %u may not hand in bans (publish / users)%s", (unsigned)user,
              self->stranger_count == PUBLISHERS_STRANGERS_MAX ? "; others are only counted" : "");
}
