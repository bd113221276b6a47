#include "shared_log.h"

#include "recent.h"
#include "shared_carry.h"
#include "shared_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODE  0640
#define TRIES_MAX 5 /* who rotates faster than we follow is not a rotation */

/* fail2ban compares the first line of a file that did not become shorter than what it has read only
 * after so long, and then only if something is written. */
#define NUDGE_MS 31000

/* The file that has the name, or had it. */
typedef struct {
    int fd;    /* -1: none */
    off_t end; /* of what we know to be in it; less: it was truncated */
    bool torn; /* it may end inside a line */
} file_t;

struct shared_log {
    char *path;
    file_t file;
    char *text; /* whole lines to be written */
    size_t used;
    size_t size;
    wall_t stamp; /* of the last line added */
    recent_t *recent;
    mono_t nudge_at; /* 0: not at all */
    shared_log_counts_t counts;
    shared_log_wanted_fn *wanted; /* NULL: all are */
    void *arg;
};

shared_log_t *shared_log_new(const char *path)
{
    shared_log_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    self->file.fd = -1;
    self->recent = recent_new();
    return self;
}

void shared_log_destroy(shared_log_t **self_p)
{
    shared_log_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->file.fd != -1)
        close(self->file.fd);
    recent_destroy(&self->recent);
    free(self->text);
    free(self->path);
    free(self);
}

const shared_log_counts_t *shared_log_counts(const shared_log_t *self)
{
    return &self->counts;
}

void shared_log_add(shared_log_t *self, const shared_line_t *line, wall_t now)
{
    if (self->size - self->used < SHARED_LINE_MAX) {
        self->size = self->size * 2 + SHARED_LINE_MAX;
        self->text = xrealloc(self->text, self->size);
    }
    self->used += shared_line_format(line, now, self->text + self->used);
    self->stamp = now;
}

void shared_log_clear(shared_log_t *self)
{
    self->used = 0;
}

/* ---- writing ---- */

/* A crash in the middle of a write leaves a line without its end: the next one must not join it. */
static bool ends_inside_a_line(int fd, off_t size)
{
    char last = '\n';
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/* All of it or nothing, behind what is there. 0, or -1 and errno. */
static int append(file_t *file, const char *text, size_t size)
{
    struct stat before;
    if (fstat(file->fd, &before) == -1)
        return -1;
    file->torn = file->torn || before.st_size != file->end;
    if (file->torn && ends_inside_a_line(file->fd, before.st_size)) {
        if (write(file->fd, "\n", 1) != 1)
            return -1;
        before.st_size++;
    }
    ssize_t written = write(file->fd, text, size);
    file->torn = written != (ssize_t)size;
    if (!file->torn) {
        file->end = before.st_size + written;
        return 0;
    }
    int saved = written == -1 ? errno : ENOSPC;
    /* A line cut short would join the next one. */
    if (written > 0 && ftruncate(file->fd, before.st_size) == -1)
        saved = errno;
    errno = saved;
    return -1;
}

static uint64_t count_lines(const char *text, size_t size)
{
    uint64_t lines = 0;
    for (const char *p = text; (p = memchr(p, '\n', size - (size_t)(p - text))) != NULL; p++)
        lines++;
    return lines;
}

void shared_log_filter(shared_log_t *self, shared_log_wanted_fn *wanted, void *arg)
{
    self->wanted = wanted;
    self->arg = arg;
}

/* Returns the bytes of the lines that may be written again. */
static size_t choose(const shared_log_t *self, const char *text, size_t size, char *out)
{
    size_t used = 0;
    const char *end;
    for (const char *line = text; (end = memchr(line, '\n', size - (size_t)(line - text))) != NULL;
         line = end + 1) {
        addr_t address;
        size_t length = (size_t)(end - line);
        if (self->wanted != NULL && shared_line_address(line, length, &address) &&
            !self->wanted(self->arg, &address))
            continue;
        memcpy(out + used, line, length + 1);
        used += length + 1;
    }
    return used;
}

static int append_chosen(shared_log_t *self, file_t *file, const char *text, size_t size)
{
    struct stat before;
    char head[SHARED_LINE_MAX];
    if (fstat(file->fd, &before) == -1 ||
        (before.st_size == 0 &&
         append(file, head, shared_line_format_head(wall_now(), head)) == -1) ||
        append(file, text, size) == -1)
        return -1;
    self->counts.lines_again += count_lines(text, size);
    return 0;
}

/* Lines that were written before, at the start of a file or behind what is there. */
static int append_again(shared_log_t *self, file_t *file, const char *text, size_t size)
{
    char *chosen = xmalloc(size);
    int rc = append_chosen(self, file, chosen, choose(self, text, size, chosen));
    int saved = errno;
    free(chosen);
    errno = saved;
    return rc;
}

typedef struct {
    shared_log_t *log;
    file_t *file;
} copy_t;

static int copy_piece(void *arg, const shared_piece_t *piece)
{
    copy_t *copy = arg;
    return append_again(copy->log, copy->file, piece->text, piece->size);
}

/* Lines of one file behind what is in another, or in the same, synced. 0, or -1 and errno. */
static int copy_lines(shared_log_t *self, off_t from, off_t until, file_t *to)
{
    copy_t copy = {self, to};
    if (shared_carry(self->file.fd, from, until, copy_piece, &copy) == -1)
        return -1;
    return from < until ? fdatasync(to->fd) : 0;
}

/* ---- following a rotation ---- */

/* Lines are on disk only once the name of their file is, whoever made it. A directory that is not
 * ours to open, or that cannot be synced, is its owner's choice. */
static int sync_name(const shared_log_t *self)
{
    char *directory = xstrdup(self->path);
    char *slash = strrchr(directory, '/');
    if (slash != NULL)
        slash[slash == directory] = '\0';
    int fd = open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd == -1)
        return errno == EACCES ? 0 : -1;
    int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
    close(fd);
    return rc;
}

/* 0, or -1 and errno. */
static int open_named(const shared_log_t *self, file_t *file)
{
    struct stat found;
    file->fd = open(self->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, LOG_MODE);
    if (file->fd == -1)
        return -1;
    file->end = fstat(file->fd, &found) == 0 ? found.st_size : 0;
    file->torn = true;
    if (sync_name(self) == 0)
        return 0;
    int saved = errno;
    close(file->fd);
    file->fd = -1;
    errno = saved;
    return -1;
}

/* Rotation renames the file: ours is then no longer the one behind the name. */
static bool is_renamed(const shared_log_t *self, const struct stat *own)
{
    struct stat named;
    return stat(self->path, &named) == -1 || own->st_ino != named.st_ino ||
           own->st_dev != named.st_dev;
}

/* Take the last lines over into the file that has the name now. Until that is done we stay with the
 * old one. */
static int move_over(shared_log_t *self, wall_t since)
{
    file_t file;
    struct stat old;
    if (open_named(self, &file) == -1)
        return -1;
    off_t from = fstat(self->file.fd, &old) == 0 ? shared_tail_since(self->file.fd, since) : -1;
    if (from == -1 || copy_lines(self, from, old.st_size, &file) == -1) {
        int saved = errno;
        close(file.fd);
        errno = saved;
        return -1;
    }
    close(self->file.fd);
    self->file = file;
    self->counts.renamed++;
    return 0;
}

static int write_recent(shared_log_t *self, wall_t since)
{
    for (const recent_lines_t *lines = recent_after(self->recent, since); lines != NULL;
         lines = lines->next)
        if (append_again(self, &self->file, lines->text, lines->size) == -1)
            return -1;
    self->nudge_at = (mono_t){mono_now().ms + NUDGE_MS};
    self->counts.truncated++;
    return fdatasync(self->file.fd);
}

static int remember(void *arg, const shared_piece_t *piece)
{
    recent_add(arg, piece->text, piece->size, piece->stamp, (wall_t){INT64_MIN});
    return 0;
}

/* The run before may have ended before it nudged. */
static bool has_new_head(int fd)
{
    char text[SHARED_LINE_MAX];
    wall_t stamp;
    ssize_t got = pread(fd, text, sizeof text, 0);
    const char *end = got > 0 ? memchr(text, '\n', (size_t)got) : NULL;
    return end != NULL && shared_line_parse_head(text, (size_t)(end - text), &stamp) &&
           stamp.ms > wall_now().ms - 2 * NUDGE_MS;
}

/* The first time: what the run before wrote last may be cut off, too. */
static int begin(shared_log_t *self, wall_t since)
{
    if (open_named(self, &self->file) == -1)
        return -1;
    if (has_new_head(self->file.fd))
        self->nudge_at = (mono_t){mono_now().ms + NUDGE_MS};
    off_t from = shared_tail_since(self->file.fd, since);
    if (from != -1)
        shared_carry(self->file.fd, from, self->file.end, remember, self->recent);
    return 0;
}

/* Have the file that has the name, whole. 0, or -1 and errno. */
static int follow(shared_log_t *self, wall_t since)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct stat own;
        if (self->file.fd == -1)
            return begin(self, since);
        if (fstat(self->file.fd, &own) == -1)
            return -1;
        if (is_renamed(self, &own)) {
            if (move_over(self, since) == -1)
                return -1;
        } else if (own.st_size < self->file.end) {
            self->file.end = own.st_size;
            self->file.torn = true;
            if (write_recent(self, since) == -1) {
                self->file.end = INT64_MAX; /* again */
                return -1;
            }
        } else
            return 0;
    }
    return 0;
}

/* fail2ban, if it has not noticed that the file was truncated, does at the next write. */
static int nudge(shared_log_t *self)
{
    if (self->nudge_at.ms == 0 || mono_now().ms < self->nudge_at.ms)
        return 0;
    self->nudge_at.ms = 0;
    return append(&self->file, "\n", 1);
}

int shared_log_check(shared_log_t *self, wall_t since, fault_t *fault)
{
    if (follow(self, since) == 0 && nudge(self) == 0)
        return 0;
    return fault_set(fault, "%s: %s", self->path, strerror(errno));
}

int shared_log_write(shared_log_t *self, wall_t since, fault_t *fault)
{
    if (self->used == 0)
        return 0;
    if (follow(self, since) == -1 || append(&self->file, self->text, self->used) == -1 ||
        fdatasync(self->file.fd) == -1)
        return fault_set(fault, "%s: %s", self->path, strerror(errno));
    recent_add(self->recent, self->text, self->used, self->stamp, since);
    /* It may have been rotated between our look and our lines. */
    if (follow(self, since) == -1)
        return fault_set(fault, "%s: %s", self->path, strerror(errno));
    self->used = 0;
    return 0;
}

int shared_log_again(shared_log_t *self, wall_t since, fault_t *fault)
{
    struct stat own;
    off_t from = -1;
    if (follow(self, since) == 0 && fstat(self->file.fd, &own) == 0 &&
        (from = shared_tail_since(self->file.fd, since)) != -1 &&
        copy_lines(self, from, own.st_size, &self->file) == 0)
        return 0;
    return fault_set(fault, "%s: %s", self->path, strerror(errno));
}
