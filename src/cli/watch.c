/* watch - what happens to bans here, as it happens: `banmesh watch`. */
#include "ask.h"
#include "clock.h"
#include "repeat.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 200
#define DOWN_MS 1000

typedef struct {
    const char *origin; /* NULL: any */
    const char *jail;
    bool has_network;
    addr_t network;
} filter_t;

typedef struct {
    const command_options_t *options;
    settings_t *settings;
    filter_t filter;
    json_int_t last;  /* how many of those before to begin with */
    json_t *run;      /* as the node calls this run of its; NULL: not asked yet */
    json_int_t after; /* up to which number they were seen */
    int failures;     /* in a row */
} session_t;

/* ---- one event ---- */

static bool is_in_network(const filter_t *filter, const json_t *event)
{
    addr_t address;
    return addr_parse(ask_text(event, "address"), &address) == ADDR_OK &&
           (addr_contains(&filter->network, &address) || addr_contains(&address, &filter->network));
}

static bool passes(const filter_t *filter, const json_t *event)
{
    return (filter->origin == NULL || strcmp(filter->origin, ask_text(event, "origin")) == 0) &&
           (filter->jail == NULL || strcmp(filter->jail, ask_text(event, "jail")) == 0) &&
           (!filter->has_network || is_in_network(filter, event));
}

/* What an event is called. */
static const char *title_of(const json_t *event)
{
    static const char *const titles[][2] = {
        {"own", "announced"},   {"arrived", "arrived"},
        {"applied", "applied"}, {"unwritten", "not written"},
        {"let-go", "let go"},   {"lifted-by-hand", "lifted by hand"},
        {"pardon", "pardoned"}, {"allowance", "allowed"},
        {"missed", "missed"},   {"started", "started"},
    };
    const char *word = ask_text(event, "event");
    if (strcmp(word, "allowance") == 0 && ask_number(event, "until") <= ask_number(event, "time"))
        return "allowed no more";
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        if (strcmp(word, titles[i][0]) == 0)
            return titles[i][1];
    return word;
}

static bool is(const json_t *event, const char *word)
{
    return strcmp(ask_text(event, "event"), word) == 0;
}

static void print_until(const json_t *event)
{
    char until[ASK_TIME_MAX];
    if (json_object_get(event, "until") != NULL)
        printf(", until %s", ask_clock(ask_number(event, "until"), until));
}

/* The words behind an address. */
static void print_words(const json_t *event)
{
    if (json_object_get(event, "origin") != NULL)
        printf(" by %s", ask_text(event, "origin"));
    if (json_object_get(event, "jail") != NULL)
        printf(" in %s", ask_text(event, "jail"));
    print_until(event);
    if (json_object_get(event, "outcome") != NULL)
        printf(": %s", ask_text(event, "outcome"));
    if (json_object_get(event, "text") != NULL)
        printf(": \"%s\"", ask_text(event, "text"));
}

static void print_event(const json_t *event)
{
    char when[ASK_TIME_MAX];
    printf("%s  %-15s  ", ask_clock(ask_number(event, "time"), when), title_of(event));
    if (is(event, "missed"))
        printf("%" JSON_INTEGER_FORMAT " events, too many came at once",
               ask_number(event, "count"));
    else if (is(event, "started"))
        printf("the node has started anew");
    else {
        printf("%s", ask_text(event, "address"));
        print_words(event);
    }
    printf("\n");
}

static void show(const session_t *self, const json_t *event)
{
    if (self->options->json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        printf("\n");
    } else
        print_event(event);
    fflush(stdout);
}

/* What the command itself has to say. Takes no filter. */
static void say(const session_t *self, const char *word, json_int_t count)
{
    json_t *event = json_pack("{s:I, s:s, s:I}", "time", (json_int_t)(wall_now().ms / MS_PER_S),
                              "event", word, "count", count);
    show(self, event);
    json_decref(event);
}

/* ---- asking ---- */

static json_t *ask(const session_t *self, fault_t *fault)
{
    char question[128];
    if (self->run == NULL)
        snprintf(question, sizeof question, "events {\"last\": %" JSON_INTEGER_FORMAT "}",
                 self->last);
    else
        snprintf(question, sizeof question,
                 "events {\"run\": %" JSON_INTEGER_FORMAT ", \"after\": %" JSON_INTEGER_FORMAT "}",
                 json_integer_value(self->run), self->after);
    return ask_socket(self->settings->admin.socket, question, fault);
}

/* Returns whether there is more at once. */
static bool take(session_t *self, const json_t *answer)
{
    size_t index;
    json_t *event;
    json_t *run = json_object_get(answer, "run");
    if (self->run != NULL && !json_equal(self->run, run))
        say(self, "started", 1);
    if (ask_number(answer, "missed") > 0)
        say(self, "missed", ask_number(answer, "missed"));
    json_array_foreach(json_object_get(answer, "events"), index, event)
    {
        if (passes(&self->filter, event))
            show(self, event);
    }
    json_decref(self->run);
    self->run = json_incref(run);
    self->after = ask_number(answer, "next");
    return json_is_true(json_object_get(answer, "more"));
}

/* A restart of the node is no reason to end. That it is down is said once; one question that found
 * no place among others is no sign of that. */
static void note_down(session_t *self, const fault_t *fault)
{
    if (++self->failures == 2)
        log_warnx("%s (it goes on once the node answers)", fault->text);
    repeat_wait(self->failures < 2 ? LOOK_MS : DOWN_MS);
}

static int follow(session_t *self)
{
    fault_t fault;
    while (true) {
        json_t *answer = ask(self, &fault);
        if (answer == NULL && self->run == NULL) {
            log_errorx("%s", fault.text);
            return COMMAND_FAILED;
        }
        if (answer == NULL) {
            note_down(self, &fault);
            continue;
        }
        self->failures = 0;
        bool more = take(self, answer);
        json_decref(answer);
        repeat_wait(more ? 0 : LOOK_MS);
    }
}

/* ---- the command ---- */

static int read_filter(session_t *self, int *argc, char **argv)
{
    const char *network = command_option(argc, argv, "--network");
    const char *last = command_option(argc, argv, "--last");
    char *end = NULL;
    self->filter.origin = command_option(argc, argv, "--origin");
    self->filter.jail = command_option(argc, argv, "--jail");
    self->filter.has_network = network != NULL;
    if (network != NULL) {
        addr_error_t wrong = addr_parse(network, &self->filter.network);
        if (wrong != ADDR_OK) {
            log_errorx("watch: --network \"%s\": %s", network, addr_error_text(wrong));
            return -1;
        }
    }
    if (last != NULL)
        self->last = strtoll(last, &end, 10);
    if (last != NULL && (end == last || *end != '\0' || self->last < 0)) {
        log_errorx("watch: --last \"%s\": expected a number of events", last);
        return -1;
    }
    return 0;
}

static int watch(const command_options_t *options, int argc, char **argv)
{
    fault_t fault;
    session_t self = {.options = options};
    if (read_filter(&self, &argc, argv) == -1 || !command_expects(&command_watch, argc, argv, 0))
        return COMMAND_USAGE;
    self.settings = settings_load(options->config, &fault);
    if (self.settings == NULL) {
        log_errorx("%s", fault.text);
        return COMMAND_FAILED;
    }
    repeat_begin();
    int rc = follow(&self);
    settings_destroy(&self.settings);
    return rc;
}

const command_t command_watch = {
    .name = "watch",
    .summary = "what happens to bans here, as it happens",
    .usage =
        "usage: banmesh watch [--origin NODE] [--jail JAIL] [--network NET] [--last N]\n"
        "                     [--config FILE] [--json]\n"
        "\n"
        "One line an event, until Ctrl-C or until nobody reads it:\n"
        "\n"
        "  announced       a ban of this host, told to all\n"
        "  applied         a line for the shared jail was written: it came, or had waited\n"
        "  arrived         a ban of a peer of which no line is written now, and why: paced, "
        "quorum,\n"
        "                  already-held, protected-address, ... (the words are in counters.md)\n"
        "  let go          the jail let go of an address; \"expired\": its own time was over\n"
        "  lifted by hand  somebody lifted it in the shared jail\n"
        "  pardoned, allowed  somebody took bans back, or keeps them away\n"
        "\n"
        "  --last N        begin with up to N of those that were before, since the node started\n"
        "  --json          one object a line\n"
        "\n"
        "The node remembers its last 4,096 events. Who reads too slowly is told how many it "
        "missed;\n"
        "the node waits for nobody.\n"
        "\n"
        "examples: banmesh watch --last 20\n"
        "          banmesh watch --origin mx1 --json | jq -r .address\n",
    .run = watch,
};
