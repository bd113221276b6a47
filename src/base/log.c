#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

/* syslog (3)'s numbers. */
typedef enum { ERROR = 3, WARNING = 4, INFO = 6, DEBUG = 7 } level_t;

static const char *log_program = "banmesh";
static bool log_verbose;
static bool log_to_journal;

int fault_set(fault_t *fault, const char *format, ...)
{
    if (fault != NULL) {
        int saved = errno;
        va_list args;
        va_start(args, format);
        vsnprintf(fault->text, sizeof fault->text, format, args);
        va_end(args);
        errno = saved;
    }
    return -1;
}

void log_make_printable(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* systemd.exec (5): JOURNAL_STREAM names the device and inode of what the journal reads. */
static bool is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    struct stat status;
    unsigned long long device;
    unsigned long long inode;
    return text != NULL && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_open(const char *program)
{
    log_program = program;
    log_to_journal = is_journal();
}

void log_set_verbose(bool verbose)
{
    log_verbose = verbose;
}

/* One line, one write: lines of several processes on one terminal do not mix. What a peer or a
 * file brought must not forge a line of its own, so control characters become '?'. */
static void emit(level_t level, const char *word, int error, const char *format, va_list args)
{
    char line[LOG_LINE_MAX];
    int used = log_to_journal ? snprintf(line, sizeof line, "<%d>", (int)level) : 0;
    used += snprintf(line + used, sizeof line - (size_t)used, "%s: %s", log_program, word);
    used += vsnprintf(line + used, sizeof line - (size_t)used, format, args);
    if (used > (int)sizeof line - 1)
        used = (int)sizeof line - 1;
    if (error != 0)
        used += snprintf(line + used, sizeof line - (size_t)used, ": %s", strerror(error));
    if (used > (int)sizeof line - 2)
        used = (int)sizeof line - 2;
    for (int i = 0; i < used; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[used] = '\n';
    fwrite(line, 1, (size_t)used + 1, stderr);
}

#define EMIT(level, word, error, format)                                                           \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        emit(level, word, error, format, args);                                                    \
        va_end(args);                                                                              \
    } while (0)

void log_debug(const char *format, ...)
{
    if (log_verbose)
        EMIT(DEBUG, "debug: ", 0, format);
}

void log_info(const char *format, ...)
{
    EMIT(INFO, "", 0, format);
}

void log_warn(const char *format, ...)
{
    int error = errno;
    EMIT(WARNING, "warning: ", error, format);
}

void log_warnx(const char *format, ...)
{
    EMIT(WARNING, "warning: ", 0, format);
}

void log_error(const char *format, ...)
{
    int error = errno;
    EMIT(ERROR, "error: ", error, format);
}

void log_errorx(const char *format, ...)
{
    EMIT(ERROR, "error: ", 0, format);
}

/* Nothing is torn down on the way out: libraries would say more of their own loose ends than there
 * is to say of what happened. */
static void leave(void) __attribute__((noreturn));
static void leave(void)
{
    fflush(stdout);
    _exit(1);
}

void fatal(const char *format, ...)
{
    int error = errno;
    EMIT(ERROR, "fatal: ", error, format);
    leave();
}

void fatalx(const char *format, ...)
{
    EMIT(ERROR, "fatal: ", 0, format);
    leave();
}

void *xmalloc(size_t size)
{
    void *memory = malloc(size != 0 ? size : 1);
    if (memory == NULL)
        fatalx("out of memory: %zu bytes", size);
    return memory;
}

void *xcalloc(size_t count, size_t size)
{
    void *memory = calloc(count != 0 ? count : 1, size != 0 ? size : 1);
    if (memory == NULL)
        fatalx("out of memory: %zu x %zu bytes", count, size);
    return memory;
}

void *xrealloc(void *old, size_t size)
{
    void *memory = realloc(old, size != 0 ? size : 1);
    if (memory == NULL)
        fatalx("out of memory: %zu bytes", size);
    return memory;
}

char *xstrdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(xmalloc(size), text, size);
}
