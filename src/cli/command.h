/* command - what the commands of `banmesh` share: the table's row, options, and how they fail. */
#ifndef BANMESH_CLI_COMMAND_H
#define BANMESH_CLI_COMMAND_H

#include "settings.h"

#include <stdbool.h>

#define COMMAND_DEFAULT_CONFIG "/etc/banmesh/node.conf"

enum {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1,
    COMMAND_USAGE = 2,
    COMMAND_ATTENTION = 3, /* done, and something needs a look */
};

/* Options that every command knows. */
typedef struct {
    const char *config;
    bool json;
} command_options_t;

typedef struct {
    const char *name;    /* "keygen" */
    const char *summary; /* one line */
    const char *usage;   /* the text of --help, with examples */
    /* argv[0] is the command's name. Returns the exit status. */
    int (*run)(const command_options_t *options, int argc, char **argv);
} command_t;

/* Take "--name VALUE" out of argv, wherever it stands. Returns VALUE, or NULL if it is not there;
 * a missing VALUE leaves the option in place, for command_no_more to complain of. */
const char *command_option(int *argc, char **argv, const char *name);

/* Take the flag "--name" out. */
bool command_flag(int *argc, char **argv, const char *name);

/* True if exactly count arguments are left behind argv[0] and none looks like an option; otherwise
 * it says what is wrong. */
bool command_expects(const command_t *command, int argc, char **argv, int count);

extern const command_t command_keygen;
extern const command_t command_trust;
extern const command_t command_status;
extern const command_t command_recover;
extern const command_t command_watch;
extern const command_t command_why;
extern const command_t command_bans;
extern const command_t command_ban;
extern const command_t command_import;
extern const command_t command_pardon;
extern const command_t command_allow;
extern const command_t command_admit;

#endif
