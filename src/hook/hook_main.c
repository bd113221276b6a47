/* banmesh-publish - the hook for actionban and actionunban: hands one ban, or unban, to the local
 * node and exits; spools it if nobody answers. Static, libc only, so that it starts quickly. Never
 * longer than 2 s: fail2ban runs it synchronously in the jail's thread. Decides one thing, since
 * only now it can be told: whether an unban is the end of a ban whose time is over, which is no
 * news. All else goes to the node as it is, and the node says what it is worth, and counts what is
 * malformed. */
#include "clock.h"
#include "log.h"
#include "request.h"
#include "spool.h"
#include "unix_socket.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/banmesh/publish.sock"
#define DEFAULT_SPOOL  "/var/spool/banmesh"
#define ANSWER_WAIT_MS 1000
#define LIMIT_MS       1900
#define ANSWER_MAX     600

static const char usage[] =
    "usage: banmesh-publish --jail JAIL --ip IP [--time T] [--bantime S] [--failures N]\n"
    "                       [--bancount N] [--port PORT] [--protocol P]\n"
    "                       [--socket PATH] [--spool DIR]\n"
    "       banmesh-publish --unban[=yes|no] --jail JAIL --ip IP --time T [--bantime S]\n"
    "                       [--socket PATH] [--spool DIR]\n"
    "\n"
    "Announces a ban to the mesh, through the local banmeshd, or that it was lifted before its\n"
    "time. fail2ban calls it as its actionban and actionunban (action.d/banmesh.conf).\n"
    "\n"
    "  --time T      when, in seconds since 1970 (default: now); of an unban: of its ban\n"
    "  --bantime S   for how many seconds, -1 for ever (default: 600)\n"
    "  --unban       lift the ban of that jail, address and time on all nodes. Does nothing if\n"
    "                --time and --bantime say that it has ended by now, or with --unban=no\n"
    "  --socket PATH of banmeshd (default: " DEFAULT_SOCKET ")\n"
    "  --spool DIR   kept there if banmeshd does not answer (default: " DEFAULT_SPOOL ")\n"
    "  --version, --help\n"
    "\n"
    "exit status: 0 stored on disk, or not to be published; 1 not stored; 2 malformed\n"
    "example: banmesh-publish --jail sshd --ip 45.154.244.193 --bantime 3600\n"
    "         banmesh-publish --unban --jail sshd --ip 45.154.244.193 --time 1795288025.5\n";

/* Of a ban; --socket and --spool are behind them. */
static const char *const fields[] = {"jail",     "ip",       "time", "bantime",
                                     "failures", "bancount", "port", "protocol"};

#define FIELD_COUNT (sizeof fields / sizeof fields[0])

typedef struct {
    const char *values[FIELD_COUNT]; /* NULL: not given */
    const char *stray;               /* an argument that is not known; NULL: none */
    request_verb_t verb;
    bool is_off; /* unbans are not to be announced */
    const char *socket;
    const char *spool;
    char line[REQUEST_LINE_MAX];
} call_t;

static const struct option options[] = {
    {"jail", required_argument, NULL, 'b'},     {"ip", required_argument, NULL, 'b'},
    {"time", required_argument, NULL, 'b'},     {"bantime", required_argument, NULL, 'b'},
    {"failures", required_argument, NULL, 'b'}, {"bancount", required_argument, NULL, 'b'},
    {"port", required_argument, NULL, 'b'},     {"protocol", required_argument, NULL, 'b'},
    {"unban", optional_argument, NULL, 'u'},    {"socket", required_argument, NULL, 's'},
    {"spool", required_argument, NULL, 'd'},    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
};

static bool is_one_of(const char *word, const char *const words[])
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (strcasecmp(word, words[i]) == 0)
            return true;
    return false;
}

/* The words for yes and no are fail2ban's. */
static void read_unban(const char *value, call_t *call)
{
    static const char *const yes[] = {"", "yes", "true", "on", "1", NULL};
    static const char *const no[] = {"no", "false", "off", "0", NULL};
    call->verb = REQUEST_UNBAN;
    call->is_off = value != NULL && is_one_of(value, no);
    if (value != NULL && !call->is_off && !is_one_of(value, yes))
        call->stray = value;
}

static void read_options(int argc, char **argv, call_t *call)
{
    int index = 0;
    for (int c = getopt_long(argc, argv, "", options, &index); c != -1;
         c = getopt_long(argc, argv, "", options, &index)) {
        if (c == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (c == 'V') {
            puts("banmesh-publish " BANMESH_VERSION);
            exit(0);
        }
        if (c == 'u')
            read_unban(optarg, call);
        else if (c == 's')
            call->socket = optarg;
        else if (c == 'd')
            call->spool = optarg;
        else if (c == 'b')
            call->values[index] = optarg;
        else
            call->stray = argv[optind - 1];
    }
    if (optind < argc)
        call->stray = argv[optind];
}

static void write_line(call_t *call)
{
    char now[32];
    wall_t wall = wall_now();
    bool is_ban = call->verb == REQUEST_BAN;
    snprintf(now, sizeof now, "%" PRId64 ".%03d", wall.ms / MS_PER_S, (int)(wall.ms % MS_PER_S));
    request_begin(call->line, call->verb);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *value = call->values[i];
        if (value == NULL && is_ban && strcmp(fields[i], "time") == 0)
            value = now;
        if (value != NULL)
            request_add(call->line, fields[i], value);
    }
    if (!is_ban)
        request_add(call->line, "at", now);
    if (call->stray != NULL)
        request_add(call->line, "stray", call->stray);
}

/* fail2ban says the same of a ban that somebody lifts and of one that comes to its end. By its own
 * clock, as late as now: what would be spooled and judged later would always have ended. */
static bool has_ended(const call_t *call)
{
    request_t request;
    fault_t fault;
    if (call->verb != REQUEST_UNBAN || strstr(call->line, " bantime=") == NULL ||
        request_parse(call->line, strlen(call->line), &request, &fault) == -1)
        return false;
    return ban_end_ms(&request.ban) <= wall_now().ms;
}

/* Repeating it cannot help. */
static int malformed(const call_t *call, const char *why)
{
    log_errorx("%s", why);
    if (call->stray != NULL)
        fputs(usage, stderr);
    return REQUEST_EXIT_MALFORMED;
}

static bool starts_with(const char *answer, const char *word)
{
    size_t length = strlen(word);
    return strncmp(answer, word, length) == 0 && (answer[length] == '\0' || answer[length] == ' ');
}

/* For somebody who tries it by hand; fail2ban hears nothing of what is in order. */
static void tell(const char *format, const char *what) __attribute__((format(printf, 1, 0)));
static void tell(const char *format, const char *what)
{
    if (isatty(STDERR_FILENO))
        log_info(format, what);
}

/* The answer without its newline. Returns false if none comes in time. */
static bool read_answer(int fd, char answer[static ANSWER_MAX])
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    size_t used = 0;
    while (used < ANSWER_MAX && poll(&wait, 1, ANSWER_WAIT_MS) == 1) {
        ssize_t got = recv(fd, answer + used, ANSWER_MAX - used, 0);
        if (got == -1 && errno == ECONNRESET)
            got = recv(fd, answer + used, ANSWER_MAX - used, 0); /* the reset is told first, once */
        if (got <= 0)
            return false;
        char *end = memchr(answer + used, '\n', (size_t)got);
        used += (size_t)got;
        if (end == NULL)
            continue;
        *end = '\0';
        return true;
    }
    return false;
}

/* Ask the node. Returns the exit status, or -1 with the fault: nobody took it. */
static int ask_node(const call_t *call, fault_t *fault)
{
    char line[REQUEST_LINE_MAX + 1];
    char answer[ANSWER_MAX];
    size_t length = (size_t)snprintf(line, sizeof line, "%s\n", call->line);
    int fd = unix_socket_connect(call->socket, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return fault_set(fault, "%s: %s", call->socket, strerror(errno));
    /* A node that refuses us may have hung up before we sent: its answer waits all the same. */
    ssize_t sent = send(fd, line, length, MSG_NOSIGNAL);
    bool may_answer = sent == (ssize_t)length || errno == EPIPE || errno == ECONNRESET;
    bool answered = may_answer && read_answer(fd, answer);
    close(fd);
    if (!answered)
        return fault_set(fault, "%s: no answer", call->socket);
    if (starts_with(answer, REQUEST_ANSWER_OK))
        return REQUEST_EXIT_STORED;
    if (starts_with(answer, REQUEST_ANSWER_SKIPPED)) {
        tell("not published: %s", answer + sizeof REQUEST_ANSWER_SKIPPED);
        return REQUEST_EXIT_STORED;
    }
    if (starts_with(answer, REQUEST_ANSWER_REFUSED)) {
        log_errorx("%s", answer + sizeof REQUEST_ANSWER_REFUSED);
        return REQUEST_EXIT_NOT_STORED;
    }
    if (!starts_with(answer, REQUEST_ANSWER_FAILED) &&
        !starts_with(answer, REQUEST_ANSWER_MALFORMED))
        return fault_set(fault, "%s: answered \"%.60s\"", call->socket, answer);
    if (starts_with(answer, REQUEST_ANSWER_MALFORMED))
        return malformed(call, answer + sizeof REQUEST_ANSWER_MALFORMED);
    return fault_set(fault, "%s: %s", call->socket, answer + sizeof REQUEST_ANSWER_FAILED);
}

static void out_of_time(int signal)
{
    static const char text[] = "banmesh-publish: error: not stored within 2 s\n";
    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) == -1)
        _exit(REQUEST_EXIT_NOT_STORED);
    _exit(REQUEST_EXIT_NOT_STORED);
}

static void limit_time(void)
{
    struct itimerval limit = {.it_value = {LIMIT_MS / MS_PER_S, LIMIT_MS % MS_PER_S * 1000}};
    struct sigaction action = {.sa_handler = out_of_time};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &limit, NULL);
}

/* Nobody answers: what the node would take stays on disk. */
static int spool(const call_t *call, const fault_t *node_fault)
{
    request_t request;
    fault_t fault;
    if (request_parse(call->line, strlen(call->line), &request, &fault) == -1)
        return malformed(call, fault.text);
    if (spool_append(call->spool, call->line, &fault) == -1) {
        log_errorx("%s not stored: %s; %s", request.verb == REQUEST_BAN ? "ban" : "unban",
                   node_fault->text, fault.text);
        return REQUEST_EXIT_NOT_STORED;
    }
    tell("kept in the spool: %s", node_fault->text);
    return REQUEST_EXIT_STORED;
}

int main(int argc, char **argv)
{
    call_t call = {.socket = DEFAULT_SOCKET, .spool = DEFAULT_SPOOL};
    fault_t fault;
    log_open("banmesh-publish");
    opterr = 0; /* the node is told first */
    limit_time();
    read_options(argc, argv, &call);
    write_line(&call);
    if (call.is_off || has_ended(&call)) {
        tell("not published: %s", call.is_off ? "unbans are off" : "the ban has ended");
        return REQUEST_EXIT_STORED;
    }
    int status = ask_node(&call, &fault);
    return status != -1 ? status : spool(&call, &fault);
}
