#include "spool.h"

#include "clock.h"
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPOOL_FILE     "spool"
#define SPOOL_TAKING   "spool.taking"
#define SPOOL_REJECTED "spool.rejected"
#define SPOOL_STRANGE  "spool.strange-"
#define SPOOL_MODE     0660
#define LOCK_TRIES_MAX 100
#define LINE_BYTES     (2 * REQUEST_LINE_MAX) /* longer than any record */
#define STEP_LINES     2048                   /* looked at in one step: some milliseconds */

#define REJECTED_MAX_BYTES (1024 * 1024)

static int fail(fault_t *fault, const char *directory, const char *file)
{
    return fault_set(fault, "%s/%s: %s", directory, file, strerror(errno));
}

static int open_directory(const char *directory, fault_t *fault)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        fault_set(fault, "%s: %s", directory, strerror(errno));
    return fd;
}

/* A link or a device in the spool's place is somebody's trick. */
static int check_file(int fd, const char *directory, const char *file, fault_t *fault)
{
    struct stat status;
    if (fstat(fd, &status) == -1)
        return fail(fault, directory, file);
    if (!S_ISREG(status.st_mode) || status.st_nlink > 1)
        return fault_set(fault, "%s/%s: expected a regular file with one name", directory, file);
    return 0;
}

static bool is_behind_name(int fd, int dir_fd, const char *file)
{
    struct stat own;
    struct stat named;
    return fstat(fd, &own) == 0 && fstatat(dir_fd, file, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           own.st_ino == named.st_ino && own.st_dev == named.st_dev;
}

/* Open the file and hold its lock; again if the node renamed it in between. */
static int open_locked(int dir_fd, const char *directory, fault_t *fault)
{
    for (int i = 0; i < LOCK_TRIES_MAX; i++) {
        int fd =
            openat(dir_fd, SPOOL_FILE,
                   O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, SPOOL_MODE);
        if (fd == -1)
            return fail(fault, directory, SPOOL_FILE);
        if (flock(fd, LOCK_EX) == 0 && is_behind_name(fd, dir_fd, SPOOL_FILE))
            return fd;
        close(fd);
    }
    return fault_set(fault, "%s/%s: cannot be locked", directory, SPOOL_FILE);
}

/* After a torn record (power loss) the next one begins on a line of its own. */
static bool needs_newline(int fd, off_t size)
{
    char last = '\n';
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

static int write_record(int fd, int dir_fd, const char *record, size_t length)
{
    char bytes[REQUEST_RECORD_MAX + 1];
    off_t size = lseek(fd, 0, SEEK_END);
    size_t used = 0;
    if (size == -1)
        return -1;
    if (needs_newline(fd, size))
        bytes[used++] = '\n';
    memcpy(bytes + used, record, length);
    used += length;
    /* The hooks of other users and the node share the file, whatever the umask was. */
    if (size == 0 && fchmod(fd, SPOOL_MODE) == -1 && errno != EPERM)
        return -1;
    ssize_t written = write(fd, bytes, used);
    if (written != (ssize_t)used) {
        int saved = written == -1 ? errno : ENOSPC;
        if (ftruncate(fd, size) == -1)
            saved = errno;
        errno = saved;
        return -1;
    }
    /* The name must be on disk, too, also if another hook made it: that one may have been killed
     * before it came here. */
    return fsync(fd) == 0 && fsync(dir_fd) == 0 ? 0 : -1;
}

int spool_append(const char *directory, const char *line, fault_t *fault)
{
    char record[REQUEST_RECORD_MAX];
    size_t length = request_record_format(line, record);
    int dir_fd = open_directory(directory, fault);
    if (dir_fd == -1)
        return -1;
    int fd = open_locked(dir_fd, directory, fault);
    int rc = fd;
    if (fd != -1) {
        rc = check_file(fd, directory, SPOOL_FILE, fault);
        if (rc == 0 && write_record(fd, dir_fd, record, length) == -1)
            rc = fail(fault, directory, SPOOL_FILE);
        flock(fd, LOCK_UN); /* close () wakes the node before it lets go of the lock */
        close(fd);
    }
    close(dir_fd);
    return rc;
}

/* ---- lines ---- */

typedef struct {
    const char *text;
    size_t length;
    bool is_piece; /* of a line that is longer than any record */
    bool ends;     /* the line */
} line_t;

/* Bounded: whoever may write into the directory may write a line without end. */
typedef struct {
    int fd;
    bool in_long_line;
    size_t at;
    size_t used;
    char bytes[LINE_BYTES];
} reader_t;

static int cut_line(reader_t *self, size_t length, bool ends, line_t *line)
{
    *line = (line_t){self->bytes + self->at, length, self->in_long_line || !ends, ends};
    self->in_long_line = !ends;
    self->at += length;
    return 1;
}

/* Returns 1 with a line or a piece of one, until the next call; 0 at the end; -1 and errno. */
static int next_line(reader_t *self, line_t *line)
{
    for (;;) {
        size_t left = self->used - self->at;
        const char *newline = memchr(self->bytes + self->at, '\n', left);
        if (newline != NULL) {
            cut_line(self, (size_t)(newline - self->bytes) - self->at, true, line);
            self->at++;
            return 1;
        }
        if (left == sizeof self->bytes)
            return cut_line(self, left, false, line);
        memmove(self->bytes, self->bytes + self->at, left);
        self->at = 0;
        self->used = left;
        ssize_t got = read(self->fd, self->bytes + left, sizeof self->bytes - left);
        if (got == -1)
            return -1;
        if (got == 0)
            return left > 0 || self->in_long_line ? cut_line(self, left, true, line) : 0;
        self->used += (size_t)got;
    }
}

/* ---- taking ---- */

struct spool_taker {
    char *directory;
    spool_take_fn *take;
    void *arg;
    int fd;              /* of the file at hand; -1: none */
    bool good_ones_done; /* what is left to do is to keep the others */
    int rejected_fd;     /* where they go; -1: not begun */
    off_t rejected_size; /* before */
    uint64_t bad;
    request_t requests[SPOOL_GROUP_MAX];
    size_t count;
    reader_t reader;
    /* Of the step at hand: */
    int dir_fd;
    spool_result_t *result;
    fault_t *fault;
};

/* From the beginning of the file at hand. */
static void rewind_reader(spool_taker_t *self)
{
    self->reader.fd = self->fd;
    self->reader.at = self->reader.used = 0;
    self->reader.in_long_line = false;
}

static void close_rejected(spool_taker_t *self)
{
    if (self->rejected_fd != -1)
        close(self->rejected_fd);
    self->rejected_fd = -1;
}

static void put_down(spool_taker_t *self)
{
    close_rejected(self);
    if (self->fd != -1)
        close(self->fd);
    self->fd = -1;
    self->count = 0;
    self->bad = 0;
    self->good_ones_done = false;
}

/* What is no spool cannot be taken, and would stop those that are: out of the way, for the operator
 * to look at. Returns 0 also if there is nothing. */
static int move_strange(spool_taker_t *self, const char *file)
{
    struct stat status;
    char name[NAME_MAX];
    if (fstatat(self->dir_fd, file, &status, AT_SYMLINK_NOFOLLOW) == -1)
        return errno == ENOENT ? 0 : fail(self->fault, self->directory, file);
    if (S_ISREG(status.st_mode) && status.st_nlink == 1)
        return 0;
    /* Two of them within one millisecond: the second must not take the first one's name. */
    for (int64_t stamp = wall_now().ms;; stamp++) {
        snprintf(name, sizeof name, SPOOL_STRANGE "%" PRId64, stamp);
        if (renameat2(self->dir_fd, file, self->dir_fd, name, RENAME_NOREPLACE) == 0)
            break;
        if (errno != EEXIST)
            return fail(self->fault, self->directory, file);
    }
    self->result->moved++;
    return 0;
}

static int hand_over(spool_taker_t *self)
{
    if (self->count > 0 && self->take(self->arg, self->requests, self->count) == -1)
        return fault_set(self->fault, "%s: spooled bans cannot be stored now", self->directory);
    self->result->taken += self->count;
    self->count = 0;
    return 0;
}

/* Returns 1 for a record, with its request; 0 for nothing; -1 for what is damaged. */
static int read_record(const line_t *line, request_t *request)
{
    fault_t why;
    if (line->is_piece)
        return -1;
    if (line->length == 0)
        return 0;
    return request_record_parse(line->text, line->length, request, &why) == 0 ? 1 : -1;
}

/* All of it is stored, or kept: the next file may come. */
static int finish(spool_taker_t *self)
{
    if (unlinkat(self->dir_fd, SPOOL_TAKING, 0) == -1)
        return fail(self->fault, self->directory, SPOOL_TAKING);
    self->result->rejected += self->bad;
    put_down(self);
    return 1;
}

static int take_some(spool_taker_t *self)
{
    line_t line;
    int rc = 1;
    if (self->count == SPOOL_GROUP_MAX && hand_over(self) == -1)
        return -1; /* again */
    for (int i = 0; i < STEP_LINES && (rc = next_line(&self->reader, &line)) == 1; i++) {
        int kind = read_record(&line, &self->requests[self->count]);
        self->bad += kind == -1 && line.ends;
        if (kind == 1 && ++self->count == SPOOL_GROUP_MAX)
            return hand_over(self) == -1 ? -1 : 1;
    }
    if (rc == 1)
        return 1;
    if (rc == -1)
        return fail(self->fault, self->directory, SPOOL_TAKING);
    if (hand_over(self) == -1)
        return -1;
    self->good_ones_done = true;
    return self->bad == 0 ? finish(self) : 1;
}

static int keep_line(int fd, const line_t *line)
{
    struct stat status;
    if (fstat(fd, &status) == -1)
        return -1;
    if (status.st_size + (off_t)line->length >= REJECTED_MAX_BYTES)
        return 0;
    if (write(fd, line->text, line->length) != (ssize_t)line->length)
        return -1;
    return !line->ends || write(fd, "\n", 1) == 1 ? 0 : -1;
}

/* Kept for the operator: it may be a ban that somebody can still read. Only once the good ones are
 * stored, so that a crash before that leaves nothing twice. */
static int begin_rejecting(spool_taker_t *self)
{
    if (move_strange(self, SPOOL_REJECTED) == -1)
        return -1;
    self->rejected_fd =
        openat(self->dir_fd, SPOOL_REJECTED,
               O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0660);
    if (self->rejected_fd == -1)
        return fail(self->fault, self->directory, SPOOL_REJECTED);
    self->rejected_size = lseek(self->rejected_fd, 0, SEEK_END);
    rewind_reader(self);
    if (self->rejected_size == -1 || lseek(self->fd, 0, SEEK_SET) == -1)
        return fail(self->fault, self->directory, SPOOL_REJECTED);
    return check_file(self->rejected_fd, self->directory, SPOOL_REJECTED, self->fault);
}

/* Returns 1: there is more; 0: all are kept, on disk; -1 and errno. */
static int keep_some(spool_taker_t *self)
{
    line_t line;
    request_t request;
    int rc = 1;
    for (int i = 0; i < STEP_LINES && (rc = next_line(&self->reader, &line)) == 1; i++)
        if (read_record(&line, &request) == -1 && keep_line(self->rejected_fd, &line) == -1)
            return -1;
    return rc == 0 ? fsync(self->rejected_fd) : rc;
}

static int reject_some(spool_taker_t *self)
{
    if (self->rejected_fd == -1 && begin_rejecting(self) == -1) {
        close_rejected(self);
        return -1;
    }
    int rc = keep_some(self);
    if (rc == 0)
        return finish(self);
    if (rc == 1)
        return 1;
    /* All of it is tried again: none of it may stand there twice. */
    fail(self->fault, self->directory, SPOOL_REJECTED);
    if (ftruncate(self->rejected_fd, self->rejected_size) == -1)
        fail(self->fault, self->directory, SPOOL_REJECTED);
    close_rejected(self);
    return -1;
}

/* Returns 1 if there is one; 0 and -1 as spool_take. */
static int open_taking(spool_taker_t *self)
{
    if (move_strange(self, SPOOL_TAKING) == -1)
        return -1;
    int fd = openat(self->dir_fd, SPOOL_TAKING, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd == -1)
        return errno == ENOENT ? 0 : fail(self->fault, self->directory, SPOOL_TAKING);
    if (check_file(fd, self->directory, SPOOL_TAKING, self->fault) == -1) {
        close(fd);
        return -1;
    }
    self->fd = fd;
    rewind_reader(self);
    return 1;
}

/* Set the file aside, so that writers go on with a new one. Returns 1 if there was one. */
static int set_aside(spool_taker_t *self)
{
    if (move_strange(self, SPOOL_FILE) == -1)
        return -1;
    int fd = openat(self->dir_fd, SPOOL_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd == -1)
        return errno == ENOENT ? 0 : fail(self->fault, self->directory, SPOOL_FILE);
    int rc = 1;
    if (check_file(fd, self->directory, SPOOL_FILE, self->fault) == -1)
        rc = -1;
    else if (flock(fd, LOCK_EX | LOCK_NB) == -1)
        /* A hook is at it: later. Waiting would give whoever holds the lock the whole node. */
        rc = errno == EWOULDBLOCK ? 0 : fail(self->fault, self->directory, SPOOL_FILE);
    else if (renameat(self->dir_fd, SPOOL_FILE, self->dir_fd, SPOOL_TAKING) == -1)
        rc = fail(self->fault, self->directory, SPOOL_FILE);
    close(fd);
    return rc;
}

/* A file left over from before, or the one that grows. */
static int pick_up(spool_taker_t *self)
{
    int rc = open_taking(self);
    if (rc == 0)
        rc = set_aside(self);
    else
        return rc;
    return rc == 1 ? open_taking(self) : rc;
}

int spool_take(spool_taker_t *self, spool_result_t *result, fault_t *fault)
{
    self->result = result;
    self->fault = fault;
    self->dir_fd = open_directory(self->directory, fault);
    if (self->dir_fd == -1)
        return -1;
    if (self->fd != -1 && !is_behind_name(self->fd, self->dir_fd, SPOOL_TAKING))
        put_down(self); /* somebody took it away */
    int rc = self->fd == -1 ? pick_up(self) : 1;
    if (rc == 1)
        rc = self->good_ones_done ? reject_some(self) : take_some(self);
    close(self->dir_fd);
    return rc;
}

spool_taker_t *spool_taker_new(const char *directory, spool_take_fn *take, void *arg)
{
    spool_taker_t *self = xcalloc(1, sizeof *self);
    self->directory = xstrdup(directory);
    self->take = take;
    self->arg = arg;
    self->fd = self->rejected_fd = -1;
    return self;
}

void spool_taker_destroy(spool_taker_t **self_p)
{
    if (*self_p == NULL)
        return;
    put_down(*self_p);
    free((*self_p)->directory);
    free(*self_p);
    *self_p = NULL;
}
