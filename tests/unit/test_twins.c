/* twins: a restart is one host, and numbers that take turns are two. */
#include "support.h"
#include "twins.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static twins_t *twins;
static trusted_t node = {.name = "mx1"};
static char other[ADDR_TEXT_MAX];
static char text[TWINS_TEXT_MAX];
static mono_t now;

static int start(void **state)
{
    (void)state;
    twins = twins_new();
    now.ms = 1000000;
    return sodium_init() == -1 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    twins_destroy(&twins);
    return 0;
}

#define with_twins(name) cmocka_unit_test_setup_teardown(name, start, end)

/* Half a minute later. */
static bool note(uint64_t run, const char *address)
{
    now.ms += 30000;
    return twins_note(twins, &node, run, address, now, other);
}

TEST(restarts_are_one_host)
{
    for (uint64_t run = 1; run < 20; run++)
        for (int i = 0; i < 3; i++)
            assert_false(note(run, "192.0.2.1"));
    assert_false(twins_text(twins, 0, now, text));
}

TEST(a_host_that_comes_from_several_addresses_is_one)
{
    for (int i = 0; i < 10; i++)
        assert_false(note(1, i % 2 == 0 ? "192.0.2.1" : "2001:db8::1"));
}

/* Both ask in turn; returns what the last one was told. */
static bool take_turns(int times)
{
    bool twice = false;
    for (int i = 0; i < times; i++)
        twice = note(i % 2 == 0 ? 1 : 2, i % 2 == 0 ? "192.0.2.1" : "::ffff:192.0.2.2");
    return twice;
}

TEST(runs_that_take_turns_are_two_and_each_hears_of_the_other)
{
    assert_false(take_turns(4));
    assert_true(note(1, "192.0.2.1"));
    assert_string_equal(other, "192.0.2.2");
    assert_true(note(2, "192.0.2.2"));
    assert_string_equal(other, "192.0.2.1");
    assert_true(twins_text(twins, 0, now, text));
    assert_string_equal(text, "mx1: its key is in use at two places at once (192.0.2.2 and "
                              "192.0.2.1): a copied server, or a stolen key");
    assert_false(twins_text(twins, 1, now, text));
}

/* It hung, and what it had asked before was read late. */
TEST(a_late_message_of_a_run_that_has_ended_is_no_proof)
{
    assert_false(note(1, "192.0.2.1"));
    assert_false(note(2, "192.0.2.1"));
    assert_false(note(1, "192.0.2.1"));
    for (int i = 0; i < 10; i++)
        assert_false(note(2, "192.0.2.1"));
}

TEST(one_that_restarts_is_not_told_of_its_own_address)
{
    assert_true(take_turns(5));
    assert_true(note(3, "192.0.2.1"));
    assert_string_equal(other, "192.0.2.2");
}

TEST(three_that_take_turns_are_noticed_too)
{
    for (uint64_t i = 0; i < 5; i++)
        assert_false(note(1 + i % 3, NULL));
    assert_true(note(3, NULL));
    assert_string_equal(other, "");
}

TEST(what_ended_is_forgotten_after_two_minutes)
{
    assert_true(take_turns(5));
    for (int i = 0; i < 3; i++)
        assert_true(note(1, "192.0.2.1"));
    assert_false(note(1, "192.0.2.1"));
    assert_false(twins_text(twins, 0, now, text));
}

TEST(an_old_run_that_comes_back_after_long_is_no_proof)
{
    for (int i = 0; i < 10; i++) {
        assert_false(note(1 + (uint64_t)i % 2, "192.0.2.1"));
        now.ms += 600000;
    }
}

TEST(our_own_key_at_another_place_is_said_first)
{
    for (int i = 0; i < 5; i++)
        note(1 + (uint64_t)i % 2, NULL);
    twins_note_own(twins, "mx2", "192.0.2.9", now);
    assert_true(twins_text(twins, 0, now, text));
    assert_non_null(strstr(text, "this host's key is in use at another place, too (192.0.2.9, says "
                                 "mx2)"));
    assert_true(twins_text(twins, 1, now, text));
    assert_non_null(strstr(text, "(an unknown address and an unknown address)"));
    assert_false(twins_text(twins, 2, now, text));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_twins(restarts_are_one_host),
        with_twins(a_host_that_comes_from_several_addresses_is_one),
        with_twins(runs_that_take_turns_are_two_and_each_hears_of_the_other),
        with_twins(three_that_take_turns_are_noticed_too),
        with_twins(a_late_message_of_a_run_that_has_ended_is_no_proof),
        with_twins(one_that_restarts_is_not_told_of_its_own_address),
        with_twins(what_ended_is_forgotten_after_two_minutes),
        with_twins(an_old_run_that_comes_back_after_long_is_no_proof),
        with_twins(our_own_key_at_another_place_is_said_first),
    };
    return cmocka_run_group_tests_name("twins", tests, NULL, NULL);
}
