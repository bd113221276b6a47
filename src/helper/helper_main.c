/* banmesh-helper - the only program of banmesh with privileges: lets go of addresses in fail2ban,
 * and lists what it holds. Speaks records (helper_record.h) on its standard input, which is a
 * connected SOCK_SEQPACKET socket: systemd's, or a pair that a banmeshd of root made. Which jail is
 * the shared one it is told at its start, not by who asks. Ends when the other side hangs up. */
#include "lifting.h"
#include "listing.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/fail2ban/fail2ban.sock"
#define DEFAULT_JAIL   "shared"
#define REQUEST_MS     60000 /* for all that a request has fail2ban do: its actions may be slow */
#define SEND_S         60

static const char usage[] =
    "usage: banmesh-helper [--jail NAME] [--fail2ban SOCKET]\n"
    "\n"
    "Lets go of addresses in fail2ban for banmeshd, which may not do so itself. Started by\n"
    "banmesh-helper.socket, or by a banmeshd that runs as root; its standard input is the socket\n"
    "that banmeshd asks over.\n"
    "\n"
    "  --jail NAME        the jail of the peers' bans (default: " DEFAULT_JAIL ")\n"
    "  --fail2ban SOCKET  of fail2ban (default: " DEFAULT_SOCKET ")\n"
    "  --version, --help\n"
    "\n"
    "example: banmesh-helper --jail shared\n";

/* ---- requests ---- */

static void serve(reply_t *self, size_t size)
{
    int rc = helper_request_read(self->record, size, &self->request);
    self->answer = (helper_answer_t){.what = self->request.what, .tag = self->request.tag};
    self->f2b.until.ms = mono_now().ms + REQUEST_MS;
    if (rc == -1) {
        self->answer.what = HELPER_JAILS; /* of none that is known, an answer could not be read */
        reply_failure(self, HELPER_MALFORMED, "expected a request of version 1");
        return;
    }
    switch (self->request.what) {
    case HELPER_LIFT:
        lifting_shared(self);
        break;
    case HELPER_LIFT_ALL:
        lifting_all(self);
        break;
    case HELPER_LIST:
        listing_tickets(self);
        break;
    case HELPER_JAILS:
        listing_jails(self);
        break;
    case HELPER_UNKNOWN:
        break;
    }
}

static int run(reply_t *self)
{
    while (!self->gone) {
        ssize_t got = recv(STDIN_FILENO, self->record, sizeof self->record, 0);
        if (got == 0)
            return 0;
        if (got == -1) {
            log_error("standard input");
            return 1;
        }
        serve(self, (size_t)got);
    }
    return 0;
}

/* ---- the start ---- */

/* Who asks may take as long as they like, but not to read an answer. */
static bool prepare_socket(void)
{
    const struct timeval limit = {.tv_sec = SEND_S};
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_SEQPACKET &&
           setsockopt(STDIN_FILENO, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0;
}

static void read_options(int argc, char **argv, reply_t *self)
{
    static const struct option options[] = {
        {"jail", required_argument, NULL, 'j'},
        {"fail2ban", required_argument, NULL, 'f'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool bad = false;
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        if (c == 'h' || c == 'V') {
            fputs(c == 'h' ? usage : "banmesh-helper " BANMESH_VERSION "\n", stdout);
            exit(0);
        }
        if (c == 'j')
            self->jail = optarg;
        else if (c == 'f')
            self->f2b.path = optarg;
        else
            bad = true; /* getopt has said what is wrong */
    }
    if (!bad && optind == argc)
        return;
    fputs(usage, stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static reply_t helper = {.jail = DEFAULT_JAIL, .f2b = {.path = DEFAULT_SOCKET}};
    log_open("banmesh-helper");
    read_options(argc, argv, &helper);
    if (!event_name_valid(helper.jail, strlen(helper.jail))) {
        log_errorx("--jail %s: expected 1 to 64 of A-Z a-z 0-9 _ . -", helper.jail);
        return 2;
    }
    if (!prepare_socket()) {
        log_errorx("standard input: expected a SOCK_SEQPACKET socket");
        return 1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        log_warn("no_new_privs");
    return run(&helper);
}
