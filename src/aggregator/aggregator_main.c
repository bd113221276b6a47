/* banmesh-aggregator - follows all nodes' feeds and keeps the history in KeyDB, Valkey or Redis, by
 * country, jail, address and day. Never publishes. */
#include "attention.h"
#include "consumer.h"
#include "history.h"
#include "store_access.h"
#include "ticker.h"

#include <malloc.h>
#include <unistd.h>

#define REFRESH_MS 60000 /* between looks at the databases' files */

static const char usage[] =
    "usage: banmesh-aggregator --config FILE [--check] [--verbose]\n"
    "\n"
    "Takes in what all nodes of the mesh announce and keeps the history in KeyDB, Valkey or "
    "Redis:\n"
    "who was banned when, where and from which country. Stays in the foreground and logs to\n"
    "standard error.\n"
    "\n"
    "  --config FILE  settings, e.g. /etc/banmesh/aggregator.conf\n"
    "  --check        read settings, keys, trust directory, password file, time zone and the\n"
    "                 databases of countries and networks, look whether the state directory can be "
    "written, say what is\n"
    "                 wrong, and exit; connects to nothing\n"
    "  --verbose      also say what is passed over and why\n"
    "  --version, --help\n"
    "\n"
    "SIGHUP reads all of these again; SIGTERM ends it.\n"
    "example: banmesh-aggregator --config /etc/banmesh/aggregator.conf --check\n";

typedef struct {
    service_t *service;
    enrich_t *enrich;
    consumer_t *consumer;
    ticker_t *refresher;
} aggregator_t;

static enrich_paths_t paths_of(const settings_t *settings)
{
    return (enrich_paths_t){settings->geoip.country, settings->geoip.asn};
}

static int check(const settings_t *settings, fault_t *fault)
{
    const enrich_paths_t paths = paths_of(settings);
    store_access_t *access = store_access_new(settings, fault);
    if (access == NULL || history_check_timezone(settings->history.timezone, fault) == -1) {
        store_access_destroy(&access);
        return -1;
    }
    store_access_destroy(&access);
    enrich_t *enrich = enrich_new(&paths, fault);
    if (enrich == NULL)
        return -1;
    enrich_destroy(&enrich);
    return 0;
}

static void warn(void *arg, const fault_t *words)
{
    (void)arg;
    log_warnx("%s", words->text);
}

static void inform(void *arg, const fault_t *words)
{
    (void)arg;
    log_info("%s", words->text);
}

static void advise(const settings_t *settings, const cert_t *cert)
{
    (void)cert;
    const enrich_paths_t paths = paths_of(settings);
    enrich_t *enrich = enrich_new(&paths, NULL);
    if (enrich != NULL)
        enrich_complain(enrich, wall_now().ms / MS_PER_S, warn, NULL);
    enrich_destroy(&enrich);
}

static void refresh(void *arg)
{
    aggregator_t *self = arg;
    const enrich_paths_t paths = paths_of(service_settings(self->service));
    if (enrich_refresh(self->enrich, &paths, inform, NULL))
        enrich_complain(self->enrich, wall_now().ms / MS_PER_S, warn, NULL);
}

static void stop(void *state)
{
    aggregator_t *self = state;
    if (self == NULL)
        return;
    ticker_destroy(&self->refresher);
    consumer_destroy(&self->consumer);
    enrich_destroy(&self->enrich);
    free(self);
}

static void *start(service_t *service, fault_t *fault)
{
    aggregator_t *self = xcalloc(1, sizeof *self);
    self->service = service;
    feed_keep_history(service_feed(service));
    const enrich_paths_t paths = paths_of(service_settings(service));
    self->enrich = enrich_new(&paths, fault);
    if (self->enrich != NULL)
        self->consumer = consumer_new(service, self->enrich, fault);
    if (self->consumer == NULL) {
        stop(self);
        return NULL;
    }
    self->refresher = ticker_new(service_loop(service), REFRESH_MS, refresh, self);
    return self;
}

static void reloaded(void *state)
{
    refresh(state);
    consumer_reload(((aggregator_t *)state)->consumer);
}

static void add_attention(void *arg, const fault_t *words)
{
    attention_add(arg, "%s", words->text);
}

static void status(void *state, json_t *json)
{
    aggregator_t *self = state;
    enrich_complain(self->enrich, wall_now().ms / MS_PER_S, add_attention, json);
    consumer_status(self->consumer, json);
    const json_t *store = json_object_get(json, "store");
    if (!json_is_true(json_object_get(store, "connected")))
        attention_add(json, "no store is connected: %s",
                      json_string_value(json_object_get(store, "last_error")));
    const char *warning = json_string_value(json_object_get(store, "warning"));
    if (warning != NULL && *warning != '\0')
        attention_add(json, "store: %s", warning);
    enrich_status(self->enrich, json);
}

int main(int argc, char **argv)
{
    static const program_t program = {
        .name = "banmesh-aggregator",
        .usage = usage,
        .tables = &replica_tables,
        .check = check,
        .advise = advise,
        .start = start,
        .reloaded = reloaded,
        .status = status,
        .stop = stop,
    };
    mallopt(M_ARENA_MAX, 1); /* as banmeshd */
    return service_run(&program, argc, argv);
}
