#include "descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>

void descriptors_raise(size_t most)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur >= most)
        return;
    limit.rlim_cur = limit.rlim_max < most ? limit.rlim_max : most;
    setrlimit(RLIMIT_NOFILE, &limit); /* fails if it must not: then it is what it was */
}

size_t descriptors_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

size_t descriptors_open(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return errno == EMFILE || errno == ENFILE ? descriptors_limit() : 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count - 1; /* that of the directory itself */
}
