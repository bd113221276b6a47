#include "status_detail.h"

#include "ask.h"
#include "colour.h"

#include <stdio.h>
#include <string.h>

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
    printf("\n%sfeeds             epoch              have      head     floor    applied%s\n",
           colour_on(COLOUR_TITLE), colour_off());
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

static void print_counters(const char *title, const json_t *counters)
{
    const char *name;
    json_t *value;
    if (!json_is_object(counters) || json_object_size(counters) == 0)
        return;
    printf("\n%s%s%s\n", colour_on(COLOUR_TITLE), title, colour_off());
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

void status_detail_print(const json_t *status)
{
    const json_t *mesh = json_object_get(status, "mesh");
    const json_t *messages = json_object_get(mesh, "messages");
    print_feeds(json_object_get(mesh, "feeds"), ask_text(status, "node"),
                json_object_get(status, "outcomes") != NULL);
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
    print_counters("AS number database", json_object_get(status, "asn_db"));
    print_counters("bans into the store", json_object_get(status, "events"));
    print_counters("messages", messages);
    print_counters("refused messages", json_object_get(messages, "refused"));
}
