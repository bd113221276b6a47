/* bans - what runs: `banmesh bans`. */
#include "ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const json_t *report;
    json_int_t time_s;
} row_t;

static int compare_rows(const void *one_p, const void *other_p)
{
    const row_t *one = one_p;
    const row_t *other = other_p;
    return (other->time_s > one->time_s) - (other->time_s < one->time_s);
}

static void print_row(const json_t *ban, bool csv)
{
    char begun[ASK_TIME_MAX];
    char until[ASK_TIME_MAX];
    ask_time(ask_number(ban, "time"), begun);
    ask_time(ask_number(ban, "until"), until);
    printf(csv ? "%s,%s,%s,%s,%s,%s\n" : "%-40s %-16s %-20s %-20s %-20s %s\n",
           ask_text(ban, "address"), ask_text(ban, "origin"), ask_text(ban, "jail"), begun, until,
           ask_text(ban, "outcome"));
}

/* The newest first. */
static void print_bans(const json_t *bans, bool csv)
{
    size_t count = json_array_size(bans);
    row_t *rows = xcalloc(count + 1, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        const json_t *report = json_array_get(bans, i);
        rows[i] = (row_t){report, ask_number(report, "time")};
    }
    qsort(rows, count, sizeof *rows, compare_rows);
    printf(csv ? "%s,%s,%s,%s,%s,%s\n" : "%-40s %-16s %-20s %-20s %-20s %s\n", "address", "origin",
           "jail", "begun", "until", "outcome");
    for (size_t i = 0; i < count; i++)
        print_row(rows[i].report, csv);
    free(rows);
}

/* The node answers in portions. NULL: it was said why. */
static json_t *ask_all(const command_options_t *options, json_t *asked)
{
    json_t *all = json_array();
    json_t *next = json_integer(0);
    while (json_is_integer(next)) {
        json_object_set_new(asked, "from", next);
        json_t *answer = ask_with(options, "bans", json_deep_copy(asked));
        if (answer == NULL) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, json_object_get(answer, "bans"));
        next = json_incref(json_object_get(answer, "next"));
        json_decref(answer);
    }
    json_decref(next);
    return json_pack("{s:o, s:I}", "bans", all, "count", (json_int_t)json_array_size(all));
}

static int bans(const command_options_t *options, int argc, char **argv)
{
    static const char *const filters[] = {"--origin", "--jail", "--network"};
    json_t *asked = json_object();
    bool csv = command_flag(&argc, argv, "--csv");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const char *value = command_option(&argc, argv, filters[i]);
        if (value != NULL)
            json_object_set_new(asked, filters[i] + 2, json_string(value));
    }
    if (!command_expects(&command_bans, argc, argv, 0)) {
        json_decref(asked);
        return COMMAND_USAGE;
    }
    json_t *answer = ask_all(options, asked);
    json_decref(asked);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        print_bans(json_object_get(answer, "bans"), csv);
    json_decref(answer);
    return COMMAND_OK;
}

const command_t command_bans = {
    .name = "bans",
    .summary = "the bans that run, of all nodes",
    .usage = "usage: banmesh bans [--origin NODE] [--jail JAIL] [--network NET] [--csv]\n"
             "                    [--config FILE] [--json]\n"
             "\n"
             "The bans that run, the newest first: address, node and jail that reported it, begin\n"
             "and end, and what is decided here (banmesh why ADDRESS tells more).\n"
             "\n"
             "example: banmesh bans --origin mx1 --network 45.154.0.0/16\n",
    .run = bans,
};
