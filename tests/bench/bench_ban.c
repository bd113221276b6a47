/* bench_ban - bans one at a time, each alone: the real hook is started, and the clock runs until
 *
 *   hook     it has ended with status 0 (the ban is on disk on A)
 *   visible  the ban's line can be read in B's shared log
 *   synced   and an fdatasync of that file, called here as soon as the line was seen, has returned:
 *            the line is on disk for certain. B's own fdatasync is under way then, so this is not
 *            earlier than its end, and hardly later.
 *
 * all from just before the spawn. Without LOG only the first. Nothing here spins: the end of the
 * process (a pidfd) and the change of the file (inotify) are waited for in one poll, since the
 * nodes need the processors. Between the bans, in the same round, the raw parts, and their sum. */
#include "feeder.h"
#include "log.h"
#include "measure.h"
#include "parts.h"

#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REST_MS  3 /* before both, so that both find the machine idle, and B done */
#define WAIT_MS  30000
#define WARM_UP  30 /* rounds that do not count */
#define TAIL_MAX 4096

typedef struct {
    const char *hook;
    const char *socket;
    const char *spool;
    int log_fd; /* -1: the hook alone */
    int inotify_fd;
    char tail[TAIL_MAX]; /* what the log has got since the last ban */
    size_t tail_used;
} bench_t;

typedef struct {
    int64_t hook_ns;
    int64_t visible_ns;
    int64_t synced_ns;
} times_t;

static const part_t hook_parts[] = {PART_PROCESS, PART_COMMIT_FULL};
static const part_t way_parts[] = {PART_PROCESS, PART_COMMIT_FULL,   PART_SIGN, PART_CURVE,
                                   PART_VERIFY,  PART_COMMIT_NORMAL, PART_LINE, PART_COMMIT_NORMAL};

static void follow_log(bench_t *self, const char *path)
{
    self->log_fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0640);
    self->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (self->log_fd == -1 || self->inotify_fd == -1 ||
        inotify_add_watch(self->inotify_fd, path, IN_MODIFY) == -1)
        fatal("%s", path);
    lseek(self->log_fd, 0, SEEK_END);
}

/* Read what is new. True if the line of that address is in it, with its newline. */
static bool line_is_there(bench_t *self, const char *address)
{
    char events[4096];
    char word[32];
    while (read(self->inotify_fd, events, sizeof events) > 0)
        continue;
    ssize_t got = read(self->log_fd, self->tail + self->tail_used, TAIL_MAX - 1 - self->tail_used);
    if (got == -1)
        fatal("shared log");
    self->tail_used += (size_t)got;
    self->tail[self->tail_used] = '\0';
    snprintf(word, sizeof word, ": %s: ", address);
    const char *line = strstr(self->tail, word);
    return line != NULL && strchr(line, '\n') != NULL;
}

static pid_t start_hook(const bench_t *self, const char *address)
{
    const char *const argv[] = {
        self->hook, "--jail",   "sshd",       "--ip",    address,     "--bantime",
        "3600",     "--socket", self->socket, "--spool", self->spool, NULL,
    };
    return process_start(argv);
}

/* Wait for the end of the process and for the line, whichever is first. */
static void wait_both(bench_t *self, pid_t pid, const char *address, int64_t start, times_t *times)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd waits[] = {{.fd = pidfd, .events = POLLIN},
                             {.fd = self->inotify_fd, .events = POLLIN}};
    if (pidfd == -1)
        fatal("pidfd_open");
    while (waits[0].fd != -1 || waits[1].fd != -1) {
        if (poll(waits, 2, WAIT_MS) < 1)
            fatalx("no line for %s in %d s", address, WAIT_MS / 1000);
        int64_t now = now_ns();
        if (waits[1].fd != -1 && waits[1].revents != 0 && line_is_there(self, address)) {
            times->visible_ns = now_ns() - start;
            if (fdatasync(self->log_fd) == -1)
                fatal("shared log");
            times->synced_ns = now_ns() - start;
            waits[1].fd = -1;
        }
        if (waits[0].fd != -1 && waits[0].revents != 0) {
            times->hook_ns = now - start;
            waits[0].fd = -1;
        }
    }
    close(pidfd);
    process_wait(pid, self->hook);
}

static void ban(bench_t *self, size_t round, times_t *times)
{
    char address[16];
    feeder_address(round, address);
    self->tail_used = 0;
    int64_t start = now_ns();
    pid_t pid = start_hook(self, address);
    if (self->log_fd != -1)
        wait_both(self, pid, address, start, times);
    else {
        process_wait(pid, self->hook);
        times->hook_ns = now_ns() - start;
    }
}

static void run_rounds(bench_t *self, parts_t *parts, size_t rounds)
{
    bool whole_way = self->log_fd != -1;
    const part_t *list = whole_way ? way_parts : hook_parts;
    size_t count = whole_way ? sizeof way_parts / sizeof way_parts[0]
                             : sizeof hook_parts / sizeof hook_parts[0];
    series_t hook = {0}, visible = {0}, synced = {0}, sum = {0};
    series_t each[PART_COUNT] = {0};
    for (size_t round = 0; round < rounds + WARM_UP; round++) {
        times_t times = {0};
        int64_t sum_ns = 0;
        bool counts = round >= WARM_UP;
        pause_ms(REST_MS);
        ban(self, round, &times);
        pause_ms(REST_MS);
        for (size_t i = 0; i < count; i++) {
            int64_t part_ns = parts_time(parts, list[i]);
            sum_ns += part_ns;
            if (counts)
                series_add(&each[list[i]], part_ns);
        }
        if (!counts)
            continue;
        series_add(&hook, times.hook_ns);
        series_add(&visible, times.visible_ns);
        series_add(&synced, times.synced_ns);
        series_add(&sum, sum_ns);
    }
    series_print(&hook, "hook");
    if (whole_way) {
        series_print(&visible, "visible");
        series_print(&synced, "synced");
    }
    series_print(&sum, "sum");
    for (int i = 0; i < PART_COUNT; i++)
        if (each[i].count > 0)
            series_print(&each[i], part_name((part_t)i));
}

int main(int argc, char **argv)
{
    log_open("bench_ban");
    if (argc < 7 || argc > 8) {
        fputs("usage: bench_ban ROUNDS DIR EMPTY HOOK SOCKET SPOOL [LOG]\n", stderr);
        return 2;
    }
    if (sodium_init() == -1)
        fatalx("libsodium cannot start");
    bench_t self = {.hook = argv[4], .socket = argv[5], .spool = argv[6], .log_fd = -1};
    if (argc == 8)
        follow_log(&self, argv[7]);
    parts_t *parts = parts_new(argv[2], argv[3]);
    run_rounds(&self, parts, number_of(argv[1]));
    parts_destroy(&parts);
    return 0;
}
