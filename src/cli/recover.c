/* recover - what `sqlite3 COPY .recover` found in a damaged database: `banmesh recover`. */
#include "command.h"
#include "salvage.h"
#include "tables.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What it writes is the service's: another user's files in the state directory would keep that from
 * starting. */
static int check_user(const char *directory, fault_t *fault)
{
    struct stat status;
    if (stat(directory, &status) == -1)
        return fault_set(fault, "%s: %s", directory, strerror(errno));
    if (status.st_uid == geteuid())
        return 0;
    const struct passwd *owner = getpwuid(status.st_uid);
    if (owner == NULL)
        return fault_set(fault, "%s belongs to user %lu, and only that user may write into it",
                         directory, (unsigned long)status.st_uid);
    return fault_set(fault,
                     "%s belongs to %s, and only that user may write into it: "
                     "runuser -u %s -- banmesh recover ...",
                     directory, owner->pw_name, owner->pw_name);
}

/* An own.db that was set aside and not taken over yet goes first, as at each start of the service.
 */
static int take_over(const settings_t *settings, const cert_t *cert, const char *path,
                     salvage_result_t *result, fault_t *fault)
{
    const char *note;
    feed_t *feed = feed_open(settings->node.state, &cert->sign_public, &tables_of_node, fault);
    if (feed == NULL)
        return -1;
    wire_t *wire = wire_new(cert->sign_seed);
    for (size_t i = 0; (note = state_note(feed_state(feed), i)) != NULL; i++)
        log_warnx("%s", note);
    int rc = salvage_run(feed, wire, result, fault);
    if (rc == 0)
        rc = salvage_file(feed, wire, path, result, fault);
    wire_destroy(&wire);
    feed_close(&feed);
    return rc;
}

static int recover(const command_options_t *options, int argc, char **argv)
{
    fault_t fault;
    salvage_result_t result = {0};
    cert_t *cert = NULL;
    if (!command_expects(&command_recover, argc, argv, 1))
        return COMMAND_USAGE;
    settings_t *settings = settings_load(options->config, &fault);
    int rc = settings != NULL ? check_user(settings->node.state, &fault) : -1;
    if (rc == 0)
        cert = cert_load_secret(settings->node.secret, &fault);
    rc = cert != NULL ? take_over(settings, cert, argv[1], &result, &fault) : -1;
    if (rc == 0 && result.batches == 0)
        rc = fault_set(&fault, "%s: no batch of %s is in it", argv[1], cert->name);
    if (rc == -1)
        log_errorx("%s", fault.text);
    else if (options->json)
        printf("{\"batches\": %" PRIu64 ", \"bans\": %" PRIu64 "}\n", result.batches,
               result.copied);
    else
        printf("%" PRIu64 " batches of this host read, %" PRIu64
               " bans of theirs that it did not know are taken over\n",
               result.batches, result.copied);
    cert_destroy(&cert);
    settings_destroy(&settings);
    return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}

const command_t command_recover = {
    .name = "recover",
    .summary = "take over what sqlite3 found in a damaged own.db",
    .usage =
        "usage: banmesh recover FILE [--config F] [--json]\n"
        "\n"
        "Announces again what FILE holds of this host's own bans and this host does not know, "
        "each\n"
        "under its identity: nothing is doubled, also if it is called twice. Only batches that "
        "bear\n"
        "this host's signature count. FILE stays as it is.\n"
        "\n"
        "A damaged own.db is set aside and taken over by itself as far as SQLite can read it, and\n"
        "what other nodes have comes back from them. What is left may be found by sqlite3's\n"
        ".recover, which looks at each page; give it a copy, with the -wal file if there is one.\n"
        "Where it says \"SQL logic error\" (Debian 12) take the sqlite3 of sqlite.org:\n"
        "\n"
        "  cd /var/lib/banmesh\n"
        "  cp own.db.damaged-TIME /tmp/copy.db; cp own.db.damaged-TIME-wal /tmp/copy.db-wal\n"
        "  sqlite3 /tmp/copy.db .recover | sqlite3 /tmp/new.db; chmod a+r /tmp/new.db\n"
        "  systemctl stop banmeshd\n"
        "  runuser -u banmesh -- banmesh recover /tmp/new.db\n"
        "  systemctl start banmeshd\n"
        "\n"
        "It is refused while banmeshd runs, and to any user but the state directory's.\n"
        "\n"
        "  --config F  settings (default: " COMMAND_DEFAULT_CONFIG ")\n"
        "  --json      for programs: {\"batches\": N, \"bans\": N}\n"
        "\n"
        "example: runuser -u banmesh -- banmesh recover /tmp/new.db\n",
    .run = recover,
};
