#include "settings.h"

#include "zpl.h"

#include <fnmatch.h>
#include <inttypes.h>

typedef enum { TEXT, NAME, PATH, NUMBER, BIND, TEXT_LIST, ADDR_LIST, PATTERNS, QUORUMS } kind_t;

#define IDLE true /* read, and nothing acts on it yet */

typedef struct {
    const char *section;
    const char *name;
    kind_t kind;
    size_t offset;
    const char *preset; /* NULL: required */
    int64_t min;
    int64_t max;
    bool idle;
} entry_t;

#define AT(member) offsetof(settings_t, member)
#define FLAG       0, 1
#define DAY_S      86400
#define QUORUM_MAX 1000

static const entry_t schema[] = {
    {"node", "name", NAME, AT(node.name), NULL, 0, 0, false},
    {"node", "state", PATH, AT(node.state), "/var/lib/banmesh", 0, 0, false},
    {"node", "secret", PATH, AT(node.secret), NULL, 0, 0, false},
    {"node", "trust", PATH, AT(node.trust), NULL, 0, 0, false},
    {"mesh", "listen", BIND, AT(mesh.listen), "tcp://*:7341", 0, 0, false},
    {"mesh", "replay", BIND, AT(mesh.replay), "tcp://*:7342", 0, 0, false},
    {"mesh", "heartbeat", NUMBER, AT(mesh.heartbeat_ms), "1000", 100, 60000, false},
    {"mesh", "relay", NUMBER, AT(mesh.relay), "0", FLAG, false},
    {"mesh", "offer", NUMBER, AT(mesh.offer), "0", FLAG, false},
    {"roles", "operator", TEXT_LIST, AT(roles.operators), "", 0, 0, false},
    {"roles", "aggregator", TEXT_LIST, AT(roles.aggregators), "", 0, 0, false},
    {"publish", "socket", PATH, AT(publish.socket), "/run/banmesh/publish.sock", 0, 0, false},
    {"publish", "spool", PATH, AT(publish.spool), "/var/spool/banmesh", 0, 0, false},
    {"publish", "users", TEXT_LIST, AT(publish.users), "root", 0, 0, false},
    {"admin", "socket", PATH, AT(admin.socket), "/run/banmesh/admin.sock", 0, 0, false},
    {"helper", "socket", PATH, AT(helper.socket), "/run/banmesh/helper.sock", 0, 0, false},
    {"shared", "jail", NAME, AT(shared.jail), "shared", 0, 0, false},
    {"shared", "log", PATH, AT(shared.log), "/var/log/banmesh/shared.log", 0, 0, false},
    {"shared", "bantime", NUMBER, AT(shared.bantime_s), "604800", 1, 3650LL * DAY_S, false},
    {"shared", "pace", NUMBER, AT(shared.pace), "100", 0, 1000000, false},
    {"shared", "fail2ban", PATH, AT(shared.fail2ban), "/run/fail2ban/fail2ban.sock", 0, 0, false},
    {"guard", "protect", ADDR_LIST, AT(guard.protect), "", 0, 0, false},
    {"guard", "jails", PATTERNS, AT(guard.jails), "*", 0, 0, false},
    {"guard", "not-jails", PATTERNS, AT(guard.not_jails), "", 0, 0, false},
    {"guard", "quorum", NUMBER, AT(guard.quorum), "1", 1, QUORUM_MAX, false},
    {"guard", "jail-quorum", QUORUMS, AT(guard.jail_quorum), "", 0, 0, false},
    {"guard", "quorum-window", NUMBER, AT(guard.quorum_window_s), "86400", 1, 3650LL * DAY_S,
     false},
    {"guard", "widest-ipv4", NUMBER, AT(guard.widest_v4), "32", 8, 32, false},
    {"guard", "widest-ipv6", NUMBER, AT(guard.widest_v6), "64", 16, 128, false},
    {"guard", "operator-widest-ipv4", NUMBER, AT(guard.operator_widest_v4), "24", 8, 32, false},
    {"guard", "operator-widest-ipv6", NUMBER, AT(guard.operator_widest_v6), "48", 16, 128, false},
    {"guard", "max-ban", NUMBER, AT(guard.max_ban_s), "31536000", 1, 3650LL * DAY_S, false},
    {"guard", "rate", NUMBER, AT(guard.rate), "50", 0, 10000000, false},
    {"guard", "max-active", NUMBER, AT(guard.max_active), "1000000", 1, 100000000, false},
    {"guard", "max-bans", NUMBER, AT(guard.max_bans), "4000000", 1, 1000000000, false},
    {"guard", "dry-run", NUMBER, AT(guard.dry_run), "0", FLAG, false},
    {"guard", "allow-special", NUMBER, AT(guard.allow_special), "0", FLAG, false},
    {"guard", "allowed-file", PATH, AT(guard.allowed_file), "/run/banmesh/allowed", 0, 0, false},
    {"guard", "local-allow", NUMBER, AT(guard.local_allow), "1", FLAG, false},
    {"guard", "renew-below", NUMBER, AT(guard.renew_below), "40", 0, 100, IDLE},
    {"store", "endpoints", TEXT_LIST, AT(store.endpoints),
     "unix:/run/keydb/keydb.sock 127.0.0.1:6379", 0, 0, false},
    {"store", "user", TEXT, AT(store.user), "", 0, 0, false},
    {"store", "password-file", PATH, AT(store.password_file), "", 0, 0, false},
    {"geoip", "country", PATH, AT(geoip.country), "/usr/share/GeoIP/GeoLite2-Country.mmdb", 0, 0,
     false},
    {"geoip", "asn", PATH, AT(geoip.asn), "", 0, 0, false},
    {"history", "timezone", TEXT, AT(history.timezone), "UTC", 0, 0, false},
    {"history", "retention", NUMBER, AT(history.retention_days), "30", 1, 36500, false},
};

#define SCHEMA_SIZE (sizeof schema / sizeof schema[0])

static void *field(settings_t *self, const entry_t *entry)
{
    return (char *)self + entry->offset;
}

static void set_text(char **out, const char *value)
{
    free(*out);
    *out = xstrdup(value);
}

static int set_path(char **out, const char *value, fault_t *fault)
{
    if (*value != '\0' && *value != '/')
        return fault_set(fault, "\"%.200s\": expected an absolute path", value);
    if (strlen(value) >= PATH_MAX / 2)
        return fault_set(fault, "path of %zu bytes is too long", strlen(value));
    set_text(out, value);
    return 0;
}

static int set_bind(char **out, const char *value, fault_t *fault)
{
    if (*value != '\0' && cert_check_endpoint(value, fault) == -1)
        return -1;
    set_text(out, value);
    return 0;
}

static int set_name(char **out, const char *value, fault_t *fault)
{
    if (!event_name_valid(value, strlen(value)))
        return fault_set(fault, "\"%.80s\": %s", value, event_error_text(EVENT_BAD_JAIL));
    set_text(out, value);
    return 0;
}

static int set_number(int64_t *out, const char *value, int64_t min, int64_t max, fault_t *fault)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (*value == '\0' || isspace((unsigned char)*value) || *end != '\0' || errno != 0 ||
        number < min || number > max)
        return fault_set(fault, "\"%.40s\": expected a number from %" PRId64 " to %" PRId64, value,
                         min, max);
    *out = number;
    return 0;
}

static void clear_list(text_list_t *list)
{
    for (size_t i = 0; i < list->size; i++)
        free(list->items[i]);
    free(list->items);
    *list = (text_list_t){0};
}

static void set_text_list(text_list_t *list, const char *value)
{
    char *copy = xstrdup(value);
    char *rest = copy;
    clear_list(list);
    for (char *item = strsep(&rest, " "); item != NULL; item = strsep(&rest, " ")) {
        if (*item == '\0')
            continue;
        list->items = xrealloc(list->items, (list->size + 1) * sizeof *list->items);
        list->items[list->size++] = xstrdup(item);
    }
    free(copy);
}

static void clear_addr_list(addr_list_t *list)
{
    free(list->items);
    clear_list(&list->names);
    *list = (addr_list_t){0};
}

static void add_name(text_list_t *list, const char *word)
{
    char name[HOSTNAME_MAX + 1];
    hostname_fold(word, name);
    list->items = xrealloc(list->items, (list->size + 1) * sizeof *list->items);
    list->items[list->size++] = xstrdup(name);
}

static int add_address(addr_list_t *list, const char *word, fault_t *fault)
{
    addr_error_t error = addr_parse(word, &list->items[list->size]);
    if (strchr(word, ',') != NULL)
        return fault_set(fault, "\"%.80s\": separate addresses with spaces, not commas", word);
    if (error == ADDR_OK)
        list->size++;
    else if (hostname_valid(word))
        add_name(&list->names, word);
    else
        return fault_set(fault, "\"%.80s\": %s", word, addr_error_text(error));
    return 0;
}

static int set_addr_list(addr_list_t *list, const char *value, fault_t *fault)
{
    text_list_t words = {0};
    addr_list_t fresh = {0};
    int rc = 0;
    set_text_list(&words, value);
    fresh.items = xcalloc(words.size + 1, sizeof *fresh.items);
    for (size_t i = 0; i < words.size && rc == 0; i++)
        rc = add_address(&fresh, words.items[i], fault);
    clear_list(&words);
    clear_addr_list(list);
    *list = fresh;
    return rc;
}

/* Names in which '*' may stand. */
static int set_patterns(text_list_t *list, const char *value, fault_t *fault)
{
    set_text_list(list, value);
    for (size_t i = 0; i < list->size; i++) {
        char plain[EVENT_NAME_MAX + 1];
        snprintf(plain, sizeof plain, "%s", list->items[i]);
        for (char *star = plain; (star = strchr(star, '*')) != NULL;)
            *star = '-';
        if (strlen(list->items[i]) > EVENT_NAME_MAX || !event_name_valid(plain, strlen(plain)))
            return fault_set(fault,
                             "\"%.80s\": expected names of jails, in which * stands for any "
                             "characters, with spaces between",
                             list->items[i]);
    }
    return 0;
}

static void clear_quorums(jail_quorum_list_t *list)
{
    for (size_t i = 0; i < list->size; i++)
        free(list->items[i].jail);
    free(list->items);
    *list = (jail_quorum_list_t){0};
}

/* sshd=2 */
static int add_quorum(jail_quorum_list_t *list, char *word, fault_t *fault)
{
    int64_t origins;
    fault_t inner;
    char *sign = strchr(word, '=');
    if (sign == NULL || !event_name_valid(word, (size_t)(sign - word)) ||
        set_number(&origins, sign + 1, 1, QUORUM_MAX, &inner) == -1)
        return fault_set(fault,
                         "\"%.80s\": expected JAIL=NUMBER with a number from 1 to %d, as in "
                         "\"sshd=2 recidive=1\"",
                         word, QUORUM_MAX);
    *sign = '\0';
    list->items = xrealloc(list->items, (list->size + 1) * sizeof *list->items);
    list->items[list->size++] = (jail_quorum_t){xstrdup(word), origins};
    return 0;
}

static int set_quorums(jail_quorum_list_t *list, const char *value, fault_t *fault)
{
    text_list_t words = {0};
    int rc = 0;
    set_text_list(&words, value);
    clear_quorums(list);
    for (size_t i = 0; i < words.size && rc == 0; i++)
        rc = add_quorum(list, words.items[i], fault);
    clear_list(&words);
    return rc;
}

static int set_value(settings_t *self, const entry_t *entry, const char *value, fault_t *fault)
{
    void *out = field(self, entry);
    switch (entry->kind) {
    case TEXT:
        set_text(out, value);
        return 0;
    case NAME:
        return set_name(out, value, fault);
    case PATH:
        return set_path(out, value, fault);
    case BIND:
        return set_bind(out, value, fault);
    case NUMBER:
        return set_number(out, value, entry->min, entry->max, fault);
    case TEXT_LIST:
        set_text_list(out, value);
        return 0;
    case ADDR_LIST:
        return set_addr_list(out, value, fault);
    case PATTERNS:
        return set_patterns(out, value, fault);
    case QUORUMS:
        return set_quorums(out, value, fault);
    }
    return 0;
}

/* mx2 = "tcp://192.0.2.2:7341 tcp://192.0.2.2:7342": PUB and ROUTER of a peer. */
static int add_peer(settings_t *self, zpl_t *file, zconfig_t *node, fault_t *fault)
{
    text_list_t words = {0};
    fault_t inner;
    set_text_list(&words, zconfig_value(node));
    int rc = 0;
    if (!event_name_valid(zconfig_name(node), strlen(zconfig_name(node))))
        rc = zpl_fault(file, node, fault, "peer \"%.80s\": %s", zconfig_name(node),
                       event_error_text(EVENT_BAD_JAIL));
    else if (words.size != 2)
        rc = zpl_fault(file, node, fault,
                       "peer %s: expected two addresses, \"tcp://HOST:PORT tcp://HOST:PORT\" "
                       "(listen and replay)",
                       zconfig_name(node));
    for (size_t i = 0; i < words.size && rc == 0; i++)
        if (cert_check_endpoint(words.items[i], &inner) == -1)
            rc = zpl_fault(file, node, fault, "peer %s: %.300s", zconfig_name(node), inner.text);
    if (rc == 0) {
        size_t size = (self->mesh.peer_count + 1) * sizeof *self->mesh.peers;
        self->mesh.peers = xrealloc(self->mesh.peers, size);
        self->mesh.peers[self->mesh.peer_count++] =
            (peer_setting_t){xstrdup(zconfig_name(node)), xstrdup(words.items[0]),
                             xstrdup(words.items[1])};
    }
    clear_list(&words);
    return rc;
}

static int add_peers(settings_t *self, zpl_t *file, zconfig_t *section, fault_t *fault)
{
    for (zconfig_t *node = zconfig_child(section); node != NULL; node = zconfig_next(node))
        if (add_peer(self, file, node, fault) == -1)
            return -1;
    return 0;
}

static const entry_t *find_entry(const char *section, const char *name)
{
    for (size_t i = 0; i < SCHEMA_SIZE; i++)
        if (streq(schema[i].section, section) && (name == NULL || streq(schema[i].name, name)))
            return &schema[i];
    return NULL;
}

static int read_section(settings_t *self, zpl_t *file, zconfig_t *section, fault_t *fault)
{
    const char *name = zconfig_name(section);
    fault_t inner;
    if (find_entry(name, NULL) == NULL)
        return zpl_fault(file, section, fault, "unknown section \"%s\"", name);
    if (*zconfig_value(section) != '\0')
        return zpl_fault(file, section, fault, "section \"%s\" takes no value", name);
    for (zconfig_t *node = zconfig_child(section); node != NULL; node = zconfig_next(node)) {
        if (streq(name, "mesh") && streq(zconfig_name(node), "peers")) {
            if (add_peers(self, file, node, fault) == -1)
                return -1;
            continue;
        }
        const entry_t *entry = find_entry(name, zconfig_name(node));
        if (entry == NULL)
            return zpl_fault(file, node, fault, "unknown name \"%s / %s\"", name,
                             zconfig_name(node));
        if (zconfig_child(node) != NULL)
            return zpl_fault(file, zconfig_child(node), fault, "\"%s / %s\" is not a section", name,
                             zconfig_name(node));
        if (set_value(self, entry, zconfig_value(node), &inner) == -1)
            return zpl_fault(file, node, fault, "%s / %s: %.300s", name, entry->name, inner.text);
        if (entry->kind == ADDR_LIST)
            ((addr_list_t *)field(self, entry))->line = zpl_line(file, node);
    }
    return 0;
}

static int check_required(settings_t *self, const char *path, fault_t *fault)
{
    for (size_t i = 0; i < SCHEMA_SIZE; i++) {
        char **text = field(self, &schema[i]);
        if (schema[i].preset == NULL && (*text == NULL || **text == '\0'))
            return fault_set(fault, "%s: %s / %s is missing", path, schema[i].section,
                             schema[i].name);
    }
    return 0;
}

settings_t *settings_load(const char *path, fault_t *fault)
{
    zpl_t *file = zpl_load(path, NULL, fault);
    if (file == NULL)
        return NULL;
    settings_t *self = xcalloc(1, sizeof *self);
    int rc = 0;
    for (size_t i = 0; i < SCHEMA_SIZE; i++)
        if (schema[i].preset != NULL && set_value(self, &schema[i], schema[i].preset, fault) == -1)
            fatalx("default of %s / %s: %s", schema[i].section, schema[i].name, fault->text);
    for (zconfig_t *section = zconfig_child(zpl_root(file)); section != NULL && rc == 0;
         section = zconfig_next(section))
        rc = read_section(self, file, section, fault);
    if (rc == 0)
        rc = check_required(self, path, fault);
    zpl_destroy(&file);
    if (rc == -1)
        settings_destroy(&self);
    return self;
}

static void clear_field(settings_t *self, const entry_t *entry)
{
    switch (entry->kind) {
    case TEXT:
    case NAME:
    case PATH:
    case BIND:
        free(*(char **)field(self, entry));
        break;
    case TEXT_LIST:
    case PATTERNS:
        clear_list(field(self, entry));
        break;
    case QUORUMS:
        clear_quorums(field(self, entry));
        break;
    case ADDR_LIST:
        clear_addr_list(field(self, entry));
        break;
    case NUMBER:
        break;
    }
}

void settings_destroy(settings_t **self_p)
{
    settings_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < SCHEMA_SIZE; i++)
        clear_field(self, &schema[i]);
    for (size_t i = 0; i < self->mesh.peer_count; i++) {
        free(self->mesh.peers[i].name);
        free(self->mesh.peers[i].endpoint);
        free(self->mesh.peers[i].replay);
    }
    free(self->mesh.peers);
    free(self);
}

static bool is_preset(const settings_t *self, const entry_t *entry)
{
    const void *value = (const char *)self + entry->offset;
    switch (entry->kind) {
    case NUMBER:
        return *(const int64_t *)value == strtoll(entry->preset, NULL, 10);
    case TEXT_LIST:
        return ((const text_list_t *)value)->size == 0;
    case ADDR_LIST:
        return ((const addr_list_t *)value)->size == 0 &&
               ((const addr_list_t *)value)->names.size == 0;
    default:
        return streq(*(char *const *)value, entry->preset);
    }
}

void settings_idle(const settings_t *self, void (*tell)(const char *name, void *arg), void *arg)
{
    for (size_t i = 0; i < SCHEMA_SIZE; i++) {
        char name[80];
        if (!schema[i].idle || is_preset(self, &schema[i]))
            continue;
        snprintf(name, sizeof name, "%s / %s", schema[i].section, schema[i].name);
        tell(name, arg);
    }
}

bool text_list_has(const text_list_t *list, const char *text)
{
    for (size_t i = 0; i < list->size; i++)
        if (streq(list->items[i], text))
            return true;
    return false;
}

bool text_list_matches(const text_list_t *list, const char *text)
{
    for (size_t i = 0; i < list->size; i++)
        if (streq(list->items[i], "*") || fnmatch(list->items[i], text, FNM_NOESCAPE) == 0)
            return true;
    return false;
}

int64_t settings_quorum(const settings_t *self, const char *jail)
{
    const jail_quorum_list_t *list = &self->guard.jail_quorum;
    for (size_t i = 0; i < list->size; i++)
        if (streq(list->items[i].jail, jail))
            return list->items[i].origins;
    return self->guard.quorum;
}
