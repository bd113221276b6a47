/* admit - let in what waits because its origin bans too fast: `banmesh admit`. */
#include "ask.h"

#include <stdio.h>

static int admit(const command_options_t *options, int argc, char **argv)
{
    char order[256];
    if (!command_expects(&command_admit, argc, argv, 1))
        return COMMAND_USAGE;
    char count[ASK_COUNT_MAX];
    snprintf(order, sizeof order, "admit %.200s", argv[1]);
    json_t *answer = ask_node(options, order);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        ask_dump(answer);
    else
        printf("let in: %s that waited, of %s\n",
               ask_count(ask_number(answer, "admitted"), "ban", "bans", count),
               ask_text(answer, "origin"));
    json_decref(answer);
    return COMMAND_OK;
}

const command_t command_admit = {
    .name = "admit",
    .summary = "let in what waits because a node bans too fast",
    .usage =
        "usage: banmesh admit NODE [--config FILE] [--json]\n"
        "\n"
        "Bans of a node beyond guard / rate wait on this host, and are let in as the rate allows.\n"
        "admit lets in now all that wait: after a look at them (banmesh bans --origin NODE). If\n"
        "they are nonsense, banmesh trust remove NODE --undo-bans is for that.\n"
        "\n"
        "example: banmesh admit mx3\n",
    .run = admit,
};
