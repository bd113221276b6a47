/* banmesh-allowed - fail2ban's ignorecommand: is this address allowed here, by the file that
 * banmeshd writes? Static, libc only, so that it starts quickly: fail2ban calls it for each
 * failure. Asks nobody. What it cannot tell is not allowed. */
#include "allowed.h"
#include "clock.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (64 * 1024 * 1024)

enum { EXIT_ALLOWED = 0, EXIT_NOT = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: banmesh-allowed [--file PATH] ADDRESS\n"
    "\n"
    "Whether an address is allowed on this host: by banmesh allow, here or on a node that is "
    "named\n"
    "in roles / operator. For fail2ban's ignorecommand (jail.d/banmesh-allowed.conf).\n"
    "\n"
    "  --file PATH    guard / allowed-file of node.conf (default: " ALLOWED_FILE_PATH ")\n"
    "  --version, --help\n"
    "\n"
    "exit status: 0 allowed; 1 not, or there is no such file; 2 usage, or not an address\n"
    "example: banmesh-allowed 45.154.244.193 && echo allowed\n";

static const struct option options[] = {
    {"file", required_argument, NULL, 'f'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* The address; exits if there is none. */
static const char *read_options(int argc, char **argv, const char **path)
{
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        if (c == 'f')
            *path = optarg;
        else {
            if (c == 'V')
                puts("banmesh-allowed " BANMESH_VERSION);
            else
                fputs(usage, c == 'h' ? stdout : stderr);
            exit(c == '?' ? EXIT_USAGE : 0);
        }
    }
    if (optind + 1 != argc) {
        log_errorx("expected one address");
        fputs(usage, stderr);
        exit(EXIT_USAGE);
    }
    return argv[optind];
}

static bool is_in(int fd, const addr_t *address)
{
    struct stat status;
    bool found = false;
    if (fstat(fd, &status) == -1 || !S_ISREG(status.st_mode) || status.st_size > FILE_MAX_BYTES)
        return false;
    size_t size = (size_t)status.st_size;
    char *text = xmalloc(size + 1);
    ssize_t got = read(fd, text, size); /* it is renamed into place, never written to */
    if (got > 0)
        found = allowed_has(text, (size_t)got, address, wall_now().ms / MS_PER_S);
    free(text);
    return found;
}

int main(int argc, char **argv)
{
    const char *path = ALLOWED_FILE_PATH;
    addr_t address;
    log_open("banmesh-allowed");
    const char *text = read_options(argc, argv, &path);
    addr_error_t wrong = addr_parse(text, &address);
    if (wrong != ADDR_OK) {
        log_errorx("\"%.80s\": %s", text, addr_error_text(wrong));
        return EXIT_USAGE;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd == -1 && errno != ENOENT)
        log_error("%s", path);
    bool allowed = fd != -1 && is_in(fd, &address);
    if (fd != -1)
        close(fd);
    return allowed ? EXIT_ALLOWED : EXIT_NOT;
}
