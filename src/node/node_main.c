/* banmeshd - the service of each node: announces this host's bans, and brings peers' bans to the
 * local shared jail. */
#include "applier.h"
#include "intake.h"
#include "protect.h"
#include "recall.h"
#include "service.h"
#include "tables.h"

#include <malloc.h>

static const char usage[] =
    "usage: banmeshd --config FILE [--check] [--verbose]\n"
    "\n"
    "Tells the other nodes of the mesh whom this host banned, and writes their bans into the log\n"
    "of the local shared jail. Stays in the foreground and logs to standard error.\n"
    "\n"
    "  --config FILE  settings, e.g. /etc/banmesh/node.conf\n"
    "  --check        read settings, keys and trust directory, look whether the directories can\n"
    "                 be written, say what is wrong, and exit\n"
    "  --verbose      also say what is passed over and why\n"
    "  --version, --help\n"
    "\n"
    "SIGHUP reads settings and trust directory again; SIGTERM ends it.\n"
    "example: banmeshd --config /etc/banmesh/node.conf --check\n";

/* The log's directory is made by the unit, the spool's by whoever installs the hook. */
static int check_directories(const settings_t *settings, fault_t *fault)
{
    const char *name = strrchr(settings->shared.log, '/');
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%.*s", (int)(name - settings->shared.log),
             settings->shared.log);
    if (service_check_directory("publish / spool", settings->publish.spool, NULL, false, fault) ==
        -1)
        return -1;
    return service_check_directory("shared / log", *directory != '\0' ? directory : "/", name + 1,
                                   true, fault);
}

static void advise(const settings_t *settings, const cert_t *cert)
{
    intake_advise(settings);
    if (settings->guard.allow_special == 0) /* a test, without a world around it */
        protect_advise(cert, settings);
}

typedef struct {
    applier_t *applier;
    intake_t *intake;
    recall_t *recall;
} node_t;

static void stop(void *state)
{
    node_t *self = state;
    if (self == NULL)
        return;
    recall_destroy(&self->recall);
    intake_destroy(&self->intake);
    applier_destroy(&self->applier);
    free(self);
}

static void *start(service_t *service, fault_t *fault)
{
    node_t *self = xcalloc(1, sizeof *self);
    self->applier = applier_new(service, fault);
    if (self->applier != NULL)
        self->intake = intake_new(service, self->applier, fault);
    if (self->intake == NULL) {
        stop(self);
        return NULL;
    }
    self->recall = recall_new(service, self->applier);
    return self;
}

static void reloaded(void *state)
{
    applier_reload(((node_t *)state)->applier);
    intake_reload(((node_t *)state)->intake);
}

static json_t *command(void *state, const char *line)
{
    return applier_command(((node_t *)state)->applier, line);
}

static void status(void *state, json_t *json)
{
    applier_status(((node_t *)state)->applier, json);
    intake_status(((node_t *)state)->intake, json);
}

int main(int argc, char **argv)
{
    static const program_t program = {
        .name = "banmeshd",
        .usage = usage,
        .tables = &tables_of_node,
        .check_directories = check_directories,
        .advise = advise,
        .start = start,
        .reloaded = reloaded,
        .status = status,
        .command = command,
        .stop = stop,
    };
    /* Two threads allocate, one of them little: an arena each would only cost memory. */
    mallopt(M_ARENA_MAX, 1);
    return service_run(&program, argc, argv);
}
