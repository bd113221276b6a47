#include "shared_jail.h"

#include <string.h>
#include <sys/stat.h>

/* fail2ban may call it otherwise: a link, a doubled slash. */
static bool is_same_file(const char *one, const char *other)
{
    struct stat first;
    struct stat second;
    if (strcmp(one, other) == 0)
        return true;
    return stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

void shared_jail_add(shared_jail_t *self, const settings_t *settings, const jailer_source_t *source)
{
    bool is_shared = strcmp(source->jail, settings->shared.jail) == 0;
    bool reads = source->kind == HELPER_LOG && is_same_file(source->source, settings->shared.log);
    if (source->kind == HELPER_TARGET)
        return;
    self->is_there = self->is_there || is_shared;
    self->reads = self->reads || (is_shared && reads);
    if (reads && !is_shared)
        memcpy(self->reader, source->jail, sizeof self->reader);
}
