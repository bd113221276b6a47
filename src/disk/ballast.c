#include "ballast.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILE_NAME   "ballast"
#define BLOCK_BYTES 65536

/* Room beyond its whole size that there must be before it is made whole: more than it takes to run
 * into the end at once. */
#define SPARE_BYTES (2 * BALLAST_BYTES)

struct ballast {
    char *directory;
    char path[PATH_MAX];
};

ballast_t *ballast_new(const char *directory)
{
    ballast_t *self = xcalloc(1, sizeof *self);
    self->directory = xstrdup(directory);
    snprintf(self->path, sizeof self->path, "%s/" FILE_NAME, directory);
    return self;
}

void ballast_destroy(ballast_t **self_p)
{
    if (*self_p == NULL)
        return;
    free((*self_p)->directory);
    free(*self_p);
    *self_p = NULL;
}

static int64_t size_of(const ballast_t *self)
{
    struct stat status;
    return lstat(self->path, &status) == 0 ? status.st_size : 0;
}

/* What somebody who is not root can still write. */
static int64_t room(const ballast_t *self)
{
    struct statvfs status;
    if (statvfs(self->directory, &status) == -1)
        return 0;
    return (int64_t)status.f_bavail * (int64_t)status.f_frsize;
}

/* Bytes that no file system stores in less room than they take. */
static int write_noise(int fd, int64_t from, int64_t to)
{
    uint8_t block[BLOCK_BYTES];
    for (int64_t at = from; at < to; at += BLOCK_BYTES) {
        size_t size = to - at < BLOCK_BYTES ? (size_t)(to - at) : BLOCK_BYTES;
        randombytes_buf(block, size);
        if (pwrite(fd, block, size, at) != (ssize_t)size)
            return -1;
    }
    return fdatasync(fd);
}

/* Some file systems cannot promise room, only give it. */
static int allocate(int fd, int64_t from, int64_t to)
{
    if (fallocate(fd, 0, from, to - from) == 0)
        return 0;
    return errno == EOPNOTSUPP ? write_noise(fd, from, to) : -1;
}

/* Make it `size` long, if `beside` more can be had, too: tried, not only asked, since a quota does
 * not show in what the file system says of itself. */
static bool grow(const ballast_t *self, int64_t size, int64_t beside)
{
    int64_t had = size_of(self);
    if (room(self) < size - had + beside)
        return false;
    int fd = open(self->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return false;
    bool is_there = allocate(fd, had, size + beside) == 0;
    if (ftruncate(fd, is_there ? size : had) == -1) {
        unlink(self->path);
        is_there = false;
    }
    close(fd);
    return is_there;
}

bool ballast_fill(ballast_t *self)
{
    if (size_of(self) >= BALLAST_BYTES)
        return true;
    return grow(self, BALLAST_BYTES, SPARE_BYTES);
}

void ballast_drop(ballast_t *self)
{
    if (size_of(self) > BALLAST_REST_BYTES && truncate(self->path, BALLAST_REST_BYTES) == -1)
        unlink(self->path);
}

bool ballast_drop_rest(ballast_t *self)
{
    bool any = size_of(self) > 0;
    unlink(self->path);
    return any;
}

bool ballast_regain(ballast_t *self)
{
    if (grow(self, BALLAST_LEAST_BYTES, BALLAST_BYTES - BALLAST_LEAST_BYTES + BALLAST_GAIN_BYTES))
        return true;
    if (size_of(self) < BALLAST_REST_BYTES)
        grow(self, BALLAST_REST_BYTES, 0);
    return false;
}
