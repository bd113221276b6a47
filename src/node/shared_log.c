#include "shared_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODE 0640

struct shared_log {
    char *path;
    int fd;
    char *text; /* whole lines */
    size_t used;
    size_t size;
};

shared_log_t *shared_log_new(const char *path)
{
    shared_log_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    self->fd = -1;
    return self;
}

static void close_file(shared_log_t *self)
{
    if (self->fd != -1)
        close(self->fd);
    self->fd = -1;
}

void shared_log_destroy(shared_log_t **self_p)
{
    if (*self_p == NULL)
        return;
    close_file(*self_p);
    free((*self_p)->text);
    free((*self_p)->path);
    free(*self_p);
    *self_p = NULL;
}

void shared_log_add(shared_log_t *self, const shared_line_t *line, wall_t now)
{
    if (self->size - self->used < SHARED_LINE_MAX) {
        self->size = self->size * 2 + SHARED_LINE_MAX;
        self->text = xrealloc(self->text, self->size);
    }
    self->used += shared_line_format(line, now, self->text + self->used);
}

void shared_log_clear(shared_log_t *self)
{
    self->used = 0;
}

/* Rotation renames the file: ours is then no longer the one behind the name. */
static bool is_rotated(const shared_log_t *self)
{
    struct stat own;
    struct stat named;
    return fstat(self->fd, &own) == -1 || stat(self->path, &named) == -1 ||
           own.st_ino != named.st_ino || own.st_dev != named.st_dev;
}

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

static int open_file(shared_log_t *self)
{
    if (self->fd != -1 && is_rotated(self))
        close_file(self);
    if (self->fd != -1)
        return 0;
    self->fd = open(self->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, LOG_MODE);
    if (self->fd == -1 || sync_name(self) == 0)
        return self->fd == -1 ? -1 : 0;
    int saved = errno;
    close_file(self);
    errno = saved;
    return -1;
}

int shared_log_touch(shared_log_t *self, fault_t *fault)
{
    return open_file(self) == 0 ? 0 : fault_set(fault, "%s: %s", self->path, strerror(errno));
}

/* A crash in the middle of a write leaves a line without its end: the next one must not join it. */
static bool ends_inside_a_line(int fd, off_t size)
{
    char last = '\n';
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

int shared_log_write(shared_log_t *self, fault_t *fault)
{
    if (self->used == 0)
        return 0;
    struct stat before;
    if (open_file(self) == -1 || fstat(self->fd, &before) == -1)
        return fault_set(fault, "%s: %s", self->path, strerror(errno));
    if (ends_inside_a_line(self->fd, before.st_size) && write(self->fd, "\n", 1) != 1)
        return fault_set(fault, "%s: %s", self->path, strerror(errno));
    ssize_t written = write(self->fd, self->text, self->used);
    if (written == (ssize_t)self->used && fdatasync(self->fd) == 0) {
        self->used = 0;
        return 0;
    }
    int saved = written == -1 || written == (ssize_t)self->used ? errno : ENOSPC;
    /* A line cut short would join the next one. */
    if (written > 0 && written < (ssize_t)self->used && ftruncate(self->fd, before.st_size) == -1)
        saved = errno;
    close_file(self);
    return fault_set(fault, "%s: %s", self->path, strerror(saved));
}
