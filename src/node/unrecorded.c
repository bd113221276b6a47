#include "unrecorded.h"

#include "fail2ban.h"
#include "shared_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A slice has about 4,600 lines at most, of 130 bytes or so. After a power loss several may lack
 * their rows. */
#define TAIL_BYTES (4 * 1024 * 1024)

/* Of the last minute. */
#define ROWS_MAX 65536

typedef struct {
    int64_t nid;
    int64_t stamp_ms; /* 0: it has its row */
    bool taken;
} entry_t;

struct unrecorded {
    entry_t *entries; /* by nid, then by stamp */
    size_t count;
    size_t size;
    size_t left;  /* of them that lack it */
    size_t taken; /* of these, since the last commit */
    wall_t newest;
    int64_t *lost; /* the rows of lines that do not stand */
    size_t lost_count;
    size_t lost_size;
};

static void add(void *arg, wall_t stamp, int64_t nid)
{
    unrecorded_t *self = arg;
    if (self->count == self->size) {
        self->size = self->size * 2 + 256;
        self->entries = xrealloc(self->entries, self->size * sizeof *self->entries);
    }
    self->entries[self->count++] = (entry_t){nid, stamp.ms, false};
    if (stamp.ms > self->newest.ms)
        self->newest = stamp;
}

static int compare(const void *one_p, const void *other_p)
{
    const entry_t *one = one_p;
    const entry_t *other = other_p;
    if (one->nid != other->nid)
        return one->nid < other->nid ? -1 : 1;
    return (one->stamp_ms > other->stamp_ms) - (one->stamp_ms < other->stamp_ms);
}

/* The first of the entries of a nid; their end if there is none. */
static size_t find(const unrecorded_t *self, int64_t nid)
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->entries[middle].nid < nid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A hold that ends after a line was stamped is of that line or of a later one: a ban's line is
 * written again only when its hold has ended. */
static void forget_committed(unrecorded_t *self, size_t i, int64_t until_ms)
{
    for (int64_t nid = self->entries[i].nid; i < self->count && self->entries[i].nid == nid; i++)
        if (until_ms > self->entries[i].stamp_ms)
            self->entries[i].stamp_ms = 0;
}

static void add_lost(unrecorded_t *self, int64_t id)
{
    if (self->lost_count == self->lost_size) {
        self->lost_size = self->lost_size * 2 + 64;
        self->lost = xrealloc(self->lost, self->lost_size * sizeof *self->lost);
    }
    self->lost[self->lost_count++] = id;
}

typedef struct {
    unrecorded_t *self;
    int64_t since_ms; /* lines written later should stand */
    int64_t bantime_ms;
    bool begun;
} meeting_t;

/* The newest first. */
static void meet_row(void *arg, int64_t id, int64_t nid, int64_t until_ms)
{
    meeting_t *meeting = arg;
    unrecorded_t *self = meeting->self;
    int64_t written_ms = until_ms - meeting->bantime_ms;
    size_t i = find(self, nid);
    if (!meeting->begun && written_ms - FAIL2BAN_BEHIND_MS > meeting->since_ms)
        meeting->since_ms = written_ms - FAIL2BAN_BEHIND_MS;
    meeting->begun = true;
    if (i < self->count && self->entries[i].nid == nid)
        forget_committed(self, i, until_ms);
    else if (written_ms > meeting->since_ms)
        add_lost(self, id);
}

/* Its line stands, and so it should. */
static void meet_gone(void *arg, int64_t id, int64_t nid, int64_t until_ms)
{
    unrecorded_t *self = arg;
    (void)id;
    size_t i = find(self, nid);
    if (i < self->count && self->entries[i].nid == nid)
        forget_committed(self, i, until_ms);
}

/* Their rows may have gone since. */
static void forget_old(unrecorded_t *self, int64_t before_ms)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].stamp_ms < before_ms)
            self->entries[i].stamp_ms = 0;
}

void unrecorded_clear(unrecorded_t *self)
{
    free(self->entries);
    self->entries = NULL;
    self->count = self->size = self->left = self->taken = 0;
}

/* Nearly always nothing is left, or nothing any more. */
static void settle(unrecorded_t *self)
{
    self->left = self->taken = 0;
    for (size_t i = 0; i < self->count; i++)
        self->left += self->entries[i].stamp_ms != 0;
    if (self->left == 0)
        unrecorded_clear(self);
}

/* Sets *from to where the tail begins. A log that is not there has no lines; -1: it cannot be read,
 * and nobody knows what stands in it. */
static int read_lines(unrecorded_t *self, const char *log, off_t *from)
{
    struct stat file;
    *from = 0;
    int fd = open(log, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return errno == ENOENT ? 0 : -1;
    int rc = -1;
    if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode)) {
        if (file.st_size > TAIL_BYTES)
            *from = file.st_size - TAIL_BYTES;
        rc = shared_tail_each(fd, *from, add, self);
    }
    close(fd);
    return rc;
}

unrecorded_t *unrecorded_new(const char *log, held_t *held, int64_t bantime_ms, wall_t now)
{
    unrecorded_t *self = xcalloc(1, sizeof *self);
    meeting_t meeting = {.self = self, .since_ms = INT64_MIN, .bantime_ms = bantime_ms};
    off_t from;
    if (read_lines(self, log, &from) == -1) {
        self->count = 0;
        return self;
    }
    /* Lines stand in the order of their stamps, but for some that were written again. */
    if (from > 0 && self->count > 0)
        meeting.since_ms = self->entries[0].stamp_ms;
    if (self->count > 0)
        qsort(self->entries, self->count, sizeof *self->entries, compare);
    /* The newest holds are those of the newest lines. Some lines may stand twice. */
    if (held_newest(held, 2 * self->count + ROWS_MAX, meet_row, &meeting) == -1 ||
        held_gone_each(held, meet_gone, self) == -1)
        self->count = self->lost_count = 0;
    forget_old(self, now.ms - HELD_GONE_MS);
    settle(self);
    return self;
}

void unrecorded_destroy(unrecorded_t **self_p)
{
    if (*self_p == NULL)
        return;
    unrecorded_clear(*self_p);
    free((*self_p)->lost);
    free(*self_p);
    *self_p = NULL;
}

size_t unrecorded_count(const unrecorded_t *self)
{
    return self->left;
}

const int64_t *unrecorded_lost(const unrecorded_t *self, size_t *count)
{
    *count = self->lost_count;
    return self->lost;
}

wall_t unrecorded_newest(const unrecorded_t *self)
{
    return self->newest;
}

int64_t unrecorded_take(unrecorded_t *self, int64_t nid, int64_t bantime_ms, wall_t now)
{
    int64_t stamp_ms = 0;
    for (size_t i = find(self, nid); i < self->count && self->entries[i].nid == nid; i++) {
        entry_t *entry = &self->entries[i];
        if (entry->stamp_ms == 0 || entry->taken)
            continue;
        stamp_ms = entry->stamp_ms; /* the last one is the newest */
        entry->taken = true;
        self->taken++;
    }
    return stamp_ms <= now.ms && stamp_ms + bantime_ms > now.ms ? stamp_ms : 0;
}

void unrecorded_commit(unrecorded_t *self)
{
    if (self->taken == 0)
        return;
    for (size_t i = 0; i < self->count; i++)
        if (self->entries[i].taken)
            self->entries[i].stamp_ms = 0;
    settle(self);
}

void unrecorded_take_back(unrecorded_t *self)
{
    for (size_t i = 0; i < self->count && self->taken > 0; i++)
        self->entries[i].taken = false;
    self->taken = 0;
}
