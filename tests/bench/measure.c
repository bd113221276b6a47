#include "measure.h"

#include "log.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

void pause_ms(int64_t ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&rest, NULL);
}

void series_add(series_t *series, int64_t ns)
{
    series->ns = xrealloc(series->ns, (series->count + 1) * sizeof *series->ns);
    series->ns[series->count++] = ns;
}

static int compare(const void *one_p, const void *other_p)
{
    int64_t one = *(const int64_t *)one_p;
    int64_t other = *(const int64_t *)other_p;
    return (one > other) - (one < other);
}

/* The smallest sample that at least that many percent do not exceed. */
static int64_t percentile(const series_t *series, size_t percent)
{
    size_t rank = (series->count * percent + 99) / 100;
    return series->ns[rank > 0 ? rank - 1 : 0];
}

void series_print(series_t *series, const char *name)
{
    if (series->count == 0)
        fatalx("%s: no samples", name);
    qsort(series->ns, series->count, sizeof *series->ns, compare);
    printf("%s.p50 %lld\n", name, (long long)percentile(series, 50));
    printf("%s.p99 %lld\n", name, (long long)percentile(series, 99));
    free(series->ns);
    *series = (series_t){0};
}

void value_print(const char *name, double value)
{
    printf("%s %.3f\n", name, value);
}

pid_t process_start(const char *const *argv)
{
    static char *const environment[] = {NULL};
    pid_t pid;
    /* The cast drops const: posix_spawn copies the strings and writes nothing into them. */
    if (posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environment) != 0)
        fatalx("%s cannot be started", argv[0]);
    return pid;
}

void process_wait(pid_t pid, const char *program)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        fatal("wait for %s", program);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fatalx("%s: wait status %d, expected exit 0", program, status);
}

size_t number_of(const char *text)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end != '\0' || number == 0)
        fatalx("\"%s\": expected a number from 1", text);
    return (size_t)number;
}
