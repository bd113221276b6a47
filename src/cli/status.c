/* status - what the running service says of itself: `banmesh status`. */
#include "ask.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_age(json_int_t ms)
{
    if (ms < 0)
        printf("%-13s", "never");
    else if (ms < 10000)
        printf("%5.1f s ago  ", (double)ms / 1000);
    else
        printf("%5" JSON_INTEGER_FORMAT " s ago  ", ms / 1000);
}

static void print_peers(const json_t *peers)
{
    size_t index;
    json_t *peer;
    printf("\npeers             state         heard        heard by     missing  endpoint\n");
    json_array_foreach(peers, index, peer)
    {
        bool connected = json_is_true(json_object_get(peer, "connected"));
        printf("  %-16s%-14s", ask_text(peer, "name"), connected ? "connected" : "NOT CONNECTED");
        print_age(ask_number(peer, "heard_ms_ago"));
        if (json_object_get(peer, "heard_by_ms_ago") != NULL)
            print_age(ask_number(peer, "heard_by_ms_ago"));
        else
            printf("%-13s", "?");
        printf("%8" JSON_INTEGER_FORMAT "  %s%s\n", ask_number(peer, "missing_batches"),
               ask_text(peer, "endpoint"),
               json_is_true(json_object_get(peer, "offers")) ? "(it offers)" : "");
    }
    if (json_array_size(peers) == 0)
        printf("  none: the trust directory holds no other node's certificate with an endpoint\n");
}

/* own: the node's name; its own feeds are not applied here. An aggregator stores them instead. */
static void print_applied(const json_t *feed, const char *own, bool applies)
{
    bool stores = json_object_get(feed, "stored") != NULL;
    if (stores || (applies && strcmp(ask_text(feed, "origin"), own) != 0))
        printf("%11" JSON_INTEGER_FORMAT, ask_number(feed, stores ? "stored" : "applied"));
    else
        printf("%11s", "-");
    if (ask_number(feed, "missed_batches") > 0)
        printf("  %" JSON_INTEGER_FORMAT " missed", ask_number(feed, "missed_batches"));
    putchar('\n');
}

static void print_feeds(const json_t *feeds, const char *own, bool applies)
{
    size_t index;
    json_t *feed;
    printf("\nfeeds             epoch              have      head     floor    applied\n");
    json_array_foreach(feeds, index, feed)
    {
        printf("  %-16s%-14" JSON_INTEGER_FORMAT "%9" JSON_INTEGER_FORMAT "%10" JSON_INTEGER_FORMAT
               "%10" JSON_INTEGER_FORMAT,
               ask_text(feed, "origin"), ask_number(feed, "epoch"), ask_number(feed, "have"),
               ask_number(feed, "head"), ask_number(feed, "floor"));
        print_applied(feed, own, applies);
    }
    if (json_array_size(feeds) == 0)
        printf("  none yet\n");
}

static void print_progress(const json_t *list)
{
    size_t index;
    json_t *one;
    char have[PROGRESS_COUNT_MAX];
    char all[PROGRESS_COUNT_MAX];
    if (json_array_size(list) > 0)
        printf("\n");
    json_array_foreach(list, index, one)
    {
        progress_count((uint64_t)ask_number(one, "have"), have);
        progress_count((uint64_t)ask_number(one, "all"), all);
        printf("catching up with %s: %s of %s batches, for %" JSON_INTEGER_FORMAT " s\n",
               ask_text(one, "origin"), have, all, ask_number(one, "for_s"));
    }
}

static void print_forks(const json_t *forks)
{
    size_t index;
    json_t *fork;
    if (json_array_size(forks) > 0)
        printf("\nsigned twice, the key is in use twice or stolen (banmesh trust reset)\n");
    json_array_foreach(forks, index, fork)
    {
        {
            printf("  %-16s%-13s  epoch %" JSON_INTEGER_FORMAT " batch %" JSON_INTEGER_FORMAT
                   "\n    here   %s\n    there  %s\n",
                   ask_text(fork, "origin"),
                   json_is_true(json_object_get(fork, "quarantined")) ? "QUARANTINED" : "reset",
                   ask_number(fork, "epoch"), ask_number(fork, "seq"), ask_text(fork, "hash_here"),
                   ask_text(fork, "hash_there"));
        }
    }
}

static void print_counters(const char *title, const json_t *counters)
{
    const char *name;
    json_t *value;
    if (!json_is_object(counters) || json_object_size(counters) == 0)
        return;
    printf("\n%s\n", title);
    json_object_foreach((json_t *)(uintptr_t)counters, name, value)
    {
        if (json_is_integer(value))
            printf("  %-24s%10" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
        else if (json_is_string(value))
            printf("  %-24s%s\n", name, json_string_value(value));
        else if (json_is_boolean(value))
            printf("  %-24s%s\n", name, json_is_true(value) ? "yes" : "NO");
    }
}

static void print_attention(const json_t *lines)
{
    size_t index;
    json_t *line;
    if (json_array_size(lines) > 0)
        printf("\nLOOK AT\n");
    json_array_foreach(lines, index, line)
    {
        printf("  %s\n", json_string_value(line));
    }
}

static void print_status(const json_t *status)
{
    const json_t *mesh = json_object_get(status, "mesh");
    const json_t *messages = json_object_get(mesh, "messages");
    printf("%s %s  node %s  pid %" JSON_INTEGER_FORMAT "  up %" JSON_INTEGER_FORMAT " s\n",
           ask_text(status, "program"), ask_text(status, "version"), ask_text(status, "node"),
           ask_number(status, "pid"), ask_number(status, "uptime_s"));
    if (json_object_get(status, "held") != NULL)
        printf("%" JSON_INTEGER_FORMAT " bans run, %" JSON_INTEGER_FORMAT
               " addresses held by the shared jail, %" JSON_INTEGER_FORMAT " wait for the pace\n",
               ask_number(status, "running"), ask_number(status, "held"),
               ask_number(status, "backlog"));
    if (json_object_get(status, "behind") != NULL)
        printf("%" JSON_INTEGER_FORMAT " batches are not in the store yet\n",
               ask_number(status, "behind"));
    const json_t *hook = json_object_get(status, "hook");
    if (json_object_get(hook, "jail") != NULL)
        printf("the hook was last called %" JSON_INTEGER_FORMAT " s ago, for the jail %s\n",
               ask_number(hook, "called_s_ago"), ask_text(hook, "jail"));
    else if (hook != NULL)
        printf("no jail of this host has called the hook since %s\n",
               ask_text(hook, "not_called_since"));
    print_attention(json_object_get(status, "attention"));
    print_peers(json_object_get(mesh, "peers"));
    print_feeds(json_object_get(mesh, "feeds"), ask_text(status, "node"),
                json_object_get(status, "outcomes") != NULL);
    print_progress(json_object_get(mesh, "catching_up"));
    print_forks(json_object_get(mesh, "forks"));
    print_counters("bans of this host", json_object_get(status, "intake"));
    print_counters("malformed requests, by field", json_object_get(status, "malformed"));
    print_counters("jails under another name in the mesh", json_object_get(status, "jails"));
    print_counters("log of this host's bans", json_object_get(status, "own_log"));
    print_counters("bans of peers", json_object_get(status, "outcomes"));
    print_counters("peers whose clock is ahead of this host's, s",
                   json_object_get(status, "clocks_ahead"));
    print_counters("shared log", json_object_get(status, "shared_log"));
    print_counters("store", json_object_get(status, "store"));
    print_counters("country database", json_object_get(status, "country_db"));
    print_counters("bans into the store", json_object_get(status, "events"));
    print_counters("messages", messages);
    print_counters("refused messages", json_object_get(messages, "refused"));
}

static int status(const command_options_t *options, int argc, char **argv)
{
    if (!command_expects(&command_status, argc, argv, 0))
        return COMMAND_USAGE;
    json_t *answer = ask_node(options, "status");
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        print_status(answer);
    bool attention = json_array_size(json_object_get(answer, "attention")) > 0;
    json_decref(answer);
    return attention ? COMMAND_ATTENTION : COMMAND_OK;
}

const command_t command_status = {
    .name = "status",
    .summary = "how the running service is: peers, feeds, counters",
    .usage =
        "usage: banmesh status [--config F] [--json]\n"
        "\n"
        "Asks the banmeshd (or banmesh-aggregator) that runs with these settings. A peer is\n"
        "connected if its own signed heartbeat came within five heartbeat intervals.\n"
        "\n"
        "exit status: 0 all is well; 1 nobody answers; 2 usage; 3 it runs, and something needs a\n"
        "look: that stands first, under LOOK AT (a peer that is not connected, a file that was\n"
        "left out, a key in use twice, ...)\n"
        "\n"
        "  heard    when the peer was heard last; heard by: when the peer last heard this node, "
        "as\n"
        "           the peer says (twice a minute)\n"
        "  missing  batches that the peer signed for and this host does not have yet\n"
        "  epoch    when the origin began to count: each start of its daemon is a new one\n"
        "  have     the last batch that this host holds; head: the last one there is\n"
        "  floor    the first batch that still counts\n"
        "  applied  the last batch that was decided on here; at an aggregator, that is stored\n"
        "  missed   batches that nobody held any more when an aggregator came to them\n"
        "  held     addresses that the shared jail holds, by what it was told\n"
        "  pace     how fast they are written to the shared log (shared / pace); newest first\n"
        "\n"
        "While batches are missing it says how far it is: \"catching up with mx1: 412,000 of\n"
        "1,000,000 batches\". If that does not grow, nobody who is connected has them.\n"
        "\n"
        "What the counters' words mean, and what to look at: counters.md in\n"
        "/usr/share/doc/banmesh, or docs/ of the source.\n"
        "\n"
        "example: banmesh status --config /etc/banmesh/node.conf\n",
    .run = status,
};
