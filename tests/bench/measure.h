/* measure - times and what is said of them. Knows nothing of what is measured. */
#ifndef BANMESH_BENCH_MEASURE_H
#define BANMESH_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_PER_S 1000000000LL

/* Every sample is kept: percentiles are read off the sorted series, none is estimated. */
typedef struct {
    int64_t *ns;
    size_t count;
} series_t;

int64_t now_ns(void);

/* Wait, without using the processor. */
void pause_ms(int64_t ms);

void series_add(series_t *series, int64_t ns);

/* Print `NAME.p50 NS` and `NAME.p99 NS`, and empty the series. */
void series_print(series_t *series, const char *name);

/* Print `NAME VALUE`: what tests/bench/run reads. */
void value_print(const char *name, double value);

/* Start a program with nothing in its environment, by posix_spawn (which does not copy this
 * process's memory). Fatal if that fails. */
pid_t process_start(const char *const *argv);

/* Wait for it. Anything but exit status 0 is fatal: the measurement would be of something else. */
void process_wait(pid_t pid, const char *program);

/* A number of the command line, at least 1. Fatal otherwise. */
size_t number_of(const char *text);

#endif
