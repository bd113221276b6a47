/* store_login: what a store says of itself in answer to the first words. */
#include "store_login.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

enum { HELLO, SELECT, INFO, CLAIM, DATASET }; /* without a password there is no AUTH before them */

static store_access_t *logins;
static store_login_t login;
static fault_t fault;

static int start(void **state)
{
    static char *endpoint = "127.0.0.1:6379";
    static settings_t settings;
    (void)state;
    settings.store.endpoints.items = &endpoint;
    settings.store.endpoints.size = 1;
    settings.store.user = settings.store.password_file = "";
    memset(&login, 0, sizeof login);
    logins = store_access_new(&settings, &fault);
    return logins != NULL ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    store_access_destroy(&logins);
    return 0;
}

#define with_access(name) cmocka_unit_test_setup_teardown(name, start, end)

static redisReply text(int type, const char *value)
{
    return (redisReply){.type = type, .str = (char *)(uintptr_t)value, .len = strlen(value)};
}

/* "server" "redis" "mode" MODE "role" ROLE, with a number as the id in between, as RESP2 has it. */
static int hello(const char *mode, const char *role)
{
    redisReply replies[] = {text(REDIS_REPLY_STRING, "server"), text(REDIS_REPLY_STRING, "redis"),
                            text(REDIS_REPLY_STRING, "id"),     {.type = REDIS_REPLY_INTEGER},
                            text(REDIS_REPLY_STRING, "mode"),   text(REDIS_REPLY_STRING, mode),
                            text(REDIS_REPLY_STRING, "role"),   text(REDIS_REPLY_STRING, role)};
    redisReply *list[sizeof replies / sizeof replies[0]];
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++)
        list[i] = &replies[i];
    redisReply all = {.type = REDIS_REPLY_ARRAY, .element = list};
    all.elements = sizeof replies / sizeof replies[0];
    return store_login_take(logins, HELLO, &all, &login, &fault);
}

static const char *info(int type, const char *value)
{
    redisReply reply = text(type, value);
    assert_true(store_login_may_fail(logins, INFO));
    assert_int_equal(store_login_take(logins, INFO, &reply, &login, &fault), 0);
    return login.warning.text;
}

TEST(a_master_will_do_and_a_replica_will_not)
{
    assert_int_equal(hello("standalone", "master"), 0);
    assert_int_equal(hello("standalone", "replica"), -1);
    assert_string_equal(fault.text, "is a replica, a writable master is needed");
    assert_int_equal(hello("standalone", "slave"), -1);
}

TEST(a_cluster_is_named)
{
    assert_int_equal(hello("cluster", "master"), -1);
    assert_non_null(strstr(fault.text, "is a cluster, which cannot be used"));
}

TEST(an_active_replica_is_warned_of_if_it_appends)
{
    assert_int_equal(hello("standalone", "active-replica"), 0);
    assert_string_equal(info(REDIS_REPLY_STRING, "# Persistence\r\naof_enabled:0\r\n"), "");
    assert_non_null(strstr(info(REDIS_REPLY_STRING, "# Persistence\r\naof_enabled:1\r\n"),
                           "an active replica with appendonly"));
    /* The next connection is another one. */
    assert_int_equal(hello("standalone", "active-replica"), 0);
    assert_string_equal(login.warning.text, "");
    assert_non_null(strstr(info(REDIS_REPLY_ERROR, "NOPERM"), "cannot be seen"));
}

TEST(a_master_may_append_and_keep_to_itself_whether_it_does)
{
    assert_int_equal(hello("standalone", "master"), 0);
    assert_string_equal(info(REDIS_REPLY_STRING, "aof_enabled:1\r\n"), "");
    assert_string_equal(info(REDIS_REPLY_ERROR, "NOPERM"), "");
}

TEST(a_user_of_older_rules_may_not_select_and_is_warned)
{
    redisReply no = text(REDIS_REPLY_ERROR, "NOPERM");
    redisReply yes = text(REDIS_REPLY_STATUS, "OK");
    assert_int_equal(hello("standalone", "master"), 0);
    assert_true(store_login_may_fail(logins, SELECT));
    assert_int_equal(store_login_take(logins, SELECT, &no, &login, &fault), 0);
    assert_false(login.may_select);
    assert_non_null(strstr(login.warning.text, "+select"));
    assert_int_equal(hello("standalone", "master"), 0);
    assert_int_equal(store_login_take(logins, SELECT, &yes, &login, &fault), 0);
    assert_true(login.may_select);
    assert_string_equal(login.warning.text, "");
}

TEST(only_these_questions_may_be_refused)
{
    assert_false(store_login_may_fail(logins, HELLO));
    assert_false(store_login_may_fail(logins, CLAIM));
    assert_false(store_login_may_fail(logins, DATASET));
}

TEST(the_dataset_is_what_an_aggregator_wrote)
{
    redisReply reply = text(REDIS_REPLY_STRING, "0123456789abcdef0123456789abcdef");
    assert_int_equal(store_login_take(logins, DATASET, &reply, &login, &fault), 0);
    assert_string_equal(login.dataset, "0123456789abcdef0123456789abcdef");
    reply = text(REDIS_REPLY_STRING, "0123456789abcdef0123456789abcde\n");
    assert_int_equal(store_login_take(logins, DATASET, &reply, &login, &fault), -1);
    reply = text(REDIS_REPLY_STRING, "something");
    assert_int_equal(store_login_take(logins, DATASET, &reply, &login, &fault), -1);
    reply = (redisReply){.type = REDIS_REPLY_NIL};
    assert_int_equal(store_login_take(logins, DATASET, &reply, &login, &fault), -1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_access(a_master_will_do_and_a_replica_will_not),
        with_access(a_cluster_is_named),
        with_access(an_active_replica_is_warned_of_if_it_appends),
        with_access(a_master_may_append_and_keep_to_itself_whether_it_does),
        with_access(a_user_of_older_rules_may_not_select_and_is_warned),
        with_access(only_these_questions_may_be_refused),
        with_access(the_dataset_is_what_an_aggregator_wrote),
    };
    return cmocka_run_group_tests_name("store: login", tests, NULL, NULL);
}
