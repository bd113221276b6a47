/* banmesh-helper - the only program of banmesh with privileges: lets go of addresses in fail2ban,
 * and lists what it holds. Speaks records (helper_record.h) on its standard input, which is a
 * connected SOCK_SEQPACKET socket: systemd's, or a pair that a banmeshd of root made. Which jail is
 * the shared one it is told at its start, not by who asks. Ends when the other side hangs up. */
#include "f2b_socket.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/fail2ban/fail2ban.sock"
#define DEFAULT_JAIL   "shared"
#define LIFT_LIMIT_MS  60000 /* fail2ban runs its actions meanwhile */
#define LIST_LIMIT_MS  30000
#define WORDS_MAX      (HELPER_LIFT_MAX + 4)

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

typedef struct {
    const char *jail;
    const char *fail2ban;
    helper_request_t request;
    helper_answer_t answer;
    uint8_t record[HELPER_RECORD_MAX];
    bool gone; /* nobody listens any more */
} helper_t;

/* ---- answers ---- */

static uint8_t *items(helper_t *self)
{
    return self->record + HELPER_ANSWER_HEADER;
}

static void send_answer(helper_t *self, bool last)
{
    self->answer.last = last;
    size_t size = helper_answer_write(&self->answer, self->record);
    self->gone = self->gone || send(STDIN_FILENO, self->record, size, MSG_NOSIGNAL) == -1;
    self->answer.count = 0;
}

static void send_failure(helper_t *self, helper_status_t status, const char *text)
{
    self->answer.status = status;
    snprintf(self->answer.text, sizeof self->answer.text, "%s", text);
    send_answer(self, true);
}

/* ---- lifts ---- */

/* Words for a command, which live as long as the texts. */
typedef struct {
    const char *words[WORDS_MAX];
    char texts[HELPER_LIFT_MAX][ADDR_TEXT_MAX];
    size_t count;
} command_t;

static void add_word(command_t *command, const char *word)
{
    command->words[command->count++] = word;
}

/* Of an answer's texts, those that say what is not banned: whatever in them is an address. */
static void mark_absent(const helper_request_t *request, char *text, bool *held)
{
    char *rest = text;
    for (char *word = strsep(&rest, " ,'[]\""); word != NULL; word = strsep(&rest, " ,'[]\"")) {
        addr_t address;
        if (addr_parse(word, &address) != ADDR_OK)
            continue;
        for (size_t i = 0; i < request->count; i++)
            if (addr_equal(&request->addresses[i], &address))
                held[i] = false;
    }
}

static bool find_ticket(const f2b_answer_t *answer, const addr_t *wanted)
{
    char text[ADDR_TEXT_MAX];
    const pickle_node_t *item = pickle_first(answer->pickle, answer->value);
    for (; item != NULL; item = pickle_next(answer->pickle, item)) {
        addr_t address;
        const pickle_node_t *only = pickle_first(answer->pickle, item);
        if (f2b_text(only != NULL ? only : item, text, sizeof text) &&
            addr_parse(text, &address) == ADDR_OK && addr_equal(&address, wanted))
            return true;
    }
    return false;
}

/* fail2ban lets go of all that lies in a network for which it has no ticket: so only networks go
 * there that it has. Sets held. */
static helper_status_t sort_out_networks(helper_t *self, bool *held, f2b_answer_t *answer)
{
    const char *const words[] = {"get", self->jail, "banip"};
    const helper_request_t *request = &self->request;
    bool asked = false;
    helper_status_t status = HELPER_OK;
    for (size_t i = 0; i < request->count; i++)
        held[i] = true;
    for (size_t i = 0; i < request->count && status == HELPER_OK; i++) {
        if (addr_is_host(&request->addresses[i]))
            continue;
        if (!asked)
            status = f2b_ask(self->fail2ban, words, 3, LIST_LIMIT_MS, answer);
        asked = true;
        held[i] = status == HELPER_OK && find_ticket(answer, &request->addresses[i]);
    }
    return status;
}

/* The whole of what it said: the text of an answer is cut off. */
static char *words_of(const f2b_answer_t *answer)
{
    const pickle_node_t *said = pickle_first(answer->pickle, answer->value);
    const pickle_node_t *node = said != NULL ? said : answer->value;
    char *text = xcalloc(1, node->size + 1);
    f2b_text(node, text, node->size + 1);
    return text;
}

/* An answer that some were not banned is no refusal. */
static helper_status_t lift_some(helper_t *self, const command_t *command, bool *held,
                                 f2b_answer_t *answer)
{
    helper_status_t status =
        f2b_ask(self->fail2ban, command->words, command->count, LIFT_LIMIT_MS, answer);
    if (status != HELPER_REFUSED)
        return status;
    char *text = words_of(answer);
    if (strstr(text, "not banned") != NULL) {
        mark_absent(&self->request, text, held);
        status = HELPER_OK;
    }
    free(text);
    return status;
}

static void send_held(helper_t *self, const bool *held)
{
    for (size_t i = 0; i < self->request.count; i++)
        items(self)[i] = held[i];
    self->answer.count = self->request.count;
    send_answer(self, true);
}

static void lift(helper_t *self)
{
    command_t command = {.words = {"set", self->jail, "unbanip", "--report-absent"}, .count = 4};
    const helper_request_t *request = &self->request;
    bool held[HELPER_LIFT_MAX];
    f2b_answer_t answer;
    f2b_answer_t listed = {0};
    helper_status_t status = sort_out_networks(self, held, &listed);
    for (size_t i = 0; i < request->count; i++)
        if (held[i])
            add_word(&command, addr_print(&request->addresses[i], command.texts[i]));
    if (status == HELPER_OK && command.count > 4) {
        status = lift_some(self, &command, held, &answer);
        if (status != HELPER_OK)
            send_failure(self, status, answer.text);
        f2b_answer_free(&answer);
    } else if (status != HELPER_OK)
        send_failure(self, status, listed.text);
    if (status == HELPER_OK)
        send_held(self, held);
    f2b_answer_free(&listed);
}

/* One at a time: fail2ban says only in how many jails it was. */
static void lift_in_all_jails(helper_t *self)
{
    bool held[HELPER_LIFT_MAX];
    for (size_t i = 0; i < self->request.count; i++) {
        char text[ADDR_TEXT_MAX];
        const char *const words[] = {"unban", addr_print(&self->request.addresses[i], text)};
        f2b_answer_t answer;
        if (!addr_is_host(&self->request.addresses[i])) {
            send_failure(self, HELPER_MALFORMED, "a network is lifted in the shared jail only");
            return;
        }
        helper_status_t status = f2b_ask(self->fail2ban, words, 2, LIFT_LIMIT_MS, &answer);
        if (status != HELPER_OK)
            send_failure(self, status, answer.text);
        held[i] =
            status == HELPER_OK && answer.value->kind == PICKLE_NUMBER && answer.value->number > 0;
        f2b_answer_free(&answer);
        if (status != HELPER_OK)
            return;
    }
    send_held(self, held);
}

/* ---- what a jail holds ---- */

/* "192.0.2.7 \t2026-11-21 12:00:00 + 600 = 2026-11-21 12:10:00": local time, -1 for ever. */
static bool read_ticket(const pickle_node_t *node, helper_ticket_t *ticket)
{
    char text[ADDR_TEXT_MAX + 64];
    char address[ADDR_TEXT_MAX];
    long long bantime_s;
    struct tm tm = {.tm_isdst = -1};
    if (!f2b_text(node, text, sizeof text))
        return false;
    int fields = sscanf(text, "%47s %d-%d-%d %d:%d:%d + %lld", address, &tm.tm_year, &tm.tm_mon,
                        &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &bantime_s);
    if (fields != 8 || addr_parse(address, &ticket->address) != ADDR_OK)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    ticket->start_s = mktime(&tm);
    ticket->bantime_s = bantime_s;
    return true;
}

/* What is no address (a jail may ban anything) is passed over. */
static void list(helper_t *self)
{
    const char *const words[] = {"get", self->request.jail, "banip", "--with-time"};
    f2b_answer_t answer;
    helper_status_t status = f2b_ask(self->fail2ban, words, 4, LIST_LIMIT_MS, &answer);
    if (status != HELPER_OK) {
        send_failure(self, status, answer.text);
        f2b_answer_free(&answer);
        return;
    }
    const pickle_node_t *item = pickle_first(answer.pickle, answer.value);
    for (; item != NULL && !self->gone; item = pickle_next(answer.pickle, item)) {
        helper_ticket_t ticket;
        if (!read_ticket(item, &ticket))
            continue;
        helper_ticket_put(items(self) + self->answer.count * HELPER_TICKET_BYTES, &ticket);
        if (++self->answer.count == HELPER_TICKETS_MAX)
            send_answer(self, false);
    }
    send_answer(self, true);
    f2b_answer_free(&answer);
}

/* ---- which jails there are ---- */

static void send_source(helper_t *self, const char *jail, helper_source_t kind, const char *text)
{
    uint8_t *at = items(self);
    memset(at, 0, HELPER_SOURCE_BYTES);
    memcpy(at, jail, strnlen(jail, HELPER_JAIL_BYTES));
    at[HELPER_JAIL_BYTES] = (uint8_t)kind;
    memcpy(at + HELPER_JAIL_BYTES + 1, text, strnlen(text, HELPER_SOURCE_MAX));
    self->answer.count = 1;
    send_answer(self, false);
}

/* A journal match is a list of its terms. */
static void join_texts(const f2b_answer_t *answer, const pickle_node_t *node, char *out,
                       size_t size)
{
    size_t used = 0;
    const pickle_node_t *item = pickle_first(answer->pickle, node);
    if (item == NULL)
        f2b_text(node, out, size);
    for (; item != NULL && used + 1 < size; item = pickle_next(answer->pickle, item)) {
        if (used > 0)
            out[used++] = ' ';
        f2b_text(item, out + used, size - used);
        used += strlen(out + used);
    }
}

/* A jail that went meanwhile, or has no such thing, has none of it. */
static void send_sources(helper_t *self, const char *jail, helper_source_t kind, const char *what)
{
    const char *const words[] = {"get", jail, what};
    f2b_answer_t answer;
    if (f2b_ask(self->fail2ban, words, 3, LIST_LIMIT_MS, &answer) == HELPER_OK) {
        const pickle_node_t *item = pickle_first(answer.pickle, answer.value);
        for (; item != NULL && !self->gone; item = pickle_next(answer.pickle, item)) {
            char text[HELPER_SOURCE_MAX + 1] = "";
            join_texts(&answer, item, text, sizeof text);
            send_source(self, jail, kind, text);
        }
    }
    f2b_answer_free(&answer);
}

/* The value behind a name in a list of pairs. */
static const pickle_node_t *find_pair(const f2b_answer_t *answer, const char *name)
{
    const pickle_node_t *pair = pickle_first(answer->pickle, answer->value);
    for (; pair != NULL; pair = pickle_next(answer->pickle, pair)) {
        const pickle_node_t *key = pickle_first(answer->pickle, pair);
        if (key != NULL && key->kind == PICKLE_TEXT && key->size == strlen(name) &&
            memcmp(key->text, name, key->size) == 0)
            return pickle_next(answer->pickle, key);
    }
    return NULL;
}

static void send_jails(helper_t *self, const f2b_answer_t *answer)
{
    const pickle_node_t *all = find_pair(answer, "Jail list");
    if (all == NULL || all->kind != PICKLE_TEXT) {
        send_failure(self, HELPER_NONSENSE, "no list of jails");
        return;
    }
    char *names = xcalloc(1, all->size + 1);
    char *rest = names;
    f2b_text(all, names, all->size + 1);
    for (char *name = strsep(&rest, ","); name != NULL; name = strsep(&rest, ",")) {
        name += strspn(name, " \t");
        if (*name == '\0' || strlen(name) > HELPER_JAIL_BYTES || strchr(name, '\\') != NULL ||
            strchr(name, '\n') != NULL)
            continue;
        send_source(self, name, HELPER_NOTHING, "");
        send_sources(self, name, HELPER_LOG, "logpath");
        send_sources(self, name, HELPER_JOURNAL, "journalmatch");
        send_sources(self, name, HELPER_ACTION, "actions");
    }
    free(names);
    send_answer(self, true);
}

static void list_jails(helper_t *self)
{
    const char *const words[] = {"status"};
    f2b_answer_t answer;
    helper_status_t status = f2b_ask(self->fail2ban, words, 1, LIST_LIMIT_MS, &answer);
    if (status == HELPER_OK)
        send_jails(self, &answer);
    else
        send_failure(self, status, answer.text);
    f2b_answer_free(&answer);
}

/* ---- requests ---- */

static void serve(helper_t *self, size_t size)
{
    int rc = helper_request_read(self->record, size, &self->request);
    self->answer = (helper_answer_t){.what = self->request.what, .tag = self->request.tag};
    if (rc == -1) {
        self->answer.what = HELPER_JAILS; /* of none that is known, an answer could not be read */
        send_failure(self, HELPER_MALFORMED, "expected a request of version 1");
        return;
    }
    switch (self->request.what) {
    case HELPER_LIFT:
        lift(self);
        break;
    case HELPER_LIFT_ALL:
        lift_in_all_jails(self);
        break;
    case HELPER_LIST:
        list(self);
        break;
    case HELPER_JAILS:
        list_jails(self);
        break;
    }
}

static int run(helper_t *self)
{
    while (!self->gone) {
        ssize_t got = recv(STDIN_FILENO, self->record, sizeof self->record, 0);
        if (got == 0)
            return 0;
        if (got == -1) {
            log_error("standard input: expected a SOCK_SEQPACKET socket");
            return 1;
        }
        serve(self, (size_t)got);
    }
    return 0;
}

static void read_options(int argc, char **argv, helper_t *self)
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
            self->fail2ban = optarg;
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
    static helper_t helper = {.jail = DEFAULT_JAIL, .fail2ban = DEFAULT_SOCKET};
    log_open("banmesh-helper");
    read_options(argc, argv, &helper);
    if (!event_name_valid(helper.jail, strlen(helper.jail))) {
        log_errorx("--jail %s: expected 1 to 64 of A-Z a-z 0-9 _ . -", helper.jail);
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        log_warn("no_new_privs");
    return run(&helper);
}
