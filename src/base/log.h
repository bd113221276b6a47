/* log - the whole vocabulary of messages: what happened, to standard error.
 * Knows nothing of files or rotation: the service manager keeps what we print.
 *
 * The rooms below main log nothing; they fill a fault_t, and whoever decides logs it once. */
#ifndef BANMESH_BASE_LOG_H
#define BANMESH_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#define FAULT_TEXT_MAX 512

/* Why something failed, in words for the operator: names the value and what was expected. */
typedef struct {
    char text[FAULT_TEXT_MAX];
} fault_t;

/* Set the words and return -1, so that `return fault_set (...)` ends a failing function.
 * fault may be NULL. errno is left as it was. */
int fault_set(fault_t *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Replace what is not printable ASCII by '?', in place: words that others chose end in logs, in
 * JSON and on terminals. */
void log_make_printable(char *text);

/* The name that starts each line; borrowed, usually a string literal. Where the journal reads, each
 * line begins with its priority (sd-daemon (3)). */
void log_open(const char *program);

/* Also print what log_debug says. */
void log_set_verbose(bool verbose);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A warning with the text of errno behind it, and one without. */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a command could not do: it is about to exit with a status other than 0. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_errorx(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and the process ends: exit status 1. Only for start-up failures, out of memory,
 * broken invariants, and a disk whose state is unknown. */
void fatal(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void fatalx(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Allocation that never returns NULL: out of memory is fatal. Free with free (). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);

#endif
