/* banmesh - the operator's command: a table of commands. */
#include "command.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const command_t *const commands[] = {
    &command_keygen, &command_trust, &command_status, &command_watch,
    &command_why,    &command_bans,  &command_ban,    &command_pardon,
    &command_allow,  &command_admit, &command_import, &command_recover,
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_usage(FILE *out)
{
    fputs("usage: banmesh COMMAND [--config FILE] [--json] ...\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    fputs("\nbanmesh COMMAND --help tells more. Settings: " COMMAND_DEFAULT_CONFIG " by default.\n"
          "exit status: 0 done, 1 failed, 2 usage\n",
          out);
}

static void cut(int *argc, char **argv, int at, int count)
{
    for (int i = at; i + count <= *argc; i++)
        argv[i] = argv[i + count];
    *argc -= count;
}

const char *command_option(int *argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < *argc; i++)
        if (strcmp(argv[i], name) == 0) {
            const char *value = argv[i + 1];
            cut(argc, argv, i, 2);
            return value;
        }
    return NULL;
}

bool command_flag(int *argc, char **argv, const char *name)
{
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], name) == 0) {
            cut(argc, argv, i, 1);
            return true;
        }
    return false;
}

bool command_expects(const command_t *command, int argc, char **argv, int count)
{
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            log_errorx("%s: unknown option \"%s\", or its value is missing", command->name,
                       argv[i]);
            fputs(command->usage, stderr);
            return false;
        }
    if (argc - 1 == count)
        return true;
    log_errorx("%s: %d arguments, expected %d", command->name, argc - 1, count);
    fputs(command->usage, stderr);
    return false;
}

int main(int argc, char **argv)
{
    log_open("banmesh");
    if (sodium_init() == -1)
        fatalx("libsodium cannot start");
    command_options_t options = {.config = command_option(&argc, argv, "--config")};
    if (options.config == NULL)
        options.config = COMMAND_DEFAULT_CONFIG;
    options.json = command_flag(&argc, argv, "--json");
    bool help = command_flag(&argc, argv, "--help");
    if (command_flag(&argc, argv, "--version")) {
        puts("banmesh " BANMESH_VERSION);
        return COMMAND_OK;
    }
    for (size_t i = 0; argc > 1 && i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i]->name) != 0)
            continue;
        if (!help)
            return commands[i]->run(&options, argc - 1, argv + 1);
        fputs(commands[i]->usage, stdout);
        return COMMAND_OK;
    }
    if (argc > 1)
        log_errorx("unknown command \"%s\"", argv[1]);
    print_usage(help && argc == 1 ? stdout : stderr);
    return help && argc == 1 ? COMMAND_OK : COMMAND_USAGE;
}
