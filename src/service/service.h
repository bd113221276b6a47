/* service - what banmeshd and banmesh-aggregator have in common around the mesh: arguments,
 * settings, keys, signals, reload, the admin socket, and the way out. */
#ifndef BANMESH_SERVICE_SERVICE_H
#define BANMESH_SERVICE_SERVICE_H

#include "mesh.h"
#include "own_feed.h"

typedef struct service service_t;

/* What makes a program of it. state is the program's own, from start to stop. */
typedef struct {
    const char *name;             /* "banmeshd" */
    const char *usage;            /* the whole text of --help */
    const state_tables_t *tables; /* that it keeps in the state directory */
    /* Check what only this program reads (--check too). 0, or -1 with the fault. May be NULL. */
    int (*check)(const settings_t *settings, fault_t *fault);
    /* Look at the directories that only this program writes into, with service_check_directory: at
     * --check. 0, or -1 with the fault. May be NULL. */
    int (*check_directories)(const settings_t *settings, fault_t *fault);
    /* Warn of what is not wrong, but hardly meant: at start and at --check. May be NULL. */
    void (*advise)(const settings_t *settings, const cert_t *cert);
    /* Start the program's own parts, on the service's loop. NULL with the fault. */
    void *(*start)(service_t *service, fault_t *fault);
    /* Settings or trust changed; the old settings are freed after this returns. */
    void (*reloaded)(void *state);
    /* Add to the status. */
    void (*status)(void *state, json_t *status);
    /* Answer a command of the admin socket that the service does not know; NULL: no such command.
     * May be NULL. */
    json_t *(*command)(void *state, const char *line);
    /* End the program's own parts; state may be NULL after a failed start. */
    void (*stop)(void *state);
} program_t;

/* Run a program until SIGTERM or SIGINT. Returns the exit status. */
int service_run(const program_t *program, int argc, char **argv);

/* A directory is there, and this user may write into it and into a file in it, if that is there.
 *   setting  its name, for the fault
 *   file     NULL: none
 *   made     by the service's unit at the start: a missing one is only warned of
 * 0, or -1 with the fault. */
int service_check_directory(const char *setting, const char *path, const char *file, bool made,
                            fault_t *fault);

/* For the program's parts; valid from start to stop. Settings until the next reload. */
zloop_t *service_loop(service_t *self);
feed_t *service_feed(service_t *self);
wire_t *service_wire(service_t *self);
own_feed_t *service_own_feed(service_t *self);
mesh_t *service_mesh(service_t *self);
const cert_t *service_cert(service_t *self);
const settings_t *service_settings(service_t *self);

#endif
