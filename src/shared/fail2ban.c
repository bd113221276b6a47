#include "fail2ban.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* At the pace of the log, its queue and its reading are behind by seconds. */
#define BEHIND_MS 60000
/* After a start it works through the bans that it restores, and new ones wait behind them: then all
 * that came since it started is unsure, for so long. */
#define RESTORING_MS 3600000

struct fail2ban {
    char *path;
    bool known;
    bool gone;
    struct stat seen;
    wall_t started_at;
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
    self->known = self->gone = false;
}

static bool is_same(const struct stat *one, const struct stat *other)
{
    return one->st_ino == other->st_ino && one->st_dev == other->st_dev &&
           one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
           one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

static void note_end(fail2ban_t *self)
{
    int64_t ran_ms = self->seen_at.ms - self->started_at.ms;
    int64_t unsure_ms = ran_ms > BEHIND_MS && ran_ms < RESTORING_MS ? ran_ms : BEHIND_MS;
    self->before.ms = self->seen_at.ms - unsure_ms;
}

bool fail2ban_look(fail2ban_t *self, wall_t now)
{
    struct stat file;
    bool there = *self->path != '\0' && stat(self->path, &file) == 0;
    bool anew = there && self->known && (self->gone || !is_same(&file, &self->seen));
    if (self->known && !self->gone && (!there || anew))
        note_end(self);
    if (there) {
        if (!self->known || anew)
            self->started_at.ms = (int64_t)file.st_mtim.tv_sec * MS_PER_S;
        self->seen = file;
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
    return self->gone ? self->before : (wall_t){now.ms - BEHIND_MS};
}

wall_t fail2ban_unsure_before(const fail2ban_t *self)
{
    return self->before;
}
