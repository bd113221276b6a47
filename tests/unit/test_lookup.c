/* lookup: addresses pass through, names become addresses, and what is neither is said. */
#include "lookup.h"
#include "support.h"

#include <string.h>
#include <time.h>

static char found[CERT_ENDPOINT_MAX + 1];
static fault_t fault;

/* The name must be in /etc/hosts: no test asks a name server. */
static int wait_for(const char *endpoint, size_t turn)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    lookup_t *lookup = lookup_new(endpoint, &fault);
    if (lookup == NULL)
        return -1;
    int rc;
    while ((rc = lookup_result(lookup, turn, found, &fault)) == 0)
        nanosleep(&pause, NULL);
    lookup_destroy(&lookup);
    assert_null(lookup);
    return rc;
}

TEST(an_address_is_known_at_once)
{
    const char *const endpoints[] = {"tcp://192.0.2.1:7341", "tcp://[2001:db8::1]:7341",
                                     "tcp://[::1]:1"};
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        lookup_t *lookup = lookup_new(endpoints[i], &fault);
        assert_int_equal(lookup_result(lookup, i, found, &fault), 1);
        assert_string_equal(found, endpoints[i]);
        lookup_destroy(&lookup);
    }
}

TEST(a_name_becomes_its_address_at_every_turn)
{
    for (size_t turn = 0; turn < 5; turn++) {
        assert_int_equal(wait_for("tcp://localhost:7341", turn), 1);
        assert_true(strcmp(found, "tcp://127.0.0.1:7341") == 0 ||
                    strcmp(found, "tcp://[::1]:7341") == 0);
    }
}

TEST(what_is_no_endpoint_is_refused_in_words)
{
    assert_int_equal(wait_for("tcp://localhost:0", 0), -1);
    assert_non_null(strstr(fault.text, "1..65535"));
    assert_int_equal(wait_for("localhost:7341", 0), -1);
    assert_non_null(strstr(fault.text, "tcp://HOST:PORT"));
}

TEST(a_name_that_cannot_be_is_said_later)
{
    /* A label of more than 63 characters is refused by the resolver itself. */
    assert_int_equal(
        wait_for("tcp://"
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 ".:7341",
                 0),
        -1);
    assert_non_null(strstr(fault.text, "aaaa"));
}

TEST(one_that_is_under_way_can_be_let_go)
{
    for (int i = 0; i < 100; i++) {
        lookup_t *lookup = lookup_new("tcp://localhost:7341", &fault);
        assert_non_null(lookup);
        lookup_destroy(&lookup);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain(an_address_is_known_at_once),
        plain(a_name_becomes_its_address_at_every_turn),
        plain(what_is_no_endpoint_is_refused_in_words),
        plain(a_name_that_cannot_be_is_said_later),
        plain(one_that_is_under_way_can_be_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
