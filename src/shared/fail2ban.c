#include "fail2ban.h"

#include "log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NS_PER_S  1000000000
#define NS_PER_MS 1000000

/* After a start it works through the bans that it restores, and new ones wait behind them: then all
 * that came since it started is unsure, for so long. */
#define RESTORING_MS 3600000

struct fail2ban {
    char *path;
    bool has_pid_file; /* there was one: without it the socket alone says nothing */
    bool known;
    bool gone;
    fail2ban_id_t seen;
    wall_t seen_at;
    wall_t before; /* of the last one that ended */
};

fail2ban_t *fail2ban_new(const char *path)
{
    fail2ban_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    return self;
}

void fail2ban_destroy(fail2ban_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->path);
    free(*self_p);
    *self_p = NULL;
}

void fail2ban_set_path(fail2ban_t *self, const char *path)
{
    if (strcmp(self->path, path) == 0)
        return;
    free(self->path);
    self->path = xstrdup(path);
    self->known = self->gone = self->has_pid_file = false;
}

bool fail2ban_id_equal(const fail2ban_id_t *one, const fail2ban_id_t *other)
{
    return one->device == other->device && one->inode == other->inode &&
           one->started_ns == other->started_ns;
}

static fail2ban_id_t id_of(const struct stat *file)
{
    return (fail2ban_id_t){(int64_t)file->st_dev, (int64_t)file->st_ino,
                           (int64_t)file->st_mtim.tv_sec * NS_PER_S + file->st_mtim.tv_nsec};
}

void fail2ban_recall(fail2ban_t *self, const fail2ban_id_t *last, wall_t seen_at)
{
    self->known = last->inode != 0;
    self->seen = *last;
    self->seen_at = seen_at;
}

fail2ban_id_t fail2ban_last(const fail2ban_t *self)
{
    return self->seen;
}

static void note_end(fail2ban_t *self)
{
    int64_t ran_ms = self->seen_at.ms - self->seen.started_ns / NS_PER_MS;
    int64_t unsure_ms =
        ran_ms > FAIL2BAN_BEHIND_MS && ran_ms < RESTORING_MS ? ran_ms : FAIL2BAN_BEHIND_MS;
    self->before.ms = self->seen_at.ms - unsure_ms;
}

/* fail2ban.sock and fail2ban.pid. False: its name is another. */
static bool look_at_pid_file(const char *path, struct stat *file)
{
    static const char suffix[] = ".sock";
    char pid_file[PATH_MAX];
    size_t length = strlen(path);
    if (length < strlen(suffix) || length >= sizeof pid_file ||
        strcmp(path + length - strlen(suffix), suffix) != 0)
        return false;
    snprintf(pid_file, sizeof pid_file, "%.*s.pid", (int)(length - strlen(suffix)), path);
    return stat(pid_file, file) == 0;
}

/* False: it does not run. */
static bool find(fail2ban_t *self, fail2ban_id_t *id)
{
    struct stat socket;
    struct stat process;
    if (*self->path == '\0' || stat(self->path, &socket) == -1)
        return false;
    bool has_pid_file = look_at_pid_file(self->path, &process);
    *id = id_of(has_pid_file ? &process : &socket);
    if (!has_pid_file && self->has_pid_file)
        return false;
    self->has_pid_file = has_pid_file;
    return true;
}

bool fail2ban_look(fail2ban_t *self, wall_t now)
{
    fail2ban_id_t id = {0};
    bool there = find(self, &id);
    bool anew = there && self->known && (self->gone || !fail2ban_id_equal(&id, &self->seen));
    if (self->known && !self->gone && (!there || anew))
        note_end(self);
    if (there) {
        self->seen = id;
        self->seen_at = now;
        self->known = true;
    }
    self->gone = self->known && !there;
    return anew;
}

const char *fail2ban_state(const fail2ban_t *self)
{
    if (!self->known)
        return "not seen";
    return self->gone ? "gone" : "runs";
}

wall_t fail2ban_unsure(const fail2ban_t *self, wall_t now)
{
    return self->gone ? self->before : (wall_t){now.ms - FAIL2BAN_BEHIND_MS};
}

wall_t fail2ban_unsure_before(const fail2ban_t *self)
{
    return self->before;
}
