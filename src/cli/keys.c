/* keys - certificates and the trust store: `banmesh keygen`, `banmesh trust`. */
#include "admin.h"
#include "ask.h"
#include "command.h"
#include "trust.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- keygen ---- */

/* The replay address is the endpoint's, one port up, unless it is given. */
static int next_port(const char *endpoint, char replay[static CERT_ENDPOINT_MAX + 1],
                     fault_t *fault)
{
    if (cert_check_endpoint(endpoint, fault) == -1)
        return -1;
    const char *colon = strrchr(endpoint, ':');
    long port = strtol(colon + 1, NULL, 10) + 1;
    if (port > 65535)
        return fault_set(fault, "address \"%.80s\": no port above it for replay; give --replay",
                         endpoint);
    snprintf(replay, CERT_ENDPOINT_MAX + 1, "%.*s:%ld", (int)(colon - endpoint), endpoint, port);
    return 0;
}

static void tell_pair(const command_options_t *options, const cert_t *cert, const char *directory)
{
    char key[CERT_Z85_BYTES];
    cert_z85(&cert->sign_public, key);
    if (options->json) {
        json_t *json =
            json_pack("{s:s, s:o, s:o, s:s}", "name", cert->name, "secret",
                      json_sprintf("%s/%s%s", directory, cert->name, CERT_SECRET_SUFFIX), "public",
                      json_sprintf("%s/%s%s", directory, cert->name, CERT_PUBLIC_SUFFIX), "key",
                      key);
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(json);
        return;
    }
    printf("%s/%s%s  secret: stays on this host\n", directory, cert->name, CERT_SECRET_SUFFIX);
    printf("%s/%s%s         public: copy it into the trust directory of every host\n", directory,
           cert->name, CERT_PUBLIC_SUFFIX);
    printf("signs with    %s\n", key);
    printf("connects with %s\n", cert_z85(&cert->curve_public, key));
}

static int keygen(const command_options_t *options, int argc, char **argv)
{
    char replay_default[CERT_ENDPOINT_MAX + 1] = "";
    fault_t fault;
    const char *directory = command_option(&argc, argv, "--dir");
    const char *endpoint = command_option(&argc, argv, "--endpoint");
    const char *replay = command_option(&argc, argv, "--replay");
    if (!command_expects(&command_keygen, argc, argv, 1))
        return COMMAND_USAGE;
    if (directory == NULL)
        directory = ".";
    if (replay == NULL && endpoint != NULL && next_port(endpoint, replay_default, &fault) == -1) {
        log_errorx("%s", fault.text);
        return COMMAND_FAILED;
    }
    cert_t *cert = cert_new(argv[1], endpoint != NULL ? endpoint : "",
                            replay != NULL ? replay : replay_default, &fault);
    int rc = cert != NULL ? cert_save_pair(cert, directory, &fault) : -1;
    if (rc == 0)
        tell_pair(options, cert, directory);
    else
        log_errorx("%s", fault.text);
    cert_destroy(&cert);
    return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}

const command_t command_keygen = {
    .name = "keygen",
    .summary = "make a certificate for a node",
    .usage = "usage: banmesh keygen NAME [--dir DIR] [--endpoint E] [--replay R] [--json]\n"
             "\n"
             "Makes NAME.cert_secret (mode 0600, stays on that host) and NAME.cert (public, goes\n"
             "into the trust directory of every host). Never overwrites a file.\n"
             "\n"
             "  --dir DIR     where to (default: this directory)\n"
             "  --endpoint E  where the others reach the node, e.g. tcp://mx1.example.org:7341;\n"
             "                with it, nobody has to list the node among its peers\n"
             "  --replay R    where they fetch what they missed (default: the next port)\n"
             "\n"
             "example: banmesh keygen mx1 --dir /etc/banmesh --endpoint tcp://192.0.2.1:7341\n",
    .run = keygen,
};

/* ---- trust ---- */

/* The trust store at hand. */
typedef struct {
    const char *directory;
    const settings_t *settings; /* that name it, or another one; NULL: --dir was given instead */
} store_t;

/* Have the running service look at its directory. NULL: nobody to ask. The caller owns it. */
static json_t *tell_service(const store_t *store)
{
    json_t *answer =
        store->settings != NULL ? admin_ask(store->settings->admin.socket, "trust", NULL) : NULL;
    if (json_is_array(json_object_get(answer, "trusted")))
        return answer;
    json_decref(answer); /* of a version that does not know the question */
    return NULL;
}

static bool trusts(const json_t *answer, const char *name)
{
    const json_t *names = json_object_get(answer, "trusted");
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
            return true;
    return false;
}

static void say_left_out(const json_t *answer)
{
    const json_t *lines = json_object_get(answer, "left_out");
    for (size_t i = 0; i < json_array_size(lines); i++)
        log_warnx("%s: left out, that node does not count",
                  json_string_value(json_array_get(lines, i)));
}

static const char not_asked[] = "a banmeshd that trusts this directory looks within a second";

/* The name under which a file goes into the store: what --as says, or the file's own. */
static int name_for(const char *file, const char *as, char name[static EVENT_NAME_MAX + 1],
                    fault_t *fault)
{
    const char *base = as != NULL ? as : strrchr(file, '/');
    base = as != NULL ? as : base != NULL ? base + 1 : file;
    size_t length = strlen(base);
    size_t suffix = strlen(CERT_PUBLIC_SUFFIX);
    if (as == NULL && length > suffix && strcmp(base + length - suffix, CERT_PUBLIC_SUFFIX) == 0)
        length -= suffix;
    if (!event_name_valid(base, length) || base[0] == '.')
        return fault_set(fault, "name \"%.80s\": %s, not starting with a dot", base,
                         event_error_text(EVENT_BAD_JAIL));
    memcpy(name, base, length);
    name[length] = '\0';
    return 0;
}

/* The same key under a second name would make both count no longer. */
static int check_new(const char *directory, const cert_t *cert, const char *name, fault_t *fault)
{
    trust_t *trust = trust_load(directory, fault);
    if (trust == NULL)
        return -1;
    const trusted_t *same = trust_by_sign(trust, &cert->sign_public);
    if (same == NULL)
        same = trust_by_curve(trust, &cert->curve_public);
    int rc = 0;
    if (same != NULL)
        rc = fault_set(fault, "this key is in %s already, as %s", directory, same->name);
    else if (trust_by_name(trust, name) != NULL)
        rc = fault_set(fault, "%s/%s%s exists already, with another key", directory, name,
                       CERT_PUBLIC_SUFFIX);
    trust_destroy(&trust);
    return rc;
}

/* What is said is what the service can read. */
static int say_added(const command_options_t *options, const store_t *store, const char *name)
{
    json_t *answer = tell_service(store);
    bool counts = answer == NULL || trusts(answer, name);
    if (!counts) {
        say_left_out(answer);
        log_errorx("%s/%s%s is there, but the running service does not trust it", store->directory,
                   name, CERT_PUBLIC_SUFFIX);
    } else if (options->json)
        printf("{\"trusted\": \"%s\"}\n", name);
    else if (answer != NULL)
        printf("%s is trusted\n", name);
    else
        printf("%s is in %s; %s\n", name, store->directory, not_asked);
    json_decref(answer);
    return counts ? COMMAND_OK : COMMAND_FAILED;
}

static int trust_add(const command_options_t *options, const store_t *store, int argc, char **argv)
{
    char name[EVENT_NAME_MAX + 1];
    fault_t fault;
    const char *as = command_option(&argc, argv, "--as");
    if (!command_expects(&command_trust, argc, argv, 1))
        return COMMAND_USAGE;
    cert_t *cert = cert_load_public(argv[1], &fault);
    int rc = cert != NULL ? name_for(argv[1], as, name, &fault) : -1;
    if (rc == 0)
        rc = check_new(store->directory, cert, name, &fault);
    if (rc == 0)
        rc = cert_save_public(cert, store->directory, name, &fault);
    if (rc == -1)
        log_errorx("%s", fault.text);
    cert_destroy(&cert);
    return rc == 0 ? say_added(options, store, name) : COMMAND_FAILED;
}

static json_t *member_json(const trusted_t *member)
{
    char curve[CERT_Z85_BYTES];
    char sign[CERT_Z85_BYTES];
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", member->name, "endpoint",
                     member->endpoint, "replay", member->replay, "sign_key",
                     cert_z85(&member->sign_public, sign), "curve_key",
                     cert_z85(&member->curve_public, curve));
}

static int trust_list(const command_options_t *options, const store_t *store, int argc, char **argv)
{
    fault_t fault;
    if (!command_expects(&command_trust, argc, argv, 0))
        return COMMAND_USAGE;
    trust_t *trust = trust_load(store->directory, &fault);
    if (trust == NULL) {
        log_errorx("%s", fault.text);
        return COMMAND_FAILED;
    }
    const char *why;
    for (size_t i = 0; (why = trust_left_out(trust, i)) != NULL; i++)
        log_warnx("%s: left out, that node does not count", why);
    json_t *list = json_array();
    for (size_t i = 0; i < trust_size(trust); i++) {
        const trusted_t *member = trust_at(trust, i);
        char key[CERT_Z85_BYTES];
        if (options->json)
            json_array_append_new(list, member_json(member));
        else
            printf("%-16s  %s  %s\n", member->name, cert_z85(&member->curve_public, key),
                   member->endpoint[0] != '\0' ? member->endpoint : "(no endpoint)");
    }
    if (options->json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (trust_size(trust) == 0)
        printf("%s: nobody is trusted\n", store->directory);
    json_decref(list);
    trust_destroy(&trust);
    return COMMAND_OK;
}

/* What becomes of the bans that were taken before; NULL: the service does not run, or never heard
 * of the node. */
static json_t *ask_of_bans(const command_options_t *options, const char *name, bool undo)
{
    char line[sizeof "origin " + EVENT_NAME_MAX];
    snprintf(line, sizeof line, "%s %s", undo ? "undo" : "origin", name);
    return ask_node(options, line);
}

static void say_bans(const char *name, const json_t *bans, bool undo)
{
    char counted[ASK_COUNT_MAX];
    json_int_t count = ask_number(bans, undo ? "undone" : "bans");
    ask_count(count, "running ban", "running bans", counted);
    if (undo)
        printf("void here from now on: %s of it\n", counted);
    else if (count > 0)
        printf("still standing here: %s of it (banmesh trust remove %s --undo-bans makes that "
               "void)\n",
               counted, name);
}

static int say_removed(const command_options_t *options, const store_t *store, const char *name,
                       bool undo)
{
    json_t *answer = tell_service(store);
    bool gone = answer == NULL || !trusts(answer, name);
    json_t *bans = answer != NULL || undo ? ask_of_bans(options, name, undo) : NULL;
    if (!gone)
        log_errorx("%s%s is removed from %s, but the running service trusts another directory, or "
                   "cannot read it",
                   name, CERT_PUBLIC_SUFFIX, store->directory);
    else if (options->json)
        printf("{\"removed\": \"%s\", \"bans\": %" JSON_INTEGER_FORMAT
               ", \"undone\": %" JSON_INTEGER_FORMAT "}\n",
               name, ask_number(bans, "bans"), ask_number(bans, "undone"));
    else if (answer != NULL)
        printf("%s is trusted no longer, and cut off\n", name);
    else
        printf("%s is no longer in %s; %s\n", name, store->directory, not_asked);
    if (bans != NULL && gone && !options->json)
        say_bans(name, bans, undo);
    bool done = gone && (!undo || bans != NULL);
    json_decref(bans);
    json_decref(answer);
    return done ? COMMAND_OK : COMMAND_FAILED;
}

/* A copy of the certificate did not count beside it; alone it does. */
static void warn_of_copy(const char *directory, const cert_t *removed)
{
    trust_t *trust = trust_load(directory, NULL);
    const trusted_t *same =
        trust != NULL && removed != NULL ? trust_by_sign(trust, &removed->sign_public) : NULL;
    if (same != NULL)
        log_warnx("the same key is trusted as %s: remove that, too, if the node is to go",
                  same->name);
    trust_destroy(&trust);
}

static int trust_remove(const command_options_t *options, const store_t *store, int argc,
                        char **argv)
{
    char path[PATH_MAX];
    bool undo = command_flag(&argc, argv, "--undo-bans");
    if (!command_expects(&command_trust, argc, argv, 1))
        return COMMAND_USAGE;
    if (!event_name_valid(argv[1], strlen(argv[1])) || argv[1][0] == '.') {
        log_errorx("name \"%.80s\": %s", argv[1], event_error_text(EVENT_BAD_JAIL));
        return COMMAND_FAILED;
    }
    snprintf(path, sizeof path, "%s/%s%s", store->directory, argv[1], CERT_PUBLIC_SUFFIX);
    cert_t *cert = cert_load_public(path, NULL);
    bool is_gone = unlink(path) == 0 || (undo && errno == ENOENT); /* it may be long gone */
    if (!is_gone)
        log_error("%s", path);
    else
        warn_of_copy(store->directory, cert);
    cert_destroy(&cert);
    return is_gone ? say_removed(options, store, argv[1], undo) : COMMAND_FAILED;
}

/* The running service holds the quarantine, not the directory. */
static int trust_reset(const command_options_t *options, const store_t *store, int argc,
                       char **argv)
{
    char line[sizeof "reset " + EVENT_NAME_MAX];
    (void)store;
    if (!command_expects(&command_trust, argc, argv, 1))
        return COMMAND_USAGE;
    if (!event_name_valid(argv[1], strlen(argv[1]))) {
        log_errorx("name \"%.80s\": %s", argv[1], event_error_text(EVENT_BAD_JAIL));
        return COMMAND_FAILED;
    }
    snprintf(line, sizeof line, "reset %s", argv[1]);
    json_t *answer = ask_node(options, line);
    if (answer == NULL)
        return COMMAND_FAILED;
    if (options->json)
        printf("{\"reset\": \"%s\"}\n", argv[1]);
    else
        printf("%s counts again, from what this host holds of it on; restart its banmeshd, so that "
               "it begins a new epoch\n",
               argv[1]);
    json_decref(answer);
    return COMMAND_OK;
}

static const struct {
    const char *name;
    int (*run)(const command_options_t *options, const store_t *store, int argc, char **argv);
} trust_verbs[] = {
    {"add", trust_add},
    {"list", trust_list},
    {"remove", trust_remove},
    {"reset", trust_reset},
};

static int trust(const command_options_t *options, int argc, char **argv)
{
    fault_t fault;
    store_t store = {.directory = command_option(&argc, argv, "--dir")};
    settings_t *settings = NULL;
    if (store.directory == NULL && argc > 1) {
        settings = settings_load(options->config, &fault);
        if (settings == NULL) {
            log_errorx("%s (or name the trust directory with --dir)", fault.text);
            return COMMAND_FAILED;
        }
        store = (store_t){settings->node.trust, settings};
    }
    int rc = -1;
    for (size_t i = 0; argc > 1 && i < sizeof trust_verbs / sizeof trust_verbs[0]; i++)
        if (strcmp(argv[1], trust_verbs[i].name) == 0)
            rc = trust_verbs[i].run(options, &store, argc - 1, argv + 1);
    settings_destroy(&settings);
    if (rc != -1)
        return rc;
    log_errorx("trust: expected \"add\", \"list\", \"remove\" or \"reset\"");
    fputs(command_trust.usage, stderr);
    return COMMAND_USAGE;
}

const command_t command_trust = {
    .name = "trust",
    .summary = "who is trusted: add, list, remove certificates; end a quarantine",
    .usage =
        "usage: banmesh trust add FILE [--as NAME]\n"
        "       banmesh trust list\n"
        "       banmesh trust remove NAME [--undo-bans]\n"
        "       banmesh trust reset NAME\n"
        "\n"
        "The trust store is a directory of public certificates (node / trust in the\n"
        "settings). A file's name is the name by which this host knows that node. The same\n"
        "directory may be copied to every host; a host's own certificate may lie in it.\n"
        "A running banmeshd follows changes by itself. A file that it cannot use is left out,\n"
        "with its node (two files with the same key: both); all others count. The list shows\n"
        "name, connection key and endpoint; with --json the signing key, too.\n"
        "\n"
        "A node that signed two different batches under one number is in quarantine on each\n"
        "host that saw both: its key is in use twice (a copied server), or stolen. Once that\n"
        "is mended, `reset` asks the banmeshd of this host to take its batches in again.\n"
        "\n"
        "What a node banned before it is removed stands until it ends. With --undo-bans it is\n"
        "void on this host; also later, when the certificate is gone already.\n"
        "\n"
        "  --as NAME   the name on this host (default: the file's)\n"
        "  --dir DIR   another directory than the settings'\n"
        "  --config F  settings (default: " COMMAND_DEFAULT_CONFIG ")\n"
        "  --json      for programs\n"
        "\n"
        "example: banmesh trust add mx2.cert\n",
    .run = trust,
};
