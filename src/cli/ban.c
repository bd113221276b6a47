/* ban - an operator bans an address everywhere: `banmesh ban`. */
#include "ask.h"
#include "reach.h"

#include <stdio.h>

static void print_ban(const json_t *answer)
{
    char span[ASK_TIME_MAX];
    char until[ASK_TIME_MAX];
    printf("banned %s for %s, as %s: \"%s\"\n", ask_text(answer, "address"),
           ask_span(ask_number(answer, "duration"), span), ask_text(answer, "jail"),
           ask_text(answer, "reason"));
    if (ask_number(answer, "until") < ask_number(answer, "time") + ask_number(answer, "duration"))
        printf("here only until %s (guard / max-ban)\n",
               ask_time(ask_number(answer, "until"), until));
}

/* NULL: the usage is wrong, and it was said. */
static json_t *read_order(int *argc, char **argv)
{
    const char *span = command_option(argc, argv, "--for");
    const char *reason = command_option(argc, argv, "--reason");
    const char *jail = command_option(argc, argv, "--jail");
    int64_t for_s;
    if (!command_expects(&command_ban, *argc, argv, 1))
        return NULL;
    if (span == NULL || !ask_parse_span(span, &for_s)) {
        log_errorx("ban: --for \"%s\": expected a time such as 90s, 15min, 12h, 30d",
                   span != NULL ? span : "");
        return NULL;
    }
    if (reason == NULL || *reason == '\0') {
        log_errorx("ban: expected --reason and a few words, for those who ask later");
        return NULL;
    }
    return json_pack("{s:s, s:s, s:I, s:s*}", "address", argv[1], "reason", reason, "for_s",
                     (json_int_t)for_s, "jail", jail);
}

static int ban(const command_options_t *options, int argc, char **argv)
{
    reach_t reach = reach_begin(options);
    json_t *order = read_order(&argc, argv);
    if (order == NULL)
        return COMMAND_USAGE;
    json_t *answer = ask_with(options, "ban", order);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else {
        print_ban(answer);
        reach_hold(&reach, ask_text(answer, "address"), true);
        reach_peers(&reach);
    }
    json_decref(answer);
    return COMMAND_OK;
}

const command_t command_ban = {
    .name = "ban",
    .summary = "ban an address everywhere",
    .usage =
        "usage: banmesh ban ADDRESS --for TIME --reason WORDS [--jail NAME]\n"
        "                   [--config FILE] [--json]\n"
        "\n"
        "Announces a ban of an address, or of a network no wider than peers' bans may be, to all\n"
        "nodes, as one of this node, and has the shared jail of this host hold it, too. Reports "
        "show\n"
        "it as by-hand where others have the name of a jail. Nothing is announced if this host "
        "would\n"
        "not hold it: special, protected and allowed addresses. banmesh pardon lifts it "
        "everywhere.\n"
        "\n"
        "  --for TIME      such as 90s, 15min, 12h, 30d\n"
        "  --reason WORDS  for those who ask banmesh why, on any host\n"
        "  --jail NAME     reports show by-hand.NAME\n"
        "\n"
        "examples: banmesh ban 45.154.244.193 --for 12h --reason \"floods the contact form\"\n"
        "          banmesh ban 2a02:4780:11:22::/64 --for 30d --reason \"scans\" --jail web\n",
    .run = ban,
};
