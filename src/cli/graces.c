/* graces - lifting bans, and keeping them away: `banmesh pardon`, `banmesh allow`. */
#include "ask.h"
#include "hostname.h"
#include "reach.h"

#include <stdio.h>
#include <string.h>

#define FEW 10

static void print_covered(const json_t *answer)
{
    size_t index;
    json_t *ban;
    char counted[ASK_COUNT_MAX];
    json_int_t count = ask_number(answer, "covered_count");
    bool done = json_is_true(json_object_get(answer, "done"));
    printf("%s %s: it covers %s\n", done ? "done for" : "nothing done for",
           ask_text(answer, "network"), ask_count(count, "running ban", "running bans", counted));
    json_array_foreach(json_object_get(answer, "covered"), index, ban)
    {
        if (index < FEW)
            printf("  %-18s by %s in %s\n", ask_text(ban, "address"), ask_text(ban, "origin"),
                   ask_text(ban, "jail"));
    }
    if (count > FEW)
        printf("  ... and %" JSON_INTEGER_FORMAT " more\n", count - FEW);
}

/* Take --for, --reason or --comment, --dry-run. NULL: the usage is wrong, and it was said. */
static json_t *read_order(const command_t *command, int *argc, char **argv, const char *why,
                          bool needs_span)
{
    const char *span = command_option(argc, argv, "--for");
    const char *text = command_option(argc, argv, why);
    bool dry_run = command_flag(argc, argv, "--dry-run");
    int64_t for_s = 0;
    if (!command_expects(command, *argc, argv, 1))
        return NULL;
    if (span != NULL ? !ask_parse_span(span, &for_s) : needs_span) {
        log_errorx("%s: --for \"%s\": expected a time such as 90s, 15min, 12h, 30d", command->name,
                   span != NULL ? span : "");
        return NULL;
    }
    if (text == NULL && !dry_run) {
        log_errorx("%s: expected %s and a few words, for those who ask later", command->name, why);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:I, s:b}", "network", argv[1], "text", text != NULL ? text : "",
                     "for_s", (json_int_t)for_s, "dry_run", dry_run);
}

static int carry_out(const command_options_t *options, const char *word, json_t *order)
{
    reach_t reach = reach_begin(options);
    json_t *answer = ask_with(options, word, order);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else {
        print_covered(answer);
        if (json_is_true(json_object_get(answer, "done"))) {
            reach_hold(&reach, ask_text(answer, "network"), false);
            reach_peers(&reach);
            printf(
                "for bans of others it counts on hosts that name this node in roles / operator\n");
        }
    }
    json_decref(answer);
    return COMMAND_OK;
}

static int pardon(const command_options_t *options, int argc, char **argv)
{
    json_t *order = read_order(&command_pardon, &argc, argv, "--reason", false);
    return order != NULL ? carry_out(options, "pardon", order) : COMMAND_USAGE;
}

const command_t command_pardon = {
    .name = "pardon",
    .summary = "lift the bans of an address or network everywhere",
    .usage =
        "usage: banmesh pardon ADDRESS --reason WORDS [--for TIME] [--dry-run]\n"
        "                      [--config FILE] [--json]\n"
        "\n"
        "Makes void all bans of an address, or of what lies in a network, that began up to now;\n"
        "with --for also those that begin within that time. This node's own bans are lifted\n"
        "everywhere; those of others here, and on hosts that name this node in roles / operator.\n"
        "It touches the shared jails, not what a local jail has banned itself.\n"
        "\n"
        "  --dry-run  only show which bans it would lift\n"
        "\n"
        "examples: banmesh pardon 45.154.244.193 --reason \"monitoring of a customer\"\n"
        "          banmesh pardon 45.154.0.0/16 --for 12h --reason \"test\" --dry-run\n",
    .run = pardon,
};

/* ---- names ---- */

static void print_name(const json_t *name)
{
    char until[ASK_TIME_MAX];
    size_t index;
    json_t *one;
    printf("%-20s until %s by %-12s %s\n", ask_text(name, "name"),
           ask_time(ask_number(name, "until"), until), "name", ask_text(name, "text"));
    json_array_foreach(json_object_get(name, "addresses"), index, one)
    {
        printf("  %-18s until %s, and again while the name has it\n", ask_text(one, "address"),
               ask_time(ask_number(one, "until"), until));
    }
    if (json_is_string(json_object_get(name, "fault")))
        printf("  %s\n", ask_text(name, "fault"));
    else if (json_array_size(json_object_get(name, "addresses")) == 0)
        printf("  being looked up\n");
}

/* What the node knows of a name, once it has been looked up; NULL: not in time. */
static json_t *wait_for_name(const reach_t *reach, const char *name)
{
    size_t index;
    json_t *one;
    json_t *found = NULL;
    do {
        json_t *answer = ask_node(reach->options, "allowances");
        if (answer == NULL)
            return NULL;
        json_array_foreach(json_object_get(answer, "names"), index, one)
        {
            bool is_known = json_array_size(json_object_get(one, "addresses")) > 0 ||
                            json_is_string(json_object_get(one, "fault"));
            if (strcmp(ask_text(one, "name"), name) == 0 && is_known)
                found = json_incref(one);
        }
        json_decref(answer);
    } while (found == NULL && reach_waits(reach));
    return found;
}

static void report_name(const reach_t *reach, const json_t *answer)
{
    json_t *name = wait_for_name(reach, ask_text(answer, "name"));
    if (name == NULL)
        printf("%s: not looked up yet; banmesh allow list shows what it is\n",
               ask_text(answer, "name"));
    else
        print_name(name);
    json_decref(name);
    reach_peers(reach);
}

static int allow_name(const command_options_t *options, json_t *order)
{
    reach_t reach = reach_begin(options);
    json_t *answer = ask_with(options, "allow", order);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else if (json_is_true(json_object_get(answer, "done")))
        report_name(&reach, answer);
    else
        printf("nothing done for %s\n", ask_text(answer, "name"));
    json_decref(answer);
    return COMMAND_OK;
}

/* ---- allowances ---- */

static void print_allowances(const json_t *answer)
{
    size_t index;
    json_t *one;
    json_array_foreach(json_object_get(answer, "names"), index, one)
    {
        print_name(one);
    }
    json_array_foreach(json_object_get(answer, "allowances"), index, one)
    {
        char until[ASK_TIME_MAX];
        printf("%-20s until %s by %-12s %s%s\n", ask_text(one, "network"),
               ask_time(ask_number(one, "until"), until), ask_text(one, "origin"),
               ask_text(one, "text"),
               json_is_true(json_object_get(one, "operator"))
                   ? ""
                   : " (no effect here: not named in roles / operator)");
    }
}

static int list(const command_options_t *options)
{
    json_t *answer = ask_node(options, "allowances");
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        print_allowances(answer);
    json_decref(answer);
    return COMMAND_OK;
}

static int take_back(const command_options_t *options, int argc, char **argv)
{
    if (!command_expects(&command_allow, argc, argv, 1))
        return COMMAND_USAGE;
    json_t *answer = ask_with(options, "disallow",
                              json_pack("{s:s, s:s}", "network", argv[1], "text", "withdrawn"));
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        printf("this node's allowance of %s is withdrawn\n", ask_text(answer, "network"));
    json_decref(answer);
    return COMMAND_OK;
}

static int allow(const command_options_t *options, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list(options);
    if (argc >= 2 && strcmp(argv[1], "remove") == 0)
        return take_back(options, argc - 1, argv + 1);
    json_t *order = read_order(&command_allow, &argc, argv, "--comment", true);
    if (order == NULL)
        return COMMAND_USAGE;
    return hostname_valid(argv[1]) ? allow_name(options, order)
                                   : carry_out(options, "allow", order);
}

const command_t command_allow = {
    .name = "allow",
    .summary = "keep bans of an address or network away, for a time",
    .usage =
        "usage: banmesh allow NETWORK|NAME --for TIME --comment WORDS [--dry-run]\n"
        "       banmesh allow list\n"
        "       banmesh allow remove NETWORK|NAME\n"
        "                     [--config FILE] [--json]\n"
        "\n"
        "While it runs, no ban of an address in NETWORK counts: here, and on hosts that name this\n"
        "node in roles / operator; fail2ban's own jails there let go of it, too, and do not ban "
        "it\n"
        "again if they ask banmesh-allowed. remove withdraws what this node allowed.\n"
        "\n"
        "A NAME such as home.example.org is looked up by this node every five minutes. Each of "
        "its\n"
        "addresses is allowed for 15 minutes, and again as long as the name has it. A name with\n"
        "a private or other special address, or with more than 16, is refused.\n"
        "\n"
        "examples: banmesh allow 45.154.244.0/24 --for 30d --comment \"our office\"\n"
        "          banmesh allow home.example.org --for 1y --comment \"Kim at home\"\n",
    .run = allow,
};
