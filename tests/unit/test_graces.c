/* graces: which pardon or allowance makes a ban void, whatever the order in which they came. */
#include "graces.h"
#include "support.h"

#include <sodium.h>
#include <string.h>

#define NOW_MS 1795288025000

enum { MX1, MX2, OPS };

static graces_t *graces;

static int start(void **state)
{
    (void)state;
    graces = graces_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    graces_destroy(&graces);
    assert_null(graces);
    return 0;
}

#define with_graces(name) cmocka_unit_test_setup_teardown(name, start, end)

static bool is_operator(void *arg, uint16_t origin)
{
    (void)arg;
    return origin == OPS;
}

/* Times in seconds from now. */
static graces_result_t put(uint16_t origin, event_kind_t kind, const char *network, int64_t time_s,
                           int64_t until_s)
{
    const grace_entry_t entry = {
        .network = support_addr(network),
        .kind = kind,
        .origin = origin,
        .time_ms = NOW_MS + time_s * MS_PER_S,
        .until_ms = until_s == 0 ? 0 : NOW_MS + until_s * MS_PER_S,
        .text = (char[]){"why"},
    };
    return graces_put(graces, &entry, NULL, 0);
}

/* The origin whose word makes a ban of MX1 void; -1: none. */
static int void_by(const char *address, int64_t time_s)
{
    addr_t banned = support_addr(address);
    const graces_ban_t ban = {&banned, 1, NOW_MS + time_s * MS_PER_S, MX1, {NOW_MS}};
    const grace_entry_t *entry = graces_find(graces, &ban, is_operator, NULL);
    return entry != NULL ? entry->origin : -1;
}

TEST(nothing_is_void_by_itself)
{
    assert_int_equal(void_by("45.154.244.1", -10), -1);
    assert_null(graces_at(graces, 0));
    assert_true(graces_next_end_ms(graces, (wall_t){NOW_MS}) == EVENT_FOREVER);
}

TEST(an_origin_takes_back_its_own_bans_an_operator_all)
{
    put(MX2, EVENT_PARDON, "45.154.244.1", 0, 0);
    assert_int_equal(void_by("45.154.244.1", -10), -1);
    put(MX1, EVENT_PARDON, "45.154.244.1", 0, 0);
    assert_int_equal(void_by("45.154.244.1", -10), MX1);
    put(OPS, EVENT_PARDON, "45.154.244.2", 0, 0);
    assert_int_equal(void_by("45.154.244.2", -10), OPS);
    assert_int_equal(void_by("45.154.244.3", -10), -1);
}

TEST(a_pardon_is_about_bans_up_to_its_time_or_before_its_end)
{
    put(OPS, EVENT_PARDON, "45.154.244.1", 0, 0);
    assert_int_equal(void_by("45.154.244.1", 0), OPS);
    assert_int_equal(void_by("45.154.244.1", 1), -1);
    put(OPS, EVENT_PARDON, "45.154.244.2", 0, 60);
    assert_int_equal(void_by("45.154.244.2", 59), OPS);
    assert_int_equal(void_by("45.154.244.2", 60), -1);
}

TEST(an_allowance_is_about_all_bans_while_it_runs)
{
    put(MX1, EVENT_ALLOW, "45.154.244.1", -100, 100);
    assert_int_equal(void_by("45.154.244.1", -10), -1); /* that is an operator's to say */
    put(OPS, EVENT_ALLOW, "45.154.244.1", -100, 100);
    assert_int_equal(void_by("45.154.244.1", -10), OPS);
    assert_int_equal(void_by("45.154.244.1", 10), OPS);
    assert_true(graces_next_end_ms(graces, (wall_t){NOW_MS}) == NOW_MS + 100 * MS_PER_S);
    put(OPS, EVENT_ALLOW, "45.154.244.2", -100, -1);
    assert_int_equal(void_by("45.154.244.2", -10), -1);
}

TEST(a_network_covers_what_lies_in_it)
{
    put(OPS, EVENT_ALLOW, "45.154.0.0/16", -100, 100);
    put(OPS, EVENT_ALLOW, "2a02:4780::/32", -100, 100);
    assert_int_equal(void_by("45.154.244.1", -10), OPS);
    assert_int_equal(void_by("45.154.244.0/24", -10), OPS);
    assert_int_equal(void_by("45.155.244.1", -10), -1);
    assert_int_equal(void_by("2a02:4780:1::7", -10), OPS);
    assert_int_equal(void_by("2a02:4781:1::7", -10), -1);
    assert_int_equal(void_by("45.152.0.0/14", -10), -1); /* it covers more */
}

TEST(the_latest_word_counts_in_any_order)
{
    assert_int_equal(put(OPS, EVENT_ALLOW, "45.154.244.1", -100, 100), GRACES_ADDED);
    assert_int_equal(put(OPS, EVENT_ALLOW, "45.154.244.1", -100, 100), GRACES_KNOWN);
    assert_int_equal(put(OPS, EVENT_ALLOW, "45.154.244.1", -50, -50), GRACES_ADDED);
    assert_int_equal(void_by("45.154.244.1", -10), -1);
    assert_int_equal(put(OPS, EVENT_ALLOW, "45.154.244.1", -60, 100), GRACES_KNOWN);
    assert_int_equal(void_by("45.154.244.1", -10), -1);
    put(OPS, EVENT_PARDON, "45.154.244.2", -50, -50); /* before what it withdraws */
    put(OPS, EVENT_PARDON, "45.154.244.2", -60, 0);
    assert_int_equal(void_by("45.154.244.2", -70), -1);
    put(MX1, EVENT_PARDON, "45.154.244.2", -60, 0); /* another's stays */
    assert_int_equal(void_by("45.154.244.2", -70), MX1);
}

TEST(what_an_origin_said_of_a_network_is_found_and_whether_it_runs)
{
    addr_t network = support_addr("45.154.0.0/16");
    addr_t inside = support_addr("45.154.1.1");
    uint64_t changes = graces_allow_changes(graces);
    put(OPS, EVENT_PARDON, "45.154.0.0/16", -100, 100);
    assert_true(graces_allow_changes(graces) == changes);
    assert_null(graces_said(graces, OPS, EVENT_ALLOW, &network));
    put(OPS, EVENT_ALLOW, "45.154.0.0/16", -100, 100);
    put(MX1, EVENT_ALLOW, "45.154.0.0/16", -100, -100);
    assert_true(graces_allow_changes(graces) > changes);
    const grace_entry_t *said = graces_said(graces, OPS, EVENT_ALLOW, &network);
    assert_true(grace_entry_allows(said, (wall_t){NOW_MS}));
    assert_false(grace_entry_allows(said, (wall_t){NOW_MS + 100 * MS_PER_S}));
    assert_false(grace_entry_allows(graces_said(graces, MX1, EVENT_ALLOW, &network),
                                    (wall_t){NOW_MS - 101 * MS_PER_S}));
    assert_null(graces_said(graces, OPS, EVENT_ALLOW, &inside));
    assert_null(graces_said(graces, MX2, EVENT_ALLOW, &network));
}

TEST(a_pardon_that_names_bans_is_about_these_alone)
{
    const int64_t nids[] = {1, 7};
    grace_entry_t entry = {
        .network = support_addr("45.154.244.1"),
        .kind = EVENT_PARDON,
        .origin = MX1,
        .time_ms = NOW_MS,
    };
    addr_t banned = support_addr("45.154.244.1");
    graces_ban_t ban = {&banned, 7, NOW_MS + 1, MX1, {NOW_MS}};
    assert_int_equal(graces_put(graces, &entry, nids, 2), GRACES_ADDED);
    assert_int_equal(graces_put(graces, &entry, nids, 2), GRACES_KNOWN);
    assert_non_null(graces_find(graces, &ban, is_operator, NULL));
    ban.nid = 8;
    assert_null(graces_find(graces, &ban, is_operator, NULL));
    ban.nid = 1;
    ban.origin = MX2; /* who names another's ban says nothing */
    assert_null(graces_find(graces, &ban, is_operator, NULL));
    graces_clear(graces);
    ban.origin = MX1;
    assert_null(graces_find(graces, &ban, is_operator, NULL));
}

TEST(an_address_is_allowed_whoever_would_ban_it)
{
    addr_t address = support_addr("45.154.244.1");
    put(OPS, EVENT_PARDON, "45.154.244.1", 0, 60);
    assert_null(graces_allowance(graces, &address, (wall_t){NOW_MS}, is_operator, NULL));
    put(OPS, EVENT_ALLOW, "45.154.244.0/24", 0, 60);
    assert_string_equal(
        graces_allowance(graces, &address, (wall_t){NOW_MS}, is_operator, NULL)->text, "why");
}

TEST(thousands_are_found_and_one_origin_has_its_share)
{
    char text[ADDR_TEXT_MAX];
    for (int i = 0; i < GRACES_PER_ORIGIN_MAX; i++) {
        snprintf(text, sizeof text, "45.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_int_equal(put(MX1, EVENT_PARDON, text, 0, 0), GRACES_ADDED);
    }
    assert_int_equal(put(MX1, EVENT_PARDON, "46.0.0.1", 0, 0), GRACES_TOO_MANY);
    assert_int_equal(put(MX1, EVENT_PARDON, "45.0.0.1", 1, 0), GRACES_ADDED); /* a later one */
    assert_int_equal(put(MX2, EVENT_PARDON, "46.0.0.1", 0, 0), GRACES_ADDED);
    assert_int_equal(void_by("45.1.134.159", 0), MX1);
    assert_int_equal(void_by("46.0.0.1", 0), -1);
}

static int start_sodium(void **state)
{
    (void)state;
    return sodium_init() == -1 ? -1 : 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_graces(nothing_is_void_by_itself),
        with_graces(an_origin_takes_back_its_own_bans_an_operator_all),
        with_graces(a_pardon_is_about_bans_up_to_its_time_or_before_its_end),
        with_graces(an_allowance_is_about_all_bans_while_it_runs),
        with_graces(a_network_covers_what_lies_in_it),
        with_graces(the_latest_word_counts_in_any_order),
        with_graces(what_an_origin_said_of_a_network_is_found_and_whether_it_runs),
        with_graces(a_pardon_that_names_bans_is_about_these_alone),
        with_graces(an_address_is_allowed_whoever_would_ban_it),
        with_graces(thousands_are_found_and_one_origin_has_its_share),
    };
    return cmocka_run_group_tests_name("graces", tests, start_sodium, NULL);
}
