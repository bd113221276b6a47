/* settings: each file of tests/cases/settings is read or refused as its first line says. */
#include "settings.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECTED "# expected: "

/* What loading says: "ok", or the fault with the directory cut off. */
static void load_one(const char *path, char *out, size_t size)
{
    fault_t fault;
    settings_t *settings = settings_load(path, &fault);
    const char *slash = strrchr(path, '/');
    if (settings != NULL)
        snprintf(out, size, "ok");
    else if (slash != NULL && strncmp(fault.text, path, strlen(path)) == 0)
        snprintf(out, size, "%s", fault.text + (slash + 1 - path));
    else
        snprintf(out, size, "%s", fault.text);
    settings_destroy(&settings);
}

/* Returns false, with words, if a file is not read as it says. */
static bool check_one(const char *directory, const char *file)
{
    char path[2 * PATH_MAX];
    char said[FAULT_TEXT_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    char *text = support_read(path, NULL);
    text[strcspn(text, "\n")] = '\0';
    load_one(path, said, sizeof said);
    bool fits = strncmp(text, EXPECTED, strlen(EXPECTED)) == 0 &&
                strcmp(text + strlen(EXPECTED), said) == 0;
    if (!fits)
        print_error("tests/cases/settings/%s: %s\n    but it is: %s\n", file, text, said);
    free(text);
    return fits;
}

static int is_case(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".conf") == 0;
}

TEST(files_are_read_or_refused_as_their_first_line_says)
{
    struct dirent **entries;
    char directory[PATH_MAX];
    int wrong = 0;
    snprintf(directory, sizeof directory, "%s", support_source("cases/settings"));
    int count = scandir(directory, &entries, is_case, alphasort);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        wrong += !check_one(directory, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (wrong > 0)
        fail_msg("%d of %d files are wrong", wrong, count);
}

static settings_t *load_case(const char *file)
{
    fault_t fault;
    settings_t *settings = settings_load(support_source(file), &fault);
    if (settings == NULL)
        fail_msg("%s", fault.text);
    return settings;
}

TEST(what_is_not_said_has_its_default)
{
    settings_t *self = load_case("cases/settings/minimal.conf");
    assert_string_equal(self->node.name, "mx1");
    assert_string_equal(self->node.state, "/var/lib/banmesh");
    assert_string_equal(self->mesh.listen, "tcp://*:7341");
    assert_string_equal(self->mesh.replay, "tcp://*:7342");
    assert_int_equal(self->mesh.heartbeat_ms, 1000);
    assert_int_equal(self->mesh.peer_count, 0);
    assert_int_equal(self->roles.operators.size, 0);
    assert_int_equal(self->roles.aggregators.size, 0);
    assert_string_equal(self->publish.socket, "/run/banmesh/publish.sock");
    assert_string_equal(self->publish.spool, "/var/spool/banmesh");
    assert_true(text_list_has(&self->publish.users, "root"));
    assert_string_equal(self->shared.jail, "shared");
    assert_string_equal(self->shared.log, "/var/log/banmesh/shared.log");
    assert_int_equal(self->shared.bantime_s, 604800);
    assert_int_equal(self->shared.pace, 100);
    assert_string_equal(self->shared.fail2ban, "/run/fail2ban/fail2ban.sock");
    assert_int_equal(self->guard.protect.size, 0);
    assert_int_equal(self->guard.quorum, 1);
    assert_true(text_list_matches(&self->guard.jails, "sshd"));
    assert_false(text_list_matches(&self->guard.not_jails, "sshd"));
    assert_int_equal(self->guard.rate, 50);
    assert_int_equal(self->guard.widest_v4, 32);
    assert_int_equal(self->guard.widest_v6, 64);
    assert_int_equal(self->guard.dry_run, 0);
    assert_int_equal(self->guard.max_bans, 4000000);
    assert_int_equal(self->guard.max_ban_s, 31536000);
    assert_int_equal(self->guard.allow_special, 0);
    assert_string_equal(self->guard.allowed_file, "/run/banmesh/allowed");
    assert_int_equal(self->guard.local_allow, 1);
    assert_int_equal(self->store.endpoints.size, 2);
    assert_string_equal(self->history.timezone, "UTC");
    assert_int_equal(self->history.retention_days, 30);
    settings_destroy(&self);
    assert_null(self);
}

static void check_everything(const settings_t *self)
{
    addr_t expected = support_addr("2001:db8::/48");
    assert_string_equal(self->node.state, "/srv/banmesh");
    assert_string_equal(self->mesh.replay, "");
    assert_int_equal(self->mesh.heartbeat_ms, 250);
    assert_int_equal(self->mesh.peer_count, 2);
    assert_string_equal(self->mesh.peers[1].name, "mail.example.org");
    assert_string_equal(self->mesh.peers[1].endpoint, "tcp://[2001:db8::2]:7341");
    assert_string_equal(self->mesh.peers[1].replay, "tcp://[2001:db8::2]:7342");
    assert_true(text_list_has(&self->roles.operators, "ops2"));
    assert_false(text_list_has(&self->roles.operators, "ops"));
    assert_int_equal(self->publish.users.size, 2);
    assert_int_equal(self->guard.protect.size, 3);
    assert_true(self->guard.protect.line > 1);
    assert_int_equal(self->guard.protect.names.size, 1);
    assert_string_equal(self->guard.protect.names.items[0], "home.example.org");
    assert_int_equal(self->guard.local_allow, 0);
    assert_true(addr_equal(&self->guard.protect.items[1], &expected));
    assert_int_equal(self->guard.rate, 0);
    assert_int_equal(settings_quorum(self, "sshd"), 3);
    assert_int_equal(settings_quorum(self, "recidive"), 1);
    assert_int_equal(settings_quorum(self, "postfix"), 2);
    assert_int_equal(self->guard.quorum_window_s, 600);
    assert_true(text_list_matches(&self->guard.jails, "postfix-sasl"));
    assert_true(text_list_matches(&self->guard.jails, "sshd"));
    assert_false(text_list_matches(&self->guard.jails, "sshd2"));
    assert_true(text_list_matches(&self->guard.not_jails, "my-test"));
    assert_false(text_list_matches(&self->guard.not_jails, "my-tests"));
    assert_string_equal(self->geoip.country, "");
    assert_string_equal(self->store.user, "banmesh");
}

TEST(what_is_said_is_what_is_read)
{
    settings_t *self = load_case("cases/settings/everything.conf");
    check_everything(self);
    settings_destroy(&self);
}

static void count_idle(const char *name, void *arg)
{
    assert_non_null(strstr(name, " / "));
    ++*(size_t *)arg;
}

TEST(a_wish_without_effect_is_told_and_a_default_is_not)
{
    size_t told = 0;
    settings_t *self = load_case("cases/settings/minimal.conf");
    settings_idle(self, count_idle, &told);
    assert_int_equal(told, 0);
    settings_destroy(&self);
}

TEST(a_missing_file_is_named)
{
    fault_t fault;
    assert_null(settings_load("missing.conf", &fault));
    assert_string_equal(fault.text, "missing.conf: No such file or directory");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(files_are_read_or_refused_as_their_first_line_says),
        plain(what_is_not_said_has_its_default),
        plain(what_is_said_is_what_is_read),
        plain(a_wish_without_effect_is_told_and_a_default_is_not),
        plain(a_missing_file_is_named),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
