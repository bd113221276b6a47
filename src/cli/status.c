/* status - what the running service says of itself: `banmesh status`. */
#include "ask.h"
#include "colour.h"
#include "progress.h"
#include "repeat.h"
#include "screen.h"
#include "status_detail.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_MS 1000

static void print_title(const char *title)
{
    printf("\n%s%s%s\n", colour_on(COLOUR_TITLE), title, colour_off());
}

static bool is(const json_t *object, const char *name, const char *word)
{
    return strcmp(ask_text(object, name), word) == 0;
}

/* ---- the first lines ---- */

static size_t count_connected(const json_t *peers)
{
    size_t index;
    json_t *peer;
    size_t connected = 0;
    json_array_foreach(peers, index, peer)
    {
        connected += json_is_true(json_object_get(peer, "connected"));
    }
    return connected;
}

static void print_well(const json_t *status)
{
    char running[ASK_COUNT_MAX];
    char held[ASK_COUNT_MAX];
    const json_t *peers = json_object_get(json_object_get(status, "mesh"), "peers");
    const json_t *jail = json_object_get(status, "shared_jail");
    printf("%sall is well%s: %s hears %zu of %zu peers", colour_on(COLOUR_GOOD), colour_off(),
           ask_text(status, "node"), count_connected(peers), json_array_size(peers));
    if (jail == NULL) {
        printf("\n");
        return;
    }
    ask_count(ask_number(status, "running"), "running ban", "running bans", running);
    ask_count(ask_number(status, "held"), "address", "addresses", held);
    printf(", %s, the jail %s %s %s\n", running, ask_text(jail, "jail"),
           is(jail, "state", "reads") ? "holds" : "was told to hold", held);
}

/* The first one in the first line, the others below it. */
static void print_faults(const json_t *lines)
{
    size_t count = json_array_size(lines);
    printf("%sNOT WELL%s: %s", colour_on(COLOUR_BAD), colour_off(),
           json_string_value(json_array_get(lines, 0)));
    if (count > 1)
        printf(" (and %zu more)", count - 1);
    printf("\n");
    for (size_t i = 1; i < count; i++)
        printf("  %s\n", json_string_value(json_array_get(lines, i)));
}

static void print_program(const json_t *status)
{
    char span[ASK_TIME_MAX];
    printf("%s %s, node %s, up for %s, process %" JSON_INTEGER_FORMAT "\n",
           ask_text(status, "program"), ask_text(status, "version"), ask_text(status, "node"),
           ask_span(ask_number(status, "uptime_s"), span), ask_number(status, "pid"));
}

/* ---- who hears whom ---- */

static const char *ago_of(int64_t ms, char out[static ASK_TIME_MAX])
{
    return ask_ago(ms < 0 ? -1 : ms / MS_PER_S, out);
}

static void print_peer(const json_t *peer)
{
    char heard[ASK_TIME_MAX];
    char heard_by[ASK_TIME_MAX] = "?";
    bool connected = json_is_true(json_object_get(peer, "connected"));
    ago_of(ask_number(peer, "heard_ms_ago"), heard);
    if (json_object_get(peer, "heard_by_ms_ago") != NULL)
        ago_of(ask_number(peer, "heard_by_ms_ago"), heard_by);
    printf("  %-16s %s%-13s%s %-16s %-16s ", ask_text(peer, "name"),
           connected ? "" : colour_on(COLOUR_BAD), connected ? "connected" : "NOT CONNECTED",
           connected ? "" : colour_off(), heard, heard_by);
    printf("%7" JSON_INTEGER_FORMAT "  %s%s\n", ask_number(peer, "missing_batches"),
           ask_text(peer, "endpoint"),
           json_is_true(json_object_get(peer, "offers")) ? "(it offers)" : "");
}

static void print_peers(const json_t *peers)
{
    size_t index;
    json_t *peer;
    print_title("peers            state         heard            heard by         missing  "
                "endpoint");
    json_array_foreach(peers, index, peer)
    {
        print_peer(peer);
    }
    if (json_array_size(peers) == 0)
        printf("  none: the trust directory holds no other node's certificate with an endpoint\n");
}

static void print_forks(const json_t *forks)
{
    size_t index;
    json_t *fork;
    if (json_array_size(forks) > 0)
        print_title("signed twice, the key is in use twice or stolen (banmesh trust reset)");
    json_array_foreach(forks, index, fork)
    {
        printf("  %-16s%-13s  epoch %" JSON_INTEGER_FORMAT " batch %" JSON_INTEGER_FORMAT
               "\n    here   %s\n    there  %s\n",
               ask_text(fork, "origin"),
               json_is_true(json_object_get(fork, "quarantined")) ? "QUARANTINED" : "reset",
               ask_number(fork, "epoch"), ask_number(fork, "seq"), ask_text(fork, "hash_here"),
               ask_text(fork, "hash_there"));
    }
}

/* ---- what is held here ---- */

/* By what it was told; whether it does is another question. */
static void print_holds(const json_t *status, const json_t *jail)
{
    char running[ASK_COUNT_MAX];
    char held[ASK_COUNT_MAX];
    char let_go[PROGRESS_COUNT_MAX];
    ask_count(ask_number(status, "running"), "running ban", "running bans", running);
    ask_count(ask_number(status, "held"), "address", "addresses", held);
    progress_count((uint64_t)ask_number(status, "let_go"), let_go);
    printf("  %s, of all nodes; the jail %s was told to hold %s, and let go of %s\n", running,
           ask_text(jail, "jail"), held, let_go);
}

static void print_census(const json_t *census)
{
    char ago[ASK_TIME_MAX];
    char tickets[ASK_COUNT_MAX];
    if (!json_is_object(census)) {
        printf("  what it holds was not compared with that since the start\n");
        return;
    }
    printf("  compared with what it holds %s: %s; missing, and handed over again: "
           "%" JSON_INTEGER_FORMAT "; not of the mesh: %" JSON_INTEGER_FORMAT "\n",
           ask_ago(ask_number(census, "s_ago"), ago),
           ask_count(ask_number(census, "tickets"), "address", "addresses", tickets),
           ask_number(census, "handed_over_again"), ask_number(census, "not_of_the_mesh"));
}

/* What each state of the shared jail means. */
static void print_jail(const json_t *jail, const char *log)
{
    static const struct {
        const char *state;
        const char *text;
    } meanings[] = {
        {"unknown", "fail2ban runs; whether it has that jail is being asked"},
        {"not-watched", "nobody looks at fail2ban (shared / fail2ban is empty): whether the bans "
                        "hold, and whether what is let go of is let go of, is not known"},
        {"not-seen", "fail2ban was not seen yet: whether the bans hold is not known"},
        {"down", "fail2ban does not run: it holds nothing until it does"},
        {"unreachable", "whether the bans hold, and lifts are done, is not known"},
        {"missing", "fail2ban has no such jail: it holds none of them"},
        {"not-reading", "that jail does not read the shared log: it holds none of them"},
    };
    char ago[ASK_TIME_MAX];
    if (is(jail, "state", "reads"))
        printf("  fail2ban runs, and that jail reads %s (asked %s)\n", log,
               ask_ago(ask_number(jail, "asked_s_ago"), ago));
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (is(jail, "state", meanings[i].state))
            printf("  %s\n", meanings[i].text);
}

static void print_hook(const json_t *hook)
{
    char ago[ASK_TIME_MAX];
    if (json_object_get(hook, "jail") != NULL)
        printf("  the hook was last called %s, for the jail %s\n",
               ask_ago(ask_number(hook, "called_s_ago"), ago), ask_text(hook, "jail"));
    else if (hook != NULL)
        printf("  no jail of this host has called the hook since %s\n",
               ask_text(hook, "not_called_since"));
}

static void print_held(const json_t *status)
{
    const json_t *jail = json_object_get(status, "shared_jail");
    if (jail == NULL)
        return;
    print_title("bans");
    print_holds(status, jail);
    print_jail(jail, ask_text(json_object_get(status, "shared_log"), "path"));
    print_census(json_object_get(status, "census"));
    print_hook(json_object_get(status, "hook"));
}

/* ---- what waits, and why ---- */

/* Nothing is printed of a count of 0. */
static size_t print_waiting(json_int_t count, const char *one, const char *many, const char *format,
                            ...) __attribute__((format(printf, 4, 5)));
static size_t print_waiting(json_int_t count, const char *one, const char *many, const char *format,
                            ...)
{
    char counted[ASK_COUNT_MAX];
    va_list args;
    if (count <= 0)
        return 0;
    printf("  %s", ask_count(count, one, many, counted));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    return 1;
}

static size_t print_over_rate(const json_t *origins)
{
    const char *name;
    json_t *count;
    size_t lines = 0;
    json_object_foreach((json_t *)(uintptr_t)origins, name, count)
    {
        lines += print_waiting(json_integer_value(count), "ban", "bans",
                               " of %s, which bans faster than guard / rate; let in as that "
                               "allows (banmesh admit %s: now)",
                               name, name);
    }
    return lines;
}

static size_t print_progress(const json_t *list)
{
    size_t index;
    json_t *one;
    char have[PROGRESS_COUNT_MAX];
    char all[PROGRESS_COUNT_MAX];
    char span[ASK_TIME_MAX];
    json_array_foreach(list, index, one)
    {
        progress_count((uint64_t)ask_number(one, "have"), have);
        progress_count((uint64_t)ask_number(one, "all"), all);
        printf("  catching up with %s: %s of %s batches, for %s\n", ask_text(one, "origin"), have,
               all, ask_span(ask_number(one, "for_s"), span));
    }
    return json_array_size(list);
}

/* Lines that wait for the pace of the shared log, and how long that takes. */
static size_t print_backlog(const json_t *status)
{
    char span[ASK_TIME_MAX];
    json_int_t pace = ask_number(status, "pace");
    json_int_t backlog = ask_number(status, "backlog");
    if (pace <= 0)
        return print_waiting(backlog, "address", "addresses",
                             ", for their lines in the shared log");
    return print_waiting(backlog, "address", "addresses",
                         ", for the pace of the shared log (shared / pace, %" JSON_INTEGER_FORMAT
                         " a second): the last one in %s; the newest first",
                         pace, ask_span((backlog + pace - 1) / pace, span));
}

static void print_waits(const json_t *status)
{
    const json_t *jail = json_object_get(status, "shared_jail");
    const json_t *mesh = json_object_get(status, "mesh");
    const json_t *local = json_object_get(status, "local_allow");
    print_title("waiting");
    size_t lines = print_backlog(status);
    lines += print_over_rate(json_object_get(status, "over_rate"));
    lines += print_waiting(ask_number(status, "short_of_quorum"), "address", "addresses",
                           ", for another node that bans them (guard / quorum)");
    lines += print_waiting(ask_number(status, "to_let_go"), "address", "addresses",
                           ", to be let go of%s",
                           is(jail, "state", "reads") ? "" : ": by the jail, see above");
    lines +=
        print_waiting(ask_number(local, "waiting"), "allowed address or network",
                      "allowed addresses and networks", ", for this host's jails to let go of");
    lines += print_waiting(ask_number(mesh, "missing_batches"), "batch", "batches",
                           " that peers have signed, not here yet");
    lines += print_progress(json_object_get(mesh, "catching_up"));
    lines += print_waiting(ask_number(status, "behind"), "batch", "batches", ", for the store");
    if (lines == 0)
        printf("  nothing\n");
}

/* ---- all of it ---- */

static void print_status(const json_t *status, bool verbose)
{
    const json_t *mesh = json_object_get(status, "mesh");
    const json_t *attention = json_object_get(status, "attention");
    if (json_array_size(attention) > 0)
        print_faults(attention);
    else
        print_well(status);
    print_program(status);
    print_peers(json_object_get(mesh, "peers"));
    print_forks(json_object_get(mesh, "forks"));
    print_held(status);
    print_waits(status);
    if (verbose)
        status_detail_print(status);
}

static int show(const command_options_t *options, bool verbose)
{
    json_t *answer = ask_node(options, "status");
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        print_status(answer, verbose);
    bool attention = json_array_size(json_object_get(answer, "attention")) > 0;
    json_decref(answer);
    return attention ? COMMAND_ATTENTION : COMMAND_OK;
}

/* The text that would be printed; the caller frees it. */
static char *page_of(const command_options_t *options, const char *socket, bool verbose)
{
    char *text = NULL;
    size_t size;
    fault_t fault;
    FILE *terminal = stdout;
    FILE *page = open_memstream(&text, &size);
    if (page == NULL)
        fatal("no memory for a page");
    json_t *answer = ask_socket(socket, "status", &fault);
    stdout = page;
    if (answer != NULL)
        print_status(answer, verbose);
    else
        printf("%sDOWN%s: %s\n", colour_on(COLOUR_BAD), colour_off(), fault.text);
    char now[ASK_TIME_MAX];
    printf("\n%s, with %s; Ctrl-C ends it\n", ask_time((int64_t)time(NULL), now), options->config);
    stdout = terminal;
    fclose(page);
    json_decref(answer);
    return text;
}

static int watch(const command_options_t *options, bool verbose)
{
    fault_t fault;
    if (!isatty(STDOUT_FILENO) || options->json) {
        log_errorx("status: --watch draws on a terminal; for programs there is --json, and banmesh "
                   "watch --json");
        return COMMAND_USAGE;
    }
    settings_t *settings = settings_load(options->config, &fault);
    if (settings == NULL) {
        log_errorx("%s", fault.text);
        return COMMAND_FAILED;
    }
    repeat_begin();
    while (true) {
        char *page = page_of(options, settings->admin.socket, verbose);
        screen_draw(page);
        free(page);
        repeat_wait(REDRAW_MS);
    }
}

static int status(const command_options_t *options, int argc, char **argv)
{
    bool verbose = command_flag(&argc, argv, "--verbose");
    bool again = command_flag(&argc, argv, "--watch");
    if (!command_expects(&command_status, argc, argv, 0))
        return COMMAND_USAGE;
    return again ? watch(options, verbose) : show(options, verbose);
}

const command_t command_status = {
    .name = "status",
    .summary = "whether all is well; who hears whom, what is held, what waits",
    .usage =
        "usage: banmesh status [--verbose] [--watch] [--config FILE] [--json]\n"
        "\n"
        "Asks the banmeshd (or banmesh-aggregator) that runs with these settings. The first line\n"
        "says \"all is well\", or \"NOT WELL\", what is wrong, and how much more; that follows.\n"
        "\n"
        "exit status: 0 all is well; 1 nobody answers; 2 usage; 3 it runs, and not all is well (a\n"
        "peer that is not connected, no fail2ban, a jail that does not read the shared log, ...)\n"
        "\n"
        "  --verbose  also feeds, and counters by outcome\n"
        "  --watch    draw it anew each second, on a terminal, until Ctrl-C\n"
        "\n"
        "  heard      when the peer was heard last; connected: its own signed heartbeat came "
        "within\n"
        "             five heartbeat intervals\n"
        "  heard by   when the peer last heard this node, as the peer says (twice a minute)\n"
        "  missing    batches that the peer signed for and this host does not have yet\n"
        "\n"
        "While batches are missing it says how far it is: \"catching up with mx1: 412,000 of\n"
        "1,000,000 batches\". If that does not grow, nobody who is connected has them.\n"
        "\n"
        "of feeds (--verbose):\n"
        "  epoch      when the origin began to count: each start of its daemon is a new one\n"
        "  have       the last batch that this host holds; head: the last one there is\n"
        "  floor      the first batch that still counts\n"
        "  applied    the last batch that was decided on here; at an aggregator, that is stored\n"
        "  missed     batches that nobody held any more when an aggregator came to them\n"
        "\n"
        "What the counters' words mean, and what to look at: counters.md in\n"
        "/usr/share/doc/banmesh, or docs/ of the source. The JSON: commands.md there.\n"
        "\n"
        "examples: banmesh status\n"
        "          banmesh status --watch\n"
        "          banmesh status --config /etc/banmesh/aggregator.conf --verbose\n",
    .run = status,
};
