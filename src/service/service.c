#include "service.h"

#include "admin.h"
#include "attention.h"
#include "crowd.h"
#include "descriptors.h"
#include "housekeeping.h"
#include "salvage.h"
#include "socket.h"
#include "trust_dir.h"

#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#ifndef BANMESH_VERSION
#error "BANMESH_VERSION comes from CMakeLists.txt"
#endif

#define EXIT_USAGE 2
#define FILES_MAX  16384

struct service {
    const program_t *program;
    void *state;
    const char *settings_path;
    settings_t *settings;
    cert_t *cert;
    zloop_t *loop;
    feed_t *feed;
    wire_t *wire;
    mesh_t *mesh;
    own_feed_t *own_feed;
    housekeeping_t *housekeeping;
    admin_t *admin;
    trust_dir_t *trust_dir;
    fault_t not_reloaded; /* why the settings in use are not those of the file; "": they are */
    fault_t trust_unread; /* why the trust set in use is not what the directory shows */
    zmq_pollitem_t signals;
    bool stopping;
    wall_t started;
};

zloop_t *service_loop(service_t *self)
{
    return self->loop;
}

feed_t *service_feed(service_t *self)
{
    return self->feed;
}

wire_t *service_wire(service_t *self)
{
    return self->wire;
}

own_feed_t *service_own_feed(service_t *self)
{
    return self->own_feed;
}

mesh_t *service_mesh(service_t *self)
{
    return self->mesh;
}

const cert_t *service_cert(service_t *self)
{
    return self->cert;
}

const settings_t *service_settings(service_t *self)
{
    return self->settings;
}

/* ---- reading what the operator wrote ---- */

static void tell_idle(const char *name, void *arg)
{
    (void)arg;
    log_warnx("setting %s has no effect in this version", name);
}

/* A server that was copied together with its keys would number batches beside the original, and the
 * others would take neither's word. */
static int check_name(const settings_t *settings, const cert_t *cert, fault_t *fault)
{
    if (streq(settings->node.name, cert->name))
        return 0;
    return fault_set(
        fault,
        "node / name is \"%s\", but %s is the key of \"%s\"; each server needs keys of "
        "its own: banmesh keygen %s",
        settings->node.name, settings->node.secret, cert->name, settings->node.name);
}

static void compare_port(const char *in_cert, const char *listens, const char *what)
{
    const char *one = strrchr(in_cert, ':');
    const char *other = strrchr(listens, ':');
    if (one != NULL && other != NULL && !streq(one, other))
        log_warnx("others connect to %s, as our certificate says, but mesh / %s is %s", in_cert,
                  what, listens);
}

static void warn_of_left_out(const trust_t *trust)
{
    const char *why;
    for (size_t i = 0; (why = trust_left_out(trust, i)) != NULL; i++)
        log_warnx("%s: left out, that node does not count", why);
}

/* What is not wrong, but hardly meant. */
static void advise(const program_t *program, const settings_t *settings, const cert_t *cert,
                   const trust_t *trust)
{
    settings_idle(settings, tell_idle, NULL);
    if (program->advise != NULL)
        program->advise(settings, cert);
    compare_port(cert->endpoint, settings->mesh.listen, "listen");
    compare_port(cert->replay, settings->mesh.replay, "replay");
    warn_of_left_out(trust);
    size_t others = trust_size(trust) - (trust_by_sign(trust, &cert->sign_public) != NULL);
    if (others == 0)
        log_warnx("%s holds no other node's certificate: this node is alone", settings->node.trust);
    if (crowd_room(others, SIZE_MAX) > descriptors_limit())
        log_warnx("%zu files may be open, but with %zu other nodes %zu may be needed: raise "
                  "LimitNOFILE, or ulimit -n",
                  descriptors_limit(), others, crowd_room(others, SIZE_MAX));
    for (size_t i = 0; i < settings->roles.aggregators.size; i++)
        if (trust_by_name(trust, settings->roles.aggregators.items[i]) == NULL)
            log_warnx("roles / aggregator: there is no %s/%s.cert", settings->node.trust,
                      settings->roles.aggregators.items[i]);
}

/* Everything that --check looks at. Returns 0, or -1 with the fault; what was loaded stays with the
 * caller either way. */
static int load(const program_t *program, const char *path, settings_t **settings, cert_t **cert,
                trust_t **trust, fault_t *fault)
{
    *settings = settings_load(path, fault);
    if (*settings == NULL)
        return -1;
    *cert = cert_load_secret((*settings)->node.secret, fault);
    *trust = *cert != NULL ? trust_load((*settings)->node.trust, fault) : NULL;
    if (*trust == NULL || check_name(*settings, *cert, fault) == -1)
        return -1;
    return program->check != NULL ? program->check(*settings, fault) : 0;
}

int service_check_directory(const char *setting, const char *path, const char *file, bool made,
                            fault_t *fault)
{
    char inside[PATH_MAX];
    struct stat status;
    if (stat(path, &status) == -1 && errno == ENOENT && made) {
        log_warnx("%s: %s does not exist; the unit of systemd makes it at the start, nobody else "
                  "does",
                  setting, path);
        return 0;
    }
    if (stat(path, &status) == -1)
        return fault_set(fault, "%s: %s: %s", setting, path, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return fault_set(fault, "%s: %s: expected a directory", setting, path);
    if (access(path, R_OK | W_OK | X_OK) == -1)
        return fault_set(fault, "%s: %s: user %u cannot write there: %s", setting, path,
                         (unsigned)geteuid(), strerror(errno));
    snprintf(inside, sizeof inside, "%s/%s", path, file != NULL ? file : ".");
    if (access(inside, R_OK | W_OK) == -1 && errno != ENOENT)
        return fault_set(fault, "%s: %s: user %u cannot write it: %s", setting, inside,
                         (unsigned)geteuid(), strerror(errno));
    return 0;
}

static int check_directories(const program_t *program, const settings_t *settings, fault_t *fault)
{
    static const char *const files[] = {"lock", "own.db", "peers.db"};
    bool is_there = access(settings->node.state, F_OK) == 0;
    for (size_t i = 0; i < (is_there ? sizeof files / sizeof files[0] : 1); i++)
        if (service_check_directory("node / state", settings->node.state, files[i], true, fault) ==
            -1)
            return -1;
    return program->check_directories != NULL ? program->check_directories(settings, fault) : 0;
}

static int check_only(const program_t *program, const char *path)
{
    settings_t *settings = NULL;
    cert_t *cert = NULL;
    trust_t *trust = NULL;
    fault_t fault;
    int rc = load(program, path, &settings, &cert, &trust, &fault);
    if (rc == 0) {
        descriptors_raise(FILES_MAX);
        advise(program, settings, cert, trust);
        rc = check_directories(program, settings, &fault);
    }
    if (rc == 0)
        puts("configuration ok");
    else
        log_errorx("%s", fault.text);
    trust_destroy(&trust);
    cert_destroy(&cert);
    settings_destroy(&settings);
    return rc == 0 ? 0 : 1;
}

/* ---- while running ---- */

/* Keys, addresses and paths in use stay until a restart: say so where one was changed. */
static void warn_of_fixed(const settings_t *old, const settings_t *new)
{
    const struct {
        const char *name;
        const char *was;
        const char *is;
    } fixed[] = {
        {"node / state", old->node.state, new->node.state},
        {"node / secret", old->node.secret, new->node.secret},
        {"mesh / listen", old->mesh.listen, new->mesh.listen},
        {"mesh / replay", old->mesh.replay, new->mesh.replay},
        {"publish / socket", old->publish.socket, new->publish.socket},
        {"publish / spool", old->publish.spool, new->publish.spool},
        {"admin / socket", old->admin.socket, new->admin.socket},
        {"shared / log", old->shared.log, new->shared.log},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (!streq(fixed[i].was, fixed[i].is))
            log_warnx("%s has changed: takes effect after a restart", fixed[i].name);
}

/* The set is taken over. */
static void use_trust(service_t *self, trust_t **trust_p)
{
    trust_dir_taken(self->trust_dir, self->settings->node.trust, trust_seen(*trust_p));
    self->trust_unread.text[0] = '\0';
    warn_of_left_out(*trust_p);
    mesh_reload(self->mesh, trust_p, self->settings);
    self->program->reloaded(self->state);
}

/* With the settings in use: who is trusted no longer must not stay because somebody is editing the
 * settings. */
static void reload_trust(void *arg)
{
    service_t *self = arg;
    const char *directory = self->settings->node.trust;
    const fault_t said = self->trust_unread;
    trust_t *trust = trust_load(directory, &self->trust_unread);
    if (trust != NULL) {
        use_trust(self, &trust);
        return;
    }
    /* If it can be read again, it differs from that, and is tried again. */
    trust_dir_taken(self->trust_dir, directory, 0);
    if (!streq(said.text, self->trust_unread.text))
        log_warnx("not reloaded, those who were trusted stay so: %s", self->trust_unread.text);
}

static void reload(service_t *self)
{
    settings_t *settings = NULL;
    cert_t *cert = NULL;
    trust_t *trust = NULL;
    fault_t fault;
    if (load(self->program, self->settings_path, &settings, &cert, &trust, &fault) == -1) {
        log_warnx("not reloaded, the old configuration stays: %s", fault.text);
        self->not_reloaded = fault;
        trust_destroy(&trust);
        settings_destroy(&settings);
        reload_trust(self);
    } else {
        settings_t *old = self->settings;
        self->not_reloaded.text[0] = '\0';
        warn_of_fixed(old, settings);
        self->settings = settings;
        housekeeping_set(self->housekeeping, settings);
        use_trust(self, &trust);
        settings_destroy(&old);
    }
    cert_destroy(&cert);
}

static int take_signal(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    service_t *self = arg;
    struct signalfd_siginfo signal;
    if (read(item->fd, &signal, sizeof signal) != sizeof signal)
        return 0;
    if (signal.ssi_signo == SIGHUP) {
        log_info("SIGHUP: reading %s again", self->settings_path);
        reload(self);
        return 0;
    }
    log_info("%s: stopping", strsignal((int)signal.ssi_signo));
    self->stopping = true;
    return -1;
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void publish(void *arg, const uint8_t *envelope, size_t size)
{
    service_t *self = arg;
    mesh_publish(self->mesh, envelope, size);
}

static json_t *reset(service_t *self, const char *name)
{
    int count = mesh_reset(self->mesh, name);
    if (count == -1)
        return json_pack("{s:s}", "error", strerror(errno));
    if (count == 0)
        return json_pack("{s:s++}", "error", "\"", name, "\" is not in quarantine on this host");
    log_warnx("%s counts again, by the operator's word", name);
    return json_pack("{s:s}", "reset", name);
}

/* What all programs have to say there. */
static void ask_attention(const service_t *self, json_t *status)
{
    const char *why;
    attention_to_mesh(status, !text_list_has(&self->settings->roles.aggregators,
                                             self->settings->node.name));
    if (self->not_reloaded.text[0] != '\0')
        attention_add(status, "settings were not reloaded, the old ones are in use: %s",
                      self->not_reloaded.text);
    if (self->trust_unread.text[0] != '\0')
        attention_add(status, "those who were trusted stay so: %s", self->trust_unread.text);
    for (size_t i = 0; (why = trust_left_out(mesh_trust(self->mesh), i)) != NULL; i++)
        attention_add(status, "%s: left out, that node does not count", why);
}

/* Whoever changed the directory need not wait until we look. */
static json_t *tell_trust(service_t *self)
{
    json_t *names = json_array();
    json_t *left_out = json_array();
    const trusted_t *node;
    const char *why;
    reload_trust(self);
    const trust_t *trust = mesh_trust(self->mesh);
    for (size_t i = 0; (node = trust_at(trust, i)) != NULL; i++)
        json_array_append_new(names, json_string(node->name));
    for (size_t i = 0; (why = trust_left_out(trust, i)) != NULL; i++)
        json_array_append_new(left_out, json_string(why));
    return json_pack("{s:o, s:o}", "trusted", names, "left_out", left_out);
}

static json_t *answer(void *arg, const char *command)
{
    static const char reset_word[] = "reset ";
    service_t *self = arg;
    if (strncmp(command, reset_word, sizeof reset_word - 1) == 0)
        return reset(self, command + sizeof reset_word - 1);
    if (streq(command, "trust"))
        return tell_trust(self);
    if (!streq(command, "status"))
        return self->program->command != NULL ? self->program->command(self->state, command) : NULL;
    json_t *status =
        json_pack("{s:s, s:s, s:s, s:i, s:I, s:o}", "program", self->program->name, "version",
                  BANMESH_VERSION, "node", self->settings->node.name, "pid", (int)getpid(),
                  "uptime_s", (json_int_t)((wall_now().ms - self->started.ms) / MS_PER_S), "mesh",
                  mesh_status(self->mesh));
    json_object_set_new(status, "disk_full", json_boolean(state_is_full(feed_state(self->feed))));
    json_object_set_new(status, "attention", json_array());
    ask_attention(self, status);
    self->program->status(self->state, status);
    if (state_is_full(feed_state(self->feed)))
        attention_first(status, "the disk is full: no ban is taken in until there is room in %s",
                        self->settings->node.state);
    return status;
}

/* Tell systemd (sd_notify (3)) that all is open, so that what is ordered after us finds the shared
 * log. Nothing happens under any other parent. */
static void notify_ready(void)
{
    static const char ready[] = "READY=1";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || (*path != '/' && *path != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (*path == '@')
        address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return;
    if (sendto(fd, ready, sizeof ready - 1, MSG_NOSIGNAL, (struct sockaddr *)&address, size) == -1)
        log_warn("%s", path);
    close(fd);
}

/* ---- start and end ---- */

/* The state directory, and what became of a database that was damaged. */
static int open_feed(service_t *self, fault_t *fault)
{
    salvage_result_t salvaged;
    const char *note;
    self->feed = feed_open(self->settings->node.state, &self->cert->sign_public,
                           self->program->tables, fault);
    if (self->feed == NULL)
        return -1;
    for (size_t i = 0; (note = state_note(feed_state(self->feed), i)) != NULL; i++)
        log_warnx("%s", note);
    if (feed_rekeyed(self->feed) > 0)
        log_warnx("%s/own.db was written under another key: %zu feeds of that key count as a "
                  "peer's from now on",
                  self->settings->node.state, feed_rekeyed(self->feed));
    self->wire = wire_new(self->cert->sign_seed);
    if (salvage_run(self->feed, self->wire, &salvaged, fault) == -1)
        return -1;
    if (salvaged.name[0] != '\0')
        log_warnx("%s: %" PRIu64 " batches of this host could be read, %" PRIu64
                  " bans of theirs are announced again; peers bring back what they have of the "
                  "rest; if they lack something: banmesh recover --help",
                  salvaged.name, salvaged.batches, salvaged.copied);
    return 0;
}

static int open_parts(service_t *self, trust_t **trust_p, fault_t *fault)
{
    sigset_t set;
    block_signals(&set);
    self->signals = (zmq_pollitem_t){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC),
                                     .events = ZMQ_POLLIN};
    if (self->signals.fd == -1)
        fatal("signalfd");
    zloop_poller(self->loop, &self->signals, take_signal, self);
    if (open_feed(self, fault) == -1)
        return -1;
    mesh_config_t config = {self->loop, self->feed, self->wire, self->cert, self->settings};
    self->mesh = mesh_new(&config, trust_p, fault);
    if (self->mesh == NULL)
        return -1;
    self->own_feed = own_feed_new(self->feed, self->wire, publish, self);
    housekeeper_config_t housekeeper = {self->feed, self->wire, mesh_replica(self->mesh),
                                        self->own_feed};
    self->housekeeping = housekeeping_new(self->loop, &housekeeper, self->settings);
    self->state = self->program->start(self, fault);
    if (self->state == NULL)
        return -1;
    self->admin = admin_new(self->loop, self->settings->admin.socket, answer, self, fault);
    if (self->admin == NULL)
        return -1;
    self->trust_dir = trust_dir_new(self->loop, self->settings->node.trust,
                                    trust_seen(mesh_trust(self->mesh)), reload_trust, self);
    return 0;
}

static void close_parts(service_t *self)
{
    trust_dir_destroy(&self->trust_dir);
    admin_destroy(&self->admin);
    self->program->stop(self->state);
    housekeeping_destroy(&self->housekeeping);
    own_feed_destroy(&self->own_feed);
    mesh_destroy(&self->mesh);
    wire_destroy(&self->wire);
    feed_close(&self->feed);
    zloop_destroy(&self->loop);
    if (self->signals.fd != -1)
        close(self->signals.fd);
}

static int run(const program_t *program, const char *path)
{
    service_t self = {.program = program, .settings_path = path, .started = wall_now()};
    trust_t *trust = NULL;
    fault_t fault;
    int rc = load(program, path, &self.settings, &self.cert, &trust, &fault);
    self.signals.fd = -1;
    if (rc == 0) {
        descriptors_raise(FILES_MAX);
        advise(program, self.settings, self.cert, trust);
        socket_setup();
        self.loop = zloop_new();
        rc = open_parts(&self, &trust, &fault);
        if (rc == 0) {
            log_info("%s %s started as node %s", program->name, BANMESH_VERSION,
                     self.settings->node.name);
            notify_ready();
            /* zloop also ends when a system call is interrupted, by a debugger for example. */
            while (!self.stopping)
                zloop_start(self.loop);
        }
        close_parts(&self);
        socket_teardown();
    }
    trust_destroy(&trust);
    cert_destroy(&self.cert);
    settings_destroy(&self.settings);
    if (rc == -1)
        log_errorx("cannot start: %s", fault.text);
    return rc == 0 ? 0 : 1;
}

int service_run(const program_t *program, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'n'},
        {"verbose", no_argument, NULL, 'v'},      {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    bool check = false;
    log_open(program->name);
    if (sodium_init() == -1)
        fatalx("libsodium cannot start");
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        if (c == 'c')
            path = optarg;
        else if (c == 'n')
            check = true;
        else if (c == 'v')
            log_set_verbose(true);
        else if (c == 'V') {
            printf("%s %s\n", program->name, BANMESH_VERSION);
            return 0;
        } else {
            fputs(program->usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : EXIT_USAGE;
        }
    }
    if (path == NULL || optind < argc) {
        fputs(program->usage, stderr);
        return EXIT_USAGE;
    }
    return check ? check_only(program, path) : run(program, path);
}
