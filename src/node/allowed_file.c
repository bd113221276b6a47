#include "allowed_file.h"

#include "allowed.h"

#include <czmq.h>
#include <fcntl.h>
#include <sys/stat.h>

#define LINES_MAX 100000 /* more are left out: fail2ban has all of them read for each failure */

struct allowed_file {
    const graces_t *graces;
    judge_t *judge;
    char *path; /* "": none */
    bool is_due;
    uint64_t changes; /* of graces, as it was written last */
    int64_t next_end_ms;
    size_t count;
    fault_t fault; /* "": none */
};

static const char *path_of(const settings_t *settings)
{
    return settings->guard.local_allow != 0 ? settings->guard.allowed_file : "";
}

allowed_file_t *allowed_file_new(const graces_t *graces, judge_t *judge, const settings_t *settings)
{
    allowed_file_t *self = xcalloc(1, sizeof *self);
    self->graces = graces;
    self->judge = judge;
    self->path = xstrdup("");
    allowed_file_set(self, settings);
    /* What an earlier run wrote, before this was switched off. */
    if (*self->path == '\0' && *settings->guard.allowed_file != '\0')
        unlink(settings->guard.allowed_file);
    return self;
}

void allowed_file_destroy(allowed_file_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->path);
    free(*self_p);
    *self_p = NULL;
}

void allowed_file_set(allowed_file_t *self, const settings_t *settings)
{
    const char *path = path_of(settings);
    if (*self->path != '\0' && !streq(self->path, path))
        unlink(self->path);
    free(self->path);
    self->path = xstrdup(path);
    self->is_due = true;
}

/* ---- writing ---- */

static void write_lines(allowed_file_t *self, FILE *out, wall_t now)
{
    const grace_entry_t *entry;
    char line[ALLOWED_LINE_MAX];
    self->count = 0;
    self->next_end_ms = EVENT_FOREVER;
    fputs(ALLOWED_HEAD, out);
    for (size_t i = 0; (entry = graces_at(self->graces, i)) != NULL && self->count < LINES_MAX;
         i++) {
        if (!grace_entry_allows(entry, now) || !judge_believes(self->judge, entry->origin))
            continue;
        allowed_write_line(line, &entry->network, (entry->until_ms + MS_PER_S - 1) / MS_PER_S);
        fputs(line, out);
        self->count++;
        if (entry->until_ms < self->next_end_ms)
            self->next_end_ms = entry->until_ms;
    }
}

static int write_new(allowed_file_t *self, const char *path, wall_t now)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    FILE *out = fd != -1 && fchmod(fd, 0644) == 0 ? fdopen(fd, "w") : NULL;
    if (out == NULL) {
        int saved = errno;
        if (fd != -1)
            close(fd);
        errno = saved;
        return -1;
    }
    write_lines(self, out, now);
    bool is_whole = ferror(out) == 0;
    return fclose(out) == 0 && is_whole ? 0 : -1;
}

/* Nobody sees a half of it. What a crash takes is written at the next start. */
static int replace(allowed_file_t *self, wall_t now)
{
    char fresh[PATH_MAX];
    snprintf(fresh, sizeof fresh, "%s.new", self->path);
    if (write_new(self, fresh, now) == 0 && rename(fresh, self->path) == 0)
        return 0;
    int saved = errno;
    unlink(fresh);
    return fault_set(&self->fault, "guard / allowed-file: %s: %s", self->path, strerror(saved));
}

void allowed_file_tend(allowed_file_t *self, wall_t now)
{
    uint64_t changes = graces_allow_changes(self->graces);
    bool had_fault = self->fault.text[0] != '\0';
    if (!self->is_due && changes == self->changes && now.ms < self->next_end_ms)
        return;
    self->is_due = false;
    self->changes = changes;
    self->fault.text[0] = '\0';
    self->next_end_ms = EVENT_FOREVER;
    self->count = 0;
    if (*self->path == '\0' || replace(self, now) == 0)
        return;
    self->is_due = true;
    if (!had_fault)
        log_warnx("%s; this host's own jails do not hear of allowances", self->fault.text);
}

bool allowed_file_lags(const allowed_file_t *self)
{
    return self->fault.text[0] == '\0' && self->changes != graces_allow_changes(self->graces);
}

const fault_t *allowed_file_fault(const allowed_file_t *self)
{
    return self->fault.text[0] != '\0' ? &self->fault : NULL;
}

size_t allowed_file_count(const allowed_file_t *self)
{
    return self->count;
}
