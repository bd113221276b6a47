/* bench_stream - COUNT bans into the intake of A over one connection (feeder.h), and the time
 *
 *   acknowledged  until A has answered the last one: on disk there
 *   reached       until B's shared log has COUNT lines more than before, and an fdatasync of it,
 *                 called here, has returned
 *
 * both from the first request, in ns. Without LOG only the first. */
#include "feeder.h"
#include "log.h"
#include "measure.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOOK_MS  2
#define STALL_NS (60 * NS_PER_S)

static int connect_intake(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || connect(fd, (struct sockaddr *)&address, sizeof address) == -1)
        fatal("%s", path);
    return fd;
}

static int open_log(const char *path)
{
    int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd == -1)
        fatal("%s", path);
    lseek(fd, 0, SEEK_END);
    return fd;
}

/* How many newlines the file has got since the last call. */
static size_t new_lines(int fd)
{
    static char text[1 << 20];
    size_t lines = 0;
    ssize_t got;
    while ((got = read(fd, text, sizeof text)) > 0)
        for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + got - p))) != NULL; p++)
            lines++;
    if (got == -1)
        fatal("shared log");
    return lines;
}

static void wait_lines(int fd, size_t count)
{
    int64_t moved = now_ns();
    for (size_t lines = 0; lines < count; pause_ms(LOOK_MS)) {
        size_t more = new_lines(fd);
        lines += more;
        if (more > 0)
            moved = now_ns();
        else if (now_ns() - moved > STALL_NS)
            fatalx("the shared log stays at %zu of %zu lines", lines, count);
    }
    if (fdatasync(fd) == -1)
        fatal("shared log");
}

int main(int argc, char **argv)
{
    log_open("bench_stream");
    if (argc < 4 || argc > 5) {
        fputs("usage: bench_stream COUNT OUTSTANDING SOCKET [LOG]\n", stderr);
        return 2;
    }
    size_t count = number_of(argv[1]);
    feeder_t *feeder = feeder_new(count);
    int log_fd = argc == 5 ? open_log(argv[4]) : -1;
    int fd = connect_intake(argv[3]);
    int64_t start = now_ns();
    int64_t acknowledged = feeder_run(feeder, fd, number_of(argv[2]));
    value_print("acknowledged", (double)acknowledged);
    if (log_fd != -1) {
        wait_lines(log_fd, count);
        value_print("reached", (double)(now_ns() - start));
    }
    close(fd);
    feeder_destroy(&feeder);
    return 0;
}
