/* asker: a node's budget, and which of its connections are answered. */
#include "quota.h"
#include "support.h"

#include <sodium.h>
#include <string.h>

static quotas_t *askers;
static cert_t *certs[2];
static trust_t *trust;
static uint8_t dead; /* the first byte of routes that are gone; 0: none */
static int looks;

static int start(void **state)
{
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    certs[0] = support_cert("mx1");
    certs[1] = support_cert("mx2");
    trust = support_trust("trust", certs, 2);
    askers = quotas_new();
    dead = 0;
    looks = 0;
    return 0;
}

static int end(void **state)
{
    quotas_destroy(&askers);
    trust_destroy(&trust);
    cert_destroy(&certs[0]);
    cert_destroy(&certs[1]);
    return support_leave(state);
}

#define with_askers(name) cmocka_unit_test_setup_teardown(name, start, end)

static quota_t *asker_of(const char *name)
{
    return quotas_of(askers, trust_by_name(trust, name));
}

static bool is_alive(void *arg, const peer_route_t *route)
{
    assert_ptr_equal(arg, &dead);
    assert_true(route->size > 0);
    looks++;
    return route->bytes[0] != dead;
}

static bool has_route(quota_t *asker, const char *route)
{
    peer_route_t bytes = {.size = (uint8_t)strlen(route)};
    memcpy(bytes.bytes, route, bytes.size);
    return quota_has_route(asker, &bytes, is_alive, &dead);
}

TEST(each_node_has_one_budget_for_all_its_connections)
{
    quota_t *mx1 = asker_of("mx1");
    quota_t *mx2 = asker_of("mx2");
    assert_ptr_not_equal(mx1, mx2);
    assert_ptr_equal(asker_of("mx1"), mx1);
    for (int i = 0; i < QUOTA_REQUESTS_BURST; i++)
        assert_true(quota_may_ask(mx1));
    int more = 0; /* what came in during the loop */
    while (quota_may_ask(mx1) && more < QUOTA_REQUESTS_BURST)
        more++;
    assert_in_range(more, 0, QUOTA_REQUESTS_BURST - 1);
    assert_true(quota_may_ask(mx2));
}

TEST(bytes_are_paid_for_afterwards)
{
    quota_t *mx1 = asker_of("mx1");
    quota_pay(mx1, QUOTA_BYTES_BURST - 1);
    assert_true(quota_may_ask(mx1));
    quota_pay(mx1, (size_t)QUOTA_BYTES_PER_S * 3600);
    assert_false(quota_may_ask(mx1));
}

TEST(what_is_refused_costs_no_request)
{
    quota_t *mx1 = asker_of("mx1");
    quota_pay(mx1, (size_t)QUOTA_BYTES_BURST + (size_t)QUOTA_BYTES_PER_S * 3600);
    bucket_t before = mx1->requests;
    for (int i = 0; i < 10 * QUOTA_REQUESTS_BURST; i++)
        assert_false(quota_may_ask(mx1));
    assert_true(mx1->requests.level_milli >= before.level_milli);
}

TEST(nodes_that_left_are_forgotten)
{
    quota_t *mx1 = asker_of("mx1");
    asker_of("mx2")->told = true;
    quota_pay(mx1, (size_t)QUOTA_BYTES_PER_S * 3600);
    trust_t *smaller = support_trust("smaller", certs, 1);
    quotas_keep(askers, smaller);
    trust_destroy(&smaller);
    assert_ptr_equal(asker_of("mx1"), mx1);
    assert_false(quota_may_ask(asker_of("mx1")));
    assert_false(asker_of("mx2")->told);
}

TEST(four_connections_are_answered_and_the_known_ones_stay)
{
    quota_t *mx1 = asker_of("mx1");
    static const char *const routes[] = {"1", "22", "333", "4444"};
    for (size_t i = 0; i < QUOTA_ROUTES_MAX; i++)
        assert_true(has_route(mx1, routes[i]));
    assert_int_equal(looks, 0);
    assert_false(has_route(mx1, "5"));
    assert_int_equal(looks, QUOTA_ROUTES_MAX);
    for (size_t i = 0; i < QUOTA_ROUTES_MAX; i++)
        assert_true(has_route(mx1, routes[i]));
    assert_int_equal(looks, QUOTA_ROUTES_MAX);
    assert_false(has_route(mx1, "2")); /* not the same as 22 */
    assert_true(has_route(asker_of("mx2"), "5"));
}

TEST(the_place_of_a_connection_that_is_gone_is_given_away)
{
    quota_t *mx1 = asker_of("mx1");
    static const char *const routes[] = {"1", "2", "3", "4"};
    for (size_t i = 0; i < QUOTA_ROUTES_MAX; i++)
        has_route(mx1, routes[i]);
    dead = '2';
    assert_true(has_route(mx1, "5"));
    assert_true(has_route(mx1, "4"));
    assert_true(has_route(mx1, "1"));
    assert_false(has_route(mx1, "2"));
    dead = '9';
    assert_false(has_route(mx1, "6"));
}

TEST(the_longest_route_has_a_place_and_differs_in_its_last_byte)
{
    peer_route_t route = {.size = PEER_ROUTE_MAX};
    quota_t *mx1 = asker_of("mx1");
    memset(route.bytes, 'x', sizeof route.bytes);
    assert_true(quota_has_route(mx1, &route, is_alive, &dead));
    assert_true(quota_has_route(mx1, &route, is_alive, &dead));
    assert_int_equal(mx1->route_count, 1);
    route.bytes[PEER_ROUTE_MAX - 1] = 'y';
    assert_true(quota_has_route(mx1, &route, is_alive, &dead));
    assert_int_equal(mx1->route_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_askers(each_node_has_one_budget_for_all_its_connections),
        with_askers(bytes_are_paid_for_afterwards),
        with_askers(what_is_refused_costs_no_request),
        with_askers(nodes_that_left_are_forgotten),
        with_askers(four_connections_are_answered_and_the_known_ones_stay),
        with_askers(the_place_of_a_connection_that_is_gone_is_given_away),
        with_askers(the_longest_route_has_a_place_and_differs_in_its_last_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
