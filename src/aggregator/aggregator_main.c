/* banmesh-aggregator - follows all nodes' feeds and keeps the history in KeyDB, Valkey or Redis, by
 * country, jail, address and day. Never publishes. */
#include "attention.h"
#include "consumer.h"
#include "history.h"
#include "store_access.h"
#include "ticker.h"

#include <malloc.h>
#include <unistd.h>

#define REFRESH_MS 60000 /* between looks at the country database's file */

static const char usage[] =
    "usage: banmesh-aggregator --config FILE [--check] [--verbose]\n"
    "\n"
    "Takes in what all nodes of the mesh announce and keeps the history in KeyDB, Valkey or "
    "Redis:\n"
    "who was banned when, where and from which country. Stays in the foreground and logs to\n"
    "standard error.\n"
    "\n"
    "  --config FILE  settings, e.g. /etc/banmesh/aggregator.conf\n"
    "  --check        read settings, keys, trust directory, password file, time zone and country\n"
    "                 database, look whether the state directory can be written, say what is\n"
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
    bool failing; /* the country database's file cannot be used; said so */
} aggregator_t;

static int check(const settings_t *settings, fault_t *fault)
{
    const char *country = settings->geoip.country;
    store_access_t *access = store_access_new(settings, fault);
    if (access == NULL || history_check_timezone(settings->history.timezone, fault) == -1) {
        store_access_destroy(&access);
        return -1;
    }
    store_access_destroy(&access);
    enrich_t *enrich = enrich_new(country, fault);
    if (enrich == NULL)
        return -1;
    enrich_destroy(&enrich);
    return 0;
}

/* enrich may be NULL. */
static void warn_of_gap(const enrich_t *enrich)
{
    const char *gap = enrich != NULL ? enrich_gap(enrich) : NULL;
    if (gap != NULL)
        log_warnx("geoip / country: %s", gap);
}

static void advise(const settings_t *settings, const cert_t *cert)
{
    (void)cert;
    const char *country = settings->geoip.country;
    if (*country == '\0')
        log_warnx("geoip / country: no file is set: all countries will be " ENRICH_UNKNOWN);
    else if (access(country, F_OK) == -1)
        log_warnx("geoip / country: %s does not exist: all countries will be " ENRICH_UNKNOWN,
                  country);
    enrich_t *enrich = enrich_new(country, NULL);
    warn_of_gap(enrich);
    enrich_destroy(&enrich);
}

static void refresh(void *arg)
{
    aggregator_t *self = arg;
    fault_t fault;
    const char *path = service_settings(self->service)->geoip.country;
    int rc = enrich_refresh(self->enrich, path, &fault);
    if (rc == 1) {
        log_info("country database %s: read", path);
        warn_of_gap(self->enrich);
    } else if (rc == -1 && !self->failing)
        log_warnx("%s; the old one stays in use", fault.text);
    self->failing = rc == -1;
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
    self->enrich = enrich_new(service_settings(service)->geoip.country, fault);
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

static void status(void *state, json_t *json)
{
    aggregator_t *self = state;
    if (enrich_gap(self->enrich) != NULL)
        attention_add(json, "%s", enrich_gap(self->enrich));
    if (!enrich_is_open(self->enrich))
        attention_add(json, "there is no country database: all countries are " ENRICH_UNKNOWN);
    consumer_status(self->consumer, json);
    const json_t *store = json_object_get(json, "store");
    if (!json_is_true(json_object_get(store, "connected")))
        attention_add(json, "no store is connected: %s",
                      json_string_value(json_object_get(store, "last_error")));
    const char *warning = json_string_value(json_object_get(store, "warning"));
    if (warning != NULL && *warning != '\0')
        attention_add(json, "store: %s", warning);
    json_object_set_new(json, "country_db", enrich_status(self->enrich));
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
