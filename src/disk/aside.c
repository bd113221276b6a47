#include "aside.h"

#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX     ".damaged-"
#define TRIES_MAX  100
#define STAMP_SIZE 32

/* The part of a path before its last slash, and the name behind it. */
static const char *split(const char *path, char directory[static PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        snprintf(directory, PATH_MAX, ".");
        return path;
    }
    snprintf(directory, PATH_MAX, "%.*s", (int)(slash - path), path);
    return slash + 1;
}

static int sync_directory(const char *path, fault_t *fault)
{
    char directory[PATH_MAX];
    split(path, directory);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd == -1 ? -1 : fsync(fd);
    if (rc == -1)
        fault_set(fault, "%s: %s", directory, strerror(errno));
    if (fd != -1)
        close(fd);
    return rc;
}

static int rename_one(const char *path, const char *to, const char *suffix, fault_t *fault)
{
    char old[PATH_MAX];
    char new[PATH_MAX];
    snprintf(old, sizeof old, "%s%s", path, suffix);
    snprintf(new, sizeof new, "%s%s", to, suffix);
    if (rename(old, new) == 0 || errno == ENOENT)
        return 0;
    return fault_set(fault, "%s: cannot be set aside as %s: %s", old, new, strerror(errno));
}

/* The database goes first: its log alone shows that this was interrupted, while a database without
 * its log would look like an older one that is in order. */
int aside_move(const char *path, const char *to, fault_t *fault)
{
    char shared[PATH_MAX];
    snprintf(shared, sizeof shared, "%s-shm", path);
    if (rename_one(path, to, "", fault) == -1 || rename_one(path, to, "-wal", fault) == -1)
        return -1;
    unlink(shared);
    return sync_directory(to, fault);
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)other, *(char *const *)one);
}

static void remove_both(const char *directory, const char *name)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    unlink(path);
    snprintf(path, sizeof path, "%s/%s-wal", directory, name);
    unlink(path);
}

/* A name is PREFIX and a time; what else an operator left there is not ours. */
static bool is_kept_one(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && name[length] != '\0' &&
           strspn(name + length, "0123456789-") == strlen(name + length);
}

static void remove_old_ones(const char *path)
{
    char directory[PATH_MAX];
    char prefix[NAME_MAX + 1];
    char **names = NULL;
    size_t count = 0;
    snprintf(prefix, sizeof prefix, "%s" SUFFIX, split(path, directory));
    DIR *stream = opendir(directory);
    if (stream == NULL)
        return;
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
        if (is_kept_one(entry->d_name, prefix)) {
            names = xrealloc(names, (count + 1) * sizeof *names);
            names[count++] = xstrdup(entry->d_name);
        }
    closedir(stream);
    if (count > 0)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        if (i >= ASIDE_KEPT)
            remove_both(directory, names[i]);
        free(names[i]);
    }
    free(names);
}

/* A name that is free, later than any that is there by the clock. */
static void choose_name(const char *path, char name[static PATH_MAX])
{
    time_t now = (time_t)(wall_now().ms / MS_PER_S);
    for (int i = 0; i < TRIES_MAX; i++) {
        char stamp[STAMP_SIZE];
        struct tm utc;
        time_t second = now + i;
        gmtime_r(&second, &utc);
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &utc);
        snprintf(name, PATH_MAX, "%s" SUFFIX "%s", path, stamp);
        if (access(name, F_OK) == -1)
            return;
    }
}

int aside_keep(const char *from, const char *path, char name[static PATH_MAX], fault_t *fault)
{
    choose_name(path, name);
    if (aside_move(from, name, fault) == -1)
        return -1;
    remove_old_ones(path);
    return 0;
}
