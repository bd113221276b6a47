#include "damage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 512

size_t damage_size(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (size_t)status.st_size : 0;
}

static void change(const char *path, size_t at, size_t count, uint8_t mask)
{
    size_t size;
    char *bytes = support_read(path, &size);
    for (size_t i = at; i < at + count && i < size; i++)
        bytes[i] = (char)(bytes[i] ^ mask);
    support_write(path, bytes, size);
    free(bytes);
}

void damage_flip(const char *path, size_t at, uint8_t mask)
{
    assert_true(at < damage_size(path));
    change(path, at, 1, mask);
}

void damage_fill(const char *path, size_t at, size_t size)
{
    change(path, at, size, 0x5a);
}

void damage_cut(const char *path, size_t size)
{
    assert_int_equal(truncate(path, (off_t)size), 0);
}

void damage_text(const char *path, const char *text)
{
    size_t size;
    size_t length = strlen(text);
    size_t count = 0;
    char *bytes = support_read(path, &size);
    for (char *at = memmem(bytes, size, text, length); at != NULL;
         at = memmem(bytes, size, text, length)) {
        at[length / 2] = (char)(at[length / 2] ^ 0x10);
        count++;
    }
    support_write(path, bytes, size);
    free(bytes);
    if (count == 0)
        fail_msg("%s does not hold \"%s\"", path, text);
}

void damage_somehow(const char *path, uint64_t *random)
{
    size_t size = damage_size(path);
    if (size == 0)
        return;
    size_t at = support_random(random) % size;
    switch (support_random(random) % 6) {
    case 0:
    case 1:
        damage_flip(path, at, (uint8_t)(1U << support_random(random) % 8));
        break;
    case 2:
        damage_fill(path, at, support_random(random) % 64);
        break;
    case 3:
        damage_fill(path, at / DAMAGE_PAGE_BYTES * DAMAGE_PAGE_BYTES, DAMAGE_PAGE_BYTES);
        break;
    case 4:
        damage_cut(path, at);
        break;
    default:
        damage_cut(path, 0);
    }
}

void damage_copy(const char *from, const char *to)
{
    size_t size;
    if (!support_exists(from)) {
        unlink(to);
        return;
    }
    char *bytes = support_read(from, &size);
    support_write(to, bytes, size);
    free(bytes);
}

static void each_file(const char *directory, void (*call)(const char *path, void *arg), void *arg)
{
    char path[PATH_SIZE];
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_type == DT_REG)
            call(path, arg);
    }
    closedir(stream);
}

static void remove_file(const char *path, void *arg)
{
    (void)arg;
    unlink(path);
}

static void copy_into(const char *path, void *arg)
{
    char to[2 * PATH_SIZE];
    snprintf(to, sizeof to, "%s%s", (const char *)arg, strrchr(path, '/'));
    damage_copy(path, to);
}

void damage_copy_all(const char *from, const char *to)
{
    if (support_exists(to))
        each_file(to, remove_file, NULL);
    else
        support_make_directory(to);
    each_file(from, copy_into, (void *)(uintptr_t)to);
}

size_t damage_count(const char *directory, const char *prefix)
{
    size_t count = 0;
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(stream);
    return count;
}
