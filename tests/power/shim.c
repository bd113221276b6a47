/* shim - preloaded into a program (LD_PRELOAD): lists, in order, every change of files below a
 * directory, with its data, and every sync. tests/system/power.py plays the list back and leaves
 * out what was not synced, as a power loss would.
 *
 *   BANMESH_POWER_DIR   the directory, absolute and without links
 *   BANMESH_POWER_LOG   the list, outside of it. Processes add to the same list; each holds a lock
 *                       from before the change until it is listed, so the order is the real one
 *   BANMESH_POWER_KILL  KIND:WORD:N, e.g. S:own.db-wal:3: SIGKILL instead of the third sync of a
 *                       file that has this in its path
 *
 * A record is header_t, the path, the other path and the data. Also listed: what is answered on a
 * socket, and the exit status, since these are promises. Not seen: mapped memory, that is SQLite's
 * -shm files, which are passed over; they need not survive. Standard streams are passed over, too.
 * Every call goes to the kernel directly, past the C library. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    OPENED = 'O', /* perhaps made */
    WRITTEN = 'W',
    TRUNCATED = 'T',
    RENAMED = 'R',
    UNLINKED = 'U',
    LINKED = 'L',
    SYNCED = 'S',
    DIRECTORY_SYNCED = 'D',
    ANSWERED = 'A',
    EXITED = 'X',
};

typedef struct {
    char kind;
    uint8_t zero[3];
    uint16_t path_bytes;
    uint16_t other_bytes;
    uint32_t data_bytes;
    uint32_t pid;
    uint64_t inode;
    uint64_t number; /* offset, size or exit status */
} header_t;

static char root[PATH_MAX];
static int log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char kill_kind;
static char kill_word[64];
static unsigned kill_countdown;

static void list(const header_t *header, const char *path, const char *other, const void *data)
{
    header_t full = *header;
    full.pid = (uint32_t)getpid();
    full.path_bytes = (uint16_t)strlen(path);
    full.other_bytes = (uint16_t)strlen(other);
    struct iovec parts[] = {{&full, sizeof full},
                            {(void *)(uintptr_t)path, full.path_bytes},
                            {(void *)(uintptr_t)other, full.other_bytes},
                            {(void *)(uintptr_t)data, full.data_bytes}};
    int saved = errno;
    if (writev(log_fd, parts, 4) == -1)
        abort();
    errno = saved;
}

static void unlock(void)
{
    int saved = errno;
    flock(log_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = saved;
}

static void lock(char kind, const char *path)
{
    pthread_mutex_lock(&mutex);
    while (flock(log_fd, LOCK_EX) == -1)
        continue;
    if (kind == kill_kind && strstr(path, kill_word) != NULL && --kill_countdown == 0)
        kill(getpid(), SIGKILL);
}

static void note_exit(int status, void *arg)
{
    (void)arg;
    header_t header = {.kind = EXITED, .number = (uint64_t)status};
    lock(EXITED, "");
    list(&header, "", "", NULL);
    unlock();
}

__attribute__((constructor)) static void begin(void)
{
    const char *directory = getenv("BANMESH_POWER_DIR");
    const char *path = getenv("BANMESH_POWER_LOG");
    const char *end = getenv("BANMESH_POWER_KILL");
    if (directory == NULL || path == NULL)
        return;
    snprintf(root, sizeof root, "%s/", directory);
    log_fd =
        (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd == -1 || on_exit(note_exit, NULL) != 0)
        abort();
    if (end != NULL && sscanf(end, "%c:%63[^:]:%u", &kill_kind, kill_word, &kill_countdown) != 3)
        abort();
}

static bool is_listed(const char *path)
{
    size_t length = strlen(path);
    return strncmp(path, root, strlen(root)) == 0 &&
           !(length > 4 && strcmp(path + length - 4, "-shm") == 0);
}

static bool path_of(int fd, char out[static PATH_MAX])
{
    char link[32];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = fd > STDERR_FILENO && log_fd != -1 ? readlink(link, out, PATH_MAX - 1) : -1;
    errno = saved;
    if (length == -1)
        return false;
    out[length] = '\0';
    return is_listed(out);
}

static bool absolute(int dir_fd, const char *path, char out[static PATH_MAX])
{
    char directory[PATH_MAX];
    if (log_fd == -1)
        return false;
    if (path[0] == '/')
        snprintf(out, PATH_MAX, "%s", path);
    else if (dir_fd == AT_FDCWD || !path_of(dir_fd, directory) ||
             snprintf(out, PATH_MAX, "%s/%s", directory, path) >= PATH_MAX)
        return false; /* nothing of ours works in the current directory */
    return is_listed(out);
}

static uint64_t inode_of(int fd, struct stat *status)
{
    return fstat(fd, status) == 0 ? (uint64_t)status->st_ino : 0;
}

/* ---- files ---- */

static int open_any(int dir_fd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat status;
    if ((flags & (O_CREAT | O_TRUNC)) == 0 || !absolute(dir_fd, path, full))
        return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    lock(OPENED, full);
    int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    if (fd != -1) {
        header_t header = {.kind = OPENED, .inode = inode_of(fd, &status)};
        list(&header, full, "", NULL);
        header.kind = TRUNCATED;
        if ((flags & O_TRUNC) != 0)
            list(&header, full, "", NULL);
    }
    unlock();
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any(dir_fd, path, flags, mode);
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_any(dir_fd, path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    char path[PATH_MAX];
    struct stat status;
    if (!path_of(fd, path))
        return syscall(SYS_write, fd, bytes, size);
    lock(WRITTEN, path);
    header_t header = {.kind = WRITTEN, .inode = inode_of(fd, &status)};
    header.number = (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? (uint64_t)status.st_size
                                                         : (uint64_t)lseek(fd, 0, SEEK_CUR);
    ssize_t written = syscall(SYS_write, fd, bytes, size);
    header.data_bytes = written > 0 ? (uint32_t)written : 0;
    if (written > 0)
        list(&header, path, "", bytes);
    unlock();
    return written;
}

static ssize_t pwrite_any(int fd, const void *bytes, size_t size, off64_t offset)
{
    char path[PATH_MAX];
    struct stat status;
    if (!path_of(fd, path))
        return syscall(SYS_pwrite64, fd, bytes, size, offset);
    lock(WRITTEN, path);
    header_t header = {.kind = WRITTEN, .inode = inode_of(fd, &status), .number = (uint64_t)offset};
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, size, offset);
    header.data_bytes = written > 0 ? (uint32_t)written : 0;
    if (written > 0)
        list(&header, path, "", bytes);
    unlock();
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return pwrite_any(fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return pwrite_any(fd, bytes, size, offset);
}

static int truncate_any(int fd, off64_t size)
{
    char path[PATH_MAX];
    struct stat status;
    if (!path_of(fd, path))
        return (int)syscall(SYS_ftruncate, fd, size);
    lock(TRUNCATED, path);
    header_t header = {.kind = TRUNCATED, .inode = inode_of(fd, &status), .number = (uint64_t)size};
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0)
        list(&header, path, "", NULL);
    unlock();
    return rc;
}

int ftruncate(int fd, off_t size)
{
    return truncate_any(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return truncate_any(fd, size);
}

static int sync_any(long call, int fd)
{
    char path[PATH_MAX];
    struct stat status;
    if (!path_of(fd, path))
        return (int)syscall(call, fd);
    lock(SYNCED, path);
    header_t header = {.kind = SYNCED, .inode = inode_of(fd, &status)};
    int rc = (int)syscall(call, fd);
    if (S_ISDIR(status.st_mode))
        header.kind = DIRECTORY_SYNCED;
    if (rc == 0)
        list(&header, path, "", NULL);
    unlock();
    return rc;
}

int fsync(int fd)
{
    return sync_any(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_any(SYS_fdatasync, fd);
}

/* ---- names ---- */

static int rename_any(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    char full[PATH_MAX];
    char other[PATH_MAX];
    if (!absolute(from_fd, from, full) || !absolute(to_fd, to, other))
        return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    lock(RENAMED, full);
    header_t header = {.kind = RENAMED};
    int rc = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    if (rc == 0)
        list(&header, full, other, NULL);
    unlock();
    return rc;
}

int rename(const char *from, const char *to)
{
    return rename_any(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return rename_any(from_fd, from, to_fd, to, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return rename_any(from_fd, from, to_fd, to, flags);
}

static int link_any(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    char full[PATH_MAX];
    char other[PATH_MAX];
    if (!absolute(from_fd, from, full) || !absolute(to_fd, to, other))
        return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    lock(LINKED, full);
    header_t header = {.kind = LINKED};
    int rc = (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    if (rc == 0)
        list(&header, full, other, NULL);
    unlock();
    return rc;
}

int link(const char *from, const char *to)
{
    return link_any(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    return link_any(from_fd, from, to_fd, to, flags);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    char full[PATH_MAX];
    if (!absolute(dir_fd, path, full))
        return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    lock(UNLINKED, full);
    header_t header = {.kind = UNLINKED};
    int rc = (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    if (rc == 0)
        list(&header, full, "", NULL);
    unlock();
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

/* ---- promises ---- */

/* Listed before it is sent: from here on the other side may count on it. */
static void list_answer(const void *bytes, size_t size)
{
    if (log_fd == -1 || size <= 3 || memcmp(bytes, "ok ", 3) != 0)
        return;
    header_t header = {.kind = ANSWERED, .data_bytes = (uint32_t)size};
    lock(ANSWERED, "");
    list(&header, "", "", bytes);
    unlock();
}

/* Several answers may go together. */
ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    const char *line = bytes;
    const char *end = line + size;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *behind = newline != NULL ? newline : end;
        list_answer(line, (size_t)(behind - line));
        line = behind + 1;
    }
    return syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0);
}
