/* import - announce what fail2ban bans already: `banmesh import`. */
#include "ask.h"
#include "clock.h"
#include "hand_in.h"
#include "jail_reader.h"

#include <czmq.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 30

/* A jail, and what became of its bans. */
typedef struct {
    const char *name;
    const char *left_out; /* why; NULL: it is imported */
    size_t bans;
    size_t over; /* have ended meanwhile */
    hand_in_counts_t counts;
} part_t;

typedef struct {
    settings_t *settings;
    jail_reader_t *reader;
    hand_in_t *node; /* NULL: they are only counted */
    jail_facts_t *jails;
    part_t *parts;
    size_t count; /* of jails */
    part_t *part; /* that is read */
    bool shows_bar;
    size_t expected; /* bans in all */
    size_t done;
} import_t;

/* ---- which jails ---- */

static const char *why_left_out(const import_t *self, const jail_facts_t *jail, bool all_jails)
{
    if (streq(jail->name, self->settings->shared.jail))
        return "holds the bans of peers";
    if (jail_facts_watches(jail) || jail_facts_is_known_watcher(jail->name))
        return "watches fail2ban's own log";
    return jail->publishes || all_jails ? NULL : "has not the action banmesh";
}

static void choose(import_t *self, bool all_jails)
{
    self->parts = xcalloc(self->count + 1, sizeof *self->parts);
    for (size_t i = 0; i < self->count; i++) {
        self->parts[i].name = self->jails[i].name;
        self->parts[i].left_out = why_left_out(self, &self->jails[i], all_jails);
    }
}

/* ---- their bans ---- */

static bool has_ended(const helper_ticket_t *ticket)
{
    return ticket->bantime_s >= 0 &&
           ticket->start_s + ticket->bantime_s <= wall_now().ms / MS_PER_S;
}

static int count_bans(void *arg, const helper_ticket_t *tickets, size_t count, fault_t *fault)
{
    import_t *self = arg;
    (void)fault;
    for (size_t i = 0; i < count; i++)
        self->part->over += has_ended(&tickets[i]);
    self->part->bans += count;
    return 0;
}

static void draw_bar(const import_t *self)
{
    if (!self->shows_bar)
        return;
    size_t expected = self->expected > self->done ? self->expected : self->done;
    int full = expected > 0 ? (int)(self->done * BAR_WIDTH / expected) : BAR_WIDTH;
    fprintf(stderr, "\r[%.*s%.*s] %zu of %zu bans", full, "##############################",
            BAR_WIDTH - full, "..............................", self->done, expected);
}

static int take_bans(void *arg, const helper_ticket_t *tickets, size_t count, fault_t *fault)
{
    import_t *self = arg;
    helper_ticket_t running[HELPER_TICKETS_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!has_ended(&tickets[i]))
            running[kept++] = tickets[i];
    self->part->bans += count;
    self->part->over += count - kept;
    if (hand_in_bans(self->node, self->part->name, running, kept, &self->part->counts, fault) == -1)
        return -1;
    self->done += count;
    draw_bar(self);
    return 0;
}

static int read_jails(import_t *self, jail_reader_fn *each, fault_t *fault)
{
    for (size_t i = 0; i < self->count; i++) {
        self->part = &self->parts[i];
        self->part->bans = self->part->over = 0;
        if (self->part->left_out == NULL &&
            jail_reader_tickets(self->reader, self->part->name, each, self, fault) == -1)
            return -1;
    }
    return 0;
}

/* For a bar that knows its end. */
static int count_all(import_t *self, fault_t *fault)
{
    if (read_jails(self, count_bans, fault) == -1)
        return -1;
    for (size_t i = 0; i < self->count; i++)
        self->expected += self->parts[i].bans;
    return 0;
}

static int import_all(import_t *self, fault_t *fault)
{
    if (self->shows_bar && count_all(self, fault) == -1)
        return -1;
    draw_bar(self);
    int rc = read_jails(self, take_bans, fault);
    if (self->shows_bar)
        fputc('\n', stderr);
    return rc;
}

/* ---- what is said of it ---- */

static json_t *json_of(const part_t *part)
{
    return json_pack("{s:s, s:b, s:s*, s:I, s:I, s:I, s:I, s:I, s:I}", "jail", part->name,
                     "imported", part->left_out == NULL, "left_out", part->left_out, "bans",
                     (json_int_t)part->bans, "announced", (json_int_t)part->counts.announced,
                     "known", (json_int_t)part->counts.known, "over", (json_int_t)part->over,
                     "not_for_others", (json_int_t)part->counts.not_for_others, "refused",
                     (json_int_t)part->counts.refused);
}

static void print_json(const import_t *self, bool is_whole)
{
    json_t *jails = json_array();
    size_t announced = 0;
    for (size_t i = 0; i < self->count; i++) {
        json_array_append_new(jails, json_of(&self->parts[i]));
        announced += self->parts[i].counts.announced;
    }
    json_t *all =
        json_pack("{s:o, s:I, s:b, s:b}", "jails", jails, "announced", (json_int_t)announced,
                  "dry_run", self->node == NULL, "whole", is_whole);
    ask_dump(all);
    json_decref(all);
}

static void print_count(size_t count, const char *what)
{
    if (count > 0)
        printf(", %zu %s", count, what);
}

static void print_part(const import_t *self, const part_t *part)
{
    char name[HELPER_JAIL_BYTES + 1];
    snprintf(name, sizeof name, "%s", part->name);
    log_make_printable(name);
    printf("%-20s ", name);
    if (part->left_out != NULL) {
        printf("left out: %s\n", part->left_out);
        return;
    }
    if (self->node == NULL)
        printf("%zu to hand in", part->bans - part->over);
    else
        printf("%zu announced", part->counts.announced);
    print_count(part->counts.known, "known already");
    print_count(part->over, "over");
    print_count(part->counts.not_for_others, "not for others (special addresses)");
    print_count(part->counts.refused, "refused as malformed (banmesh status)");
    printf("\n");
}

static void print_all(const import_t *self)
{
    size_t imported = 0;
    for (size_t i = 0; i < self->count; i++) {
        print_part(self, &self->parts[i]);
        imported += self->parts[i].left_out == NULL;
    }
    if (imported == 0)
        printf("no jail has the action banmesh; --all-jails takes others, too\n");
}

/* ---- the command ---- */

static void end(import_t *self)
{
    hand_in_destroy(&self->node);
    jail_reader_destroy(&self->reader);
    settings_destroy(&self->settings);
    free(self->jails);
    free(self->parts);
}

/* The node first: if it is down, fail2ban need not be asked. */
static int begin(import_t *self, const command_options_t *options, bool dry_run, fault_t *fault)
{
    self->settings = settings_load(options->config, fault);
    if (self->settings == NULL)
        return -1;
    if (*self->settings->shared.fail2ban == '\0')
        return fault_set(fault, "shared / fail2ban is \"\": expected fail2ban's socket");
    if (!dry_run) {
        self->node = hand_in_new(self->settings->publish.socket, fault);
        if (self->node == NULL)
            return -1;
    }
    self->reader = jail_reader_new(self->settings, fault);
    return self->reader != NULL ? jail_reader_jails(self->reader, &self->jails, &self->count, fault)
                                : -1;
}

static int import(const command_options_t *options, int argc, char **argv)
{
    import_t self = {0};
    fault_t fault;
    bool all_jails = command_flag(&argc, argv, "--all-jails");
    bool dry_run = command_flag(&argc, argv, "--dry-run");
    if (!command_expects(&command_import, argc, argv, 0))
        return COMMAND_USAGE;
    self.shows_bar = !options->json && !dry_run && isatty(STDERR_FILENO) == 1;
    int rc = begin(&self, options, dry_run, &fault);
    if (rc == 0) {
        choose(&self, all_jails);
        rc = dry_run ? read_jails(&self, count_bans, &fault) : import_all(&self, &fault);
        if (options->json)
            print_json(&self, rc == 0);
        else
            print_all(&self);
    }
    end(&self);
    if (rc == -1)
        log_errorx("%s", fault.text);
    return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}

const command_t command_import = {
    .name = "import",
    .summary = "announce what fail2ban bans already",
    .usage =
        "usage: banmesh import [--all-jails] [--dry-run] [--config FILE] [--json]\n"
        "\n"
        "Announces the bans that run in the jails with our action: what these had banned before\n"
        "they had it. Each with its begin and its ban time, so it ends for the peers when it ends\n"
        "here. What is known already is not announced again: it may be run as often as one likes.\n"
        "Jails that watch fail2ban's own log (recidive and the like), and the shared one, are "
        "never\n"
        "imported. Run it as root: it asks banmesh-helper.\n"
        "\n"
        "  --all-jails  also those without our action\n"
        "  --dry-run    only count\n"
        "\n"
        "examples: banmesh import --dry-run\n"
        "          banmesh import\n",
    .run = import,
};
