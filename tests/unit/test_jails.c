/* jails: what fail2ban calls a jail, and what the mesh does. */
#include "jails.h"
#include "support.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const db_schema_t schema = {.version = 1, .create = jails_table};
static db_t *db;
static jails_t *jails;

static void open_jails(void)
{
    fault_t fault;
    db = db_open("own.db", &schema, true, &fault);
    if (db == NULL)
        fail_msg("%s", fault.text);
    jails = jails_new(db, &fault);
    assert_non_null(jails);
}

static void close_jails(void)
{
    jails_destroy(&jails);
    db_destroy(&db);
}

static int start(void **state)
{
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    open_jails();
    return 0;
}

static int end(void **state)
{
    close_jails();
    return support_leave(state);
}

#define with_jails(name) cmocka_unit_test_setup_teardown(name, start, end)

static const char *name_of(const char *raw)
{
    static char name[EVENT_NAME_MAX + 1];
    jails_name(jails, raw, name);
    assert_true(event_name_valid(name, strlen(name)));
    return name;
}

/* The original of a name as the operator sees it; "": none. */
static const char *original(const char *name)
{
    static char text[1024];
    json_t *names = jails_json(jails);
    const char *value = json_string_value(json_object_get(names, name));
    snprintf(text, sizeof text, "%s", value != NULL ? value : "");
    json_decref(names);
    return text;
}

TEST(a_name_of_the_mesh_stays_as_it_is)
{
    char longest[EVENT_NAME_MAX + 1];
    memset(longest, 'x', EVENT_NAME_MAX);
    longest[EVENT_NAME_MAX] = '\0';
    const char *const names[] = {"sshd", "nginx-http-auth", "-dash", "12345",
                                 "DE",   "a.b_c",           longest};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_string_equal(name_of(names[i]), names[i]);
        assert_string_equal(original(names[i]), "");
    }
}

TEST(other_bytes_become_underscores_before_a_hash)
{
    /* The digits are BLAKE2b with 16 bytes, as python3 -c 'hashlib.blake2b (..., digest_size=16)'
     * has it. */
    static const struct {
        const char *raw;
        const char *name;
    } pairs[] = {
        {"my jail", "my_jail-d266e996"},
        {"sshd:aggressive", "sshd_aggressive-75bf7f37"},
        {"b\xc3\xbcro", "b__ro-408cc218"},
        {"a\nb", "a_b-0c84cf75"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        assert_string_equal(name_of(pairs[i].raw), pairs[i].name);
}

TEST(names_that_are_tidied_alike_stay_apart)
{
    char one[EVENT_NAME_MAX + 1];
    char raw[200];
    jails_name(jails, "my jail", one);
    assert_string_not_equal(name_of("my:jail"), one);
    assert_string_not_equal(name_of("my_jail"), one);
    memset(raw, 'x', sizeof raw);
    raw[sizeof raw - 1] = '\0';
    jails_name(jails, raw, one);
    assert_int_equal(strlen(one), EVENT_NAME_MAX);
    raw[EVENT_NAME_MAX + 1] = '\0';
    assert_int_equal(strlen(name_of(raw)), EVENT_NAME_MAX);
    assert_string_not_equal(name_of(raw), one);
    assert_memory_equal(name_of(raw), one, 55);
}

TEST(no_jail_has_a_name_that_stands_for_an_operators_hand)
{
    static const char *const reserved[] = {"by-hand", "by-hand.", "by-hand.web", "by-hand. web",
                                           "by-hand.\xc3\xbc"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        assert_false(event_is_by_hand(name_of(reserved[i])));
        assert_string_equal(original(name_of(reserved[i])), reserved[i]);
    }
    assert_string_equal(name_of("by-hands"), "by-hands");
    assert_string_equal(name_of("by"), "by");
}

TEST(the_operator_finds_the_original_also_after_a_restart)
{
    char one[EVENT_NAME_MAX + 1];
    char other[EVENT_NAME_MAX + 1];
    jails_name(jails, "b\xc3\xbcro", one);
    jails_name(jails, "\x1b[31m\xff\xc2\x9b", other); /* nothing for a terminal */
    for (int i = 0; i < 2; i++) {
        assert_string_equal(original(one), "b\xc3\xbcro");
        assert_string_equal(original(other), "%1b[31m%ff%c2%9b");
        close_jails();
        open_jails();
    }
    assert_string_equal(name_of("b\xc3\xbcro"), one);
}

TEST(a_full_disk_does_not_cost_the_name)
{
    char before[EVENT_NAME_MAX + 1];
    db_freeze(db, true);
    memcpy(before, name_of("my jail"), sizeof before);
    assert_string_equal(name_of("my jail"), before);
    assert_string_equal(original(before), "");
    db_freeze(db, false);
    assert_string_equal(name_of("my jail"), before);
    assert_string_equal(original(before), "my jail");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_jails(a_name_of_the_mesh_stays_as_it_is),
        with_jails(other_bytes_become_underscores_before_a_hash),
        with_jails(names_that_are_tidied_alike_stay_apart),
        with_jails(no_jail_has_a_name_that_stands_for_an_operators_hand),
        with_jails(the_operator_finds_the_original_also_after_a_restart),
        with_jails(a_full_disk_does_not_cost_the_name),
    };
    return cmocka_run_group_tests_name("jails", tests, NULL, NULL);
}
