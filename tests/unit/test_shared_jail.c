/* shared_jail: what jails read, by what the helper says of them. */
#include "shared_jail.h"
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static settings_t settings = {
    .shared = {.jail = (char[]){"shared"}, .log = (char[]){"shared.log"}}};

static void say(shared_jail_t *jail, const char *name, helper_source_t kind, const char *text)
{
    jailer_source_t source = {.kind = kind};
    snprintf(source.jail, sizeof source.jail, "%s", name);
    snprintf(source.source, sizeof source.source, "%s", text);
    shared_jail_add(jail, &settings, &source);
}

TEST(a_jail_that_reads_the_log)
{
    shared_jail_t jail = {0};
    say(&jail, "", HELPER_TARGET, "shared.log");
    say(&jail, "sshd", HELPER_NOTHING, "");
    say(&jail, "sshd", HELPER_LOG, "auth.log");
    assert_false(jail.is_there || jail.reads);
    say(&jail, "shared", HELPER_NOTHING, "");
    assert_true(jail.is_there);
    say(&jail, "shared", HELPER_LOG, "other.log");
    say(&jail, "shared", HELPER_ACTION, "shared.log");
    assert_false(jail.reads);
    say(&jail, "shared", HELPER_LOG, "shared.log");
    assert_true(jail.reads);
    assert_string_equal(jail.reader, "");
}

TEST(another_jail_reads_it)
{
    shared_jail_t jail = {0};
    say(&jail, "peers", HELPER_NOTHING, "");
    say(&jail, "peers", HELPER_LOG, "shared.log");
    assert_false(jail.is_there || jail.reads);
    assert_string_equal(jail.reader, "peers");
}

TEST(two_paths_may_be_one_file)
{
    shared_jail_t jail = {0};
    FILE *log = fopen("shared.log", "w");
    assert_non_null(log);
    fclose(log);
    assert_int_equal(symlink("shared.log", "link.log"), 0);
    say(&jail, "shared", HELPER_LOG, "nowhere.log");
    assert_false(jail.reads);
    say(&jail, "shared", HELPER_LOG, "link.log");
    assert_true(jail.reads);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(a_jail_that_reads_the_log),
        plain(another_jail_reads_it),
        in_directory(two_paths_may_be_one_file),
    };
    return cmocka_run_group_tests_name("shared_jail", tests, NULL, NULL);
}
