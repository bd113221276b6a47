/* why - the whole story of an address: `banmesh why`. */
#include "ask.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SHOWN_MAX 20 /* of what lies in a network */

/* What an outcome of the guard means to a reader. */
static const struct {
    const char *word;
    const char *text;
} meanings[] = {
    {"stands", "stands"},
    {"ourselves", "of this host: its own jail blocks"},
    {"pardoned", "lifted"},
    {"allowed", "void: the address is allowed"},
    {"special-address", "refused: a special address"},
    {"protected-address", "refused: the address is protected here"},
    {"too-wide", "refused: a network wider than this host takes"},
    {"shared-jail", "refused: it comes from a shared jail"},
    {"expired", "over"},
    {"jail-not-wanted",
     "refused: bans of that jail are not wanted here (guard / jails, not-jails)"},
    {"undone", "void: that node was removed, and its bans undone"},
    {"lifted-by-hand", "lifted by hand in the shared jail"},
    {"over-rate", "waits: that node bans faster than guard / rate (banmesh admit lets it in)"},
    {"quorum", "waits for a quorum"},
};

static const char *meaning(const char *word)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (strcmp(meanings[i].word, word) == 0)
            return meanings[i].text;
    return word;
}

static bool is(const json_t *report, const char *outcome)
{
    return strcmp(ask_text(report, "outcome"), outcome) == 0;
}

static void print_grace(const json_t *grace)
{
    char when[ASK_TIME_MAX];
    char until[ASK_TIME_MAX];
    printf("        %s of %s by %s at %s", ask_text(grace, "kind"), ask_text(grace, "network"),
           ask_text(grace, "origin"), ask_time(ask_number(grace, "time"), when));
    if (ask_number(grace, "until") > 0)
        printf(", until %s", ask_time(ask_number(grace, "until"), until));
    if (*ask_text(grace, "text") != '\0')
        printf(": \"%s\"", ask_text(grace, "text"));
    printf("\n");
}

static void print_moment(const json_t *report, const char *name, const char *text)
{
    char when[ASK_TIME_MAX];
    if (json_object_get(report, name) != NULL)
        printf("        %s %s\n", text, ask_time(ask_number(report, name), when));
}

static void print_details(const json_t *report)
{
    char until[ASK_TIME_MAX];
    print_moment(report, "lifted_by_hand", "lifted at");
    print_moment(report, "undone", "undone at");
    print_moment(report, "origin_removed", "its node is not trusted any more since");
    if (json_object_get(report, "quorum") == NULL)
        return;
    printf("        %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " origins: ",
           ask_number(report, "origins"), ask_number(report, "quorum"));
    if (ask_number(report, "quorum_until") > (int64_t)time(NULL))
        printf("it waits for another one until %s\n",
               ask_time(ask_number(report, "quorum_until"), until));
    else
        printf("no other one banned it within guard / quorum-window\n");
}

static void print_report(const json_t *report, bool with_address)
{
    char span[ASK_TIME_MAX];
    char ago[ASK_TIME_MAX];
    int64_t age_s = (int64_t)time(NULL) - ask_number(report, "time");
    printf("    %-12s %-16s ", ask_text(report, "origin"), ask_text(report, "jail"));
    if (with_address)
        printf("%-18s ", ask_text(report, "address"));
    printf("%s ago, for %s", ask_span(age_s > 0 ? age_s : 0, ago),
           ask_span(ask_number(report, "duration"), span));
    if (ask_number(report, "failures") > 0)
        printf(", %" JSON_INTEGER_FORMAT " failures", ask_number(report, "failures"));
    printf(": %s\n", meaning(ask_text(report, "outcome")));
    if (json_is_string(json_object_get(report, "reason")))
        printf("        \"%s\"\n", ask_text(report, "reason"));
    if (json_object_get(report, "lifted") != NULL)
        print_grace(json_object_get(report, "lifted"));
    print_details(report);
}

/* Of the reports that stand, the one that ends last; NULL: none stands. */
static const json_t *strongest(const json_t *reports)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(reports); i++) {
        const json_t *report = json_array_get(reports, i);
        bool counts = is(report, "stands") || is(report, "ourselves");
        if (counts && (found == NULL || ask_number(report, "until") > ask_number(found, "until")))
            found = report;
    }
    return found;
}

static void print_verdict(const json_t *answer)
{
    char until[ASK_TIME_MAX];
    const char *address = ask_text(answer, "address");
    const json_t *reports = json_object_get(answer, "reports");
    const json_t *ban = strongest(reports);
    if (ban == NULL)
        ban = strongest(json_object_get(answer, "around"));
    if (ban != NULL && is(ban, "ourselves"))
        printf("%s is banned by this host's own jail %s until %s.\n", address,
               ask_text(ban, "jail"), ask_time(ask_number(ban, "until"), until));
    else if (ban != NULL)
        printf("%s is to be banned here until %s: %s reported %s in %s.\n", address,
               ask_time(ask_number(ban, "until"), until), ask_text(ban, "origin"),
               ask_text(ban, "address"), ask_text(ban, "jail"));
    else if (json_array_size(reports) > 0)
        printf("%s is not banned by the mesh: none of the reports stands.\n", address);
    else
        printf("%s is not banned by the mesh: no ban of it that runs is known.\n", address);
    if (ban == NULL)
        printf("  what jails of this host hold by themselves, fail2ban says: fail2ban-client "
               "banned\n");
}

static void print_hold(const json_t *hold)
{
    char until[ASK_TIME_MAX];
    if (json_is_true(json_object_get(hold, "held")))
        printf("  the shared jail holds it until %s, by what it was told%s\n",
               ask_time(ask_number(hold, "until"), until),
               json_is_true(json_object_get(hold, "to_be_let_go")) ? "; it is to let go of it now"
                                                                   : "");
    else if (json_is_true(json_object_get(hold, "waits_for_the_pace")))
        printf("  the shared jail does not hold it yet: its line waits for the pace\n");
    else
        printf("  the shared jail does not hold it\n");
}

static void print_reports(const char *title, const json_t *reports, bool with_address)
{
    size_t index;
    json_t *report;
    if (json_array_size(reports) == 0)
        return;
    printf("  %s\n", title);
    json_array_foreach(reports, index, report)
    {
        if (index < SHOWN_MAX)
            print_report(report, with_address);
    }
    if (json_array_size(reports) > SHOWN_MAX)
        printf("    ... banmesh bans --network shows all\n");
}

static void print_not_announced(const json_t *echoes)
{
    size_t index;
    json_t *echo;
    char when[ASK_TIME_MAX];
    json_array_foreach(echoes, index, echo)
    {
        printf("  banned by this host's jail %s at %s, and not announced: it reads fail2ban's own "
               "log,\n"
               "    and the shared jail held the address\n",
               ask_text(echo, "jail"), ask_time(ask_number(echo, "time"), when));
    }
}

/* But for those of the network itself, which stand above. */
static void print_inside(json_t *inside, const char *network)
{
    for (size_t i = json_array_size(inside); i > 0; i--)
        if (strcmp(ask_text(json_array_get(inside, i - 1), "address"), network) == 0)
            json_array_remove(inside, i - 1);
    print_reports("bans that lie in it", inside, true);
}

static void print_why(const json_t *answer)
{
    print_verdict(answer);
    if (json_is_string(json_object_get(answer, "protected_by")))
        printf("  protected here: %s\n", ask_text(answer, "protected_by"));
    if (json_is_object(json_object_get(answer, "allowed_by"))) {
        printf("  allowed\n");
        print_grace(json_object_get(answer, "allowed_by"));
    }
    print_hold(json_object_get(answer, "hold"));
    print_not_announced(json_object_get(answer, "not_announced"));
    print_reports("reports", json_object_get(answer, "reports"), false);
    print_reports("networks that it lies in", json_object_get(answer, "around"), true);
    if (json_object_get(answer, "inside") != NULL)
        print_inside(json_object_get(answer, "inside"), ask_text(answer, "address"));
}

static int why(const command_options_t *options, int argc, char **argv)
{
    char question[256];
    if (!command_expects(&command_why, argc, argv, 1))
        return COMMAND_USAGE;
    snprintf(question, sizeof question, "why %.200s", argv[1]);
    json_t *answer = ask_node(options, question);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        print_why(answer);
    json_decref(answer);
    return COMMAND_OK;
}

const command_t command_why = {
    .name = "why",
    .summary = "why an address is banned here, or why not",
    .usage =
        "usage: banmesh why ADDRESS [--config FILE] [--json]\n"
        "\n"
        "All that this host knows of an address or a network: who reported it, when and for how\n"
        "long; what is decided here and why; pardons and allowances; what the shared jail holds.\n"
        "\n"
        "examples: banmesh why 45.154.244.193\n"
        "          banmesh why 2a02:4780:11::/48\n",
    .run = why,
};
