#include "crowd.h"

#include "cert.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char name[EVENT_NAME_MAX + 1];
    unsigned recent; /* let in of late: halved every CROWD_FADE_MS */
    bool kept_out;
    mono_t kept_out_at;
} entrant_t;

struct crowd {
    entrant_t *entrants;
    size_t count;
    mono_t faded_at;
    mono_t blamed_at; /* connections were made anew, and somebody was kept out */
    mono_t vain_at;   /* they were, and nobody was */
};

crowd_t *crowd_new(void)
{
    crowd_t *self = xcalloc(1, sizeof *self);
    mono_t now = mono_now();
    self->faded_at = now;
    self->blamed_at.ms = now.ms - CROWD_FADE_MS;
    self->vain_at.ms = now.ms - CROWD_UNKNOWN_MS;
    return self;
}

void crowd_destroy(crowd_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->entrants);
    free(*self_p);
    *self_p = NULL;
}

static entrant_t *entrant_of(crowd_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->entrants[i].name, name) == 0)
            return &self->entrants[i];
    self->entrants = xrealloc(self->entrants, (self->count + 1) * sizeof *self->entrants);
    entrant_t *entrant = &self->entrants[self->count++];
    *entrant = (entrant_t){.recent = 0};
    snprintf(entrant->name, sizeof entrant->name, "%s", name);
    return entrant;
}

static bool is_kept_out(const entrant_t *entrant, mono_t now)
{
    return entrant->kept_out && now.ms - entrant->kept_out_at.ms < CROWD_KEEP_OUT_MS;
}

bool crowd_admits(crowd_t *self, const char *name, mono_t now)
{
    entrant_t *entrant = entrant_of(self, name);
    if (is_kept_out(entrant, now))
        return false;
    entrant->kept_out = false;
    entrant->recent++;
    return true;
}

size_t crowd_room(size_t nodes, size_t limit)
{
    size_t needed = CROWD_FILES_OWN + CROWD_FILES_PER_NODE * nodes;
    size_t most = limit > CROWD_FILES_LEFT ? limit - CROWD_FILES_LEFT : limit;
    return needed < most ? needed : most;
}

/* Who left is forgotten. */
static void fade(crowd_t *self, mono_t now)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++) {
        self->entrants[i].recent /= 2;
        if (self->entrants[i].recent > 0 || is_kept_out(&self->entrants[i], now))
            self->entrants[kept++] = self->entrants[i];
    }
    self->count = kept;
}

static size_t keep_out(crowd_t *self, size_t open, mono_t now)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++) {
        entrant_t *entrant = &self->entrants[i];
        if (entrant->recent <= CROWD_PATIENCE)
            continue;
        log_warnx("peer %s: connected %u times of late, and %zu files are open: it is not let in "
                  "for %d minutes; the others connect anew",
                  entrant->name, entrant->recent, open, CROWD_KEEP_OUT_MS / 60000);
        entrant->recent = 0;
        entrant->kept_out = true;
        entrant->kept_out_at = now;
        count++;
    }
    return count;
}

bool crowd_look(crowd_t *self, size_t open, size_t room, mono_t now)
{
    if (now.ms - self->faded_at.ms >= CROWD_FADE_MS) {
        self->faded_at = now;
        fade(self, now);
    }
    if (open <= room || now.ms - self->blamed_at.ms < CROWD_FADE_MS)
        return false;
    if (keep_out(self, open, now) > 0) {
        self->blamed_at = now;
        return true;
    }
    /* Connections that are still in their handshake have no name. So an attempt in vain puts off
     * the next one in vain, not the one that finds who it is. */
    if (now.ms - self->vain_at.ms < CROWD_UNKNOWN_MS)
        return false;
    self->vain_at = now;
    log_warnx("%zu files are open, %zu should be enough, and no peer connected often: all "
              "connections are made anew; if that does not help, strangers hold some, or the "
              "limit of open files is too low",
              open, room);
    return true;
}
