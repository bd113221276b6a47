#include "repeat.h"

#include "command.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* On a terminal it wrote ^C, and what comes next is the shell's. */
static void leave(int number)
{
    if (number == SIGINT && isatty(STDOUT_FILENO))
        (void)!write(STDOUT_FILENO, "\n", 1);
    _exit(COMMAND_OK);
}

void repeat_begin(void)
{
    const struct sigaction action = {.sa_handler = leave};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGPIPE, &action, NULL);
}

void repeat_wait(int ms)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    fflush(stdout);
    if (ferror(stdout) || poll(&out, 1, ms) > 0)
        _exit(COMMAND_OK);
}
