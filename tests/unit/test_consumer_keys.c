/* The names of the aggregator's keys: no jail's key is ever another family's, days are those of the
 * zone, a cursor counts in its own dataset only. */
#include "cursors.h"
#include "history.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

static void assert_jail_key(const char *jail, const char *expected)
{
    char key[HISTORY_KEY_BYTES];
    attempt_record_t record = {.ban = support_ban("45.154.244.193")};
    snprintf(record.ban.jail, sizeof record.ban.jail, "%s", jail);
    assert_true(history_key(&record, HISTORY_JAIL, key));
    assert_string_equal(key, expected);
}

TEST(an_ordinary_jail_has_the_bare_key)
{
    assert_jail_key("sshd", "f2b:sshd");
    assert_jail_key("XXL", "f2b:XXL");
    assert_jail_key("de", "f2b:de");
    assert_jail_key("Xa", "f2b:Xa");
    assert_jail_key("3proxy", "f2b:3proxy");
    assert_jail_key("2026-11-2x", "f2b:2026-11-2x");
    assert_jail_key("1.2.3", "f2b:1.2.3");
    assert_jail_key("Bans", "f2b:Bans");
}

TEST(a_jail_that_would_be_another_familys_key_stands_apart)
{
    static const char *const jails[] = {
        "DE",         "XX",
        "1",          "4611686018427387904",
        "2026-11-21", "45.154.244.193",
        "bans",       "active",
        "nodes",      "live",
        "net",        "node",
        "asn",        "jail",
        "node-state", "receipts",
    };
    for (size_t i = 0; i < sizeof jails / sizeof jails[0]; i++) {
        char expected[HISTORY_KEY_BYTES];
        snprintf(expected, sizeof expected, "f2b:jail:%s", jails[i]);
        assert_jail_key(jails[i], expected);
    }
    /* No valid name of a jail, but a newer version may let them in. */
    assert_true(history_is_reserved("2a02::7"));
    assert_true(history_is_reserved("jail:x"));
}

TEST(the_longest_names_fit)
{
    char jail[EVENT_NAME_MAX + 1];
    char expected[HISTORY_KEY_BYTES];
    memset(jail, '7', EVENT_NAME_MAX);
    jail[EVENT_NAME_MAX] = '\0';
    snprintf(expected, sizeof expected, "f2b:jail:%s", jail);
    assert_jail_key(jail, expected);
    char key[HISTORY_KEY_BYTES];
    attempt_record_t record = {.ban = support_ban("2a02:4780:1111:2222:3333:4444:5555:6666")};
    history_ip_key(&record, key);
    assert_string_equal(key, "f2b:2a02:4780:1111:2222:3333:4444:5555:6666");
    record.ban.address = support_addr("2a02:4780::/64");
    history_ip_key(&record, key);
    assert_string_equal(key, "f2b:2a02:4780::/64");
}

static void assert_day(const char *zone, int64_t time_s, const char *expected)
{
    char day[HISTORY_DAY_BYTES];
    fault_t fault = {""};
    if (history_check_timezone(zone, &fault) == -1)
        fail_msg("%s", fault.text);
    history_set_timezone(zone);
    history_day(time_s * 1000, day);
    assert_string_equal(day, expected);
}

TEST(a_day_is_that_of_the_zone)
{
    assert_day("UTC", 1795219199, "2026-11-20");
    assert_day("UTC", 1795219200, "2026-11-21");
    assert_day("Europe/Berlin", 1795215599, "2026-11-20"); /* winter: an hour ahead */
    assert_day("Europe/Berlin", 1795215600, "2026-11-21");
    assert_day("Europe/Berlin", 1784671200, "2026-07-22"); /* summer: two */
    assert_day("America/New_York", 1795219200, "2026-11-20");
    assert_day("Pacific/Kiritimati", 1795212000, "2026-11-21"); /* fourteen ahead */
    assert_day("UTC", 0, "1970-01-01");
    assert_day("UTC", EVENT_TIME_MAX_MS / 1000, "9999-12-31");
}

TEST(an_unknown_zone_is_an_error)
{
    static const char *const names[] = {
        "",
        "Mars/Olympus",
        "Europe",
        "../../../etc/passwd",
        "/etc/localtime",
        "europe/berlin",
        "CET-1CEST,M3.5.0,M10.5.0/3",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fault_t fault = {""};
        assert_int_equal(history_check_timezone(names[i], &fault), -1);
        assert_non_null(strstr(fault.text, "history / timezone"));
    }
}

TEST(a_ban_for_ever_ends_with_the_calendar)
{
    ban_t ban = support_ban("45.154.244.193");
    ban.time_ms = 1795288025123;
    ban.duration_s = 3600;
    assert_int_equal(history_expires_s(&ban), 1795291625);
    ban.duration_s = -1;
    assert_int_equal(history_expires_s(&ban), 253402300799);
    ban.duration_s = EVENT_TIME_MAX_MS / 1000;
    assert_int_equal(history_expires_s(&ban), 253402300799);
}

TEST(a_cursors_key_names_origin_epoch_and_channel)
{
    char key[CURSORS_KEY_BYTES];
    feed_id_t id = {.epoch = UINT64_MAX, .channel = UINT32_MAX};
    memset(id.origin.bytes, 0xaf, PUBKEY_BYTES);
    cursors_key(&id, key);
    assert_string_equal(key, "banmesh:cursor:"
                             "afafafafafafafafafafafafafafafafafafafafafafafafafafafafafafafaf:"
                             "18446744073709551615:4294967295");
}

static void assert_cursor(const char *text, uint64_t seq, uint64_t missed)
{
    cursor_reach_t found = cursors_parse(text, "abc");
    assert_int_equal(found.seq, seq);
    assert_int_equal(found.missed, missed);
}

TEST(a_cursor_counts_in_its_own_dataset_only)
{
    assert_cursor("1234 abc", 1234, 0);
    assert_cursor("1234 abd", 0, 0);
    assert_cursor("1234 abcd", 0, 0);
    assert_cursor("1234 ab", 0, 0);
    assert_cursor("1234", 0, 0);
    assert_cursor("-1 abc", 0, 0);
    assert_cursor(" 1 abc", 0, 0);
    assert_cursor("", 0, 0);
    assert_cursor("99999999999999999999 abc", 0, 0);
    assert_cursor("1099511627776 abc", 0, 0); /* FEED_SEQ_MAX + 1 */
}

TEST(a_cursor_says_how_many_batches_are_missing_before_it)
{
    assert_cursor("1234 abc 7", 1234, 7);
    assert_cursor("7 abc 7", 7, 7);
    assert_cursor("7 abc 8", 0, 0); /* more than there were */
    assert_cursor("1234 abc ", 0, 0);
    assert_cursor("1234 abc x", 0, 0);
    assert_cursor("1234 abc 7 8", 0, 0);
    assert_cursor("1234 abc -7", 0, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(an_ordinary_jail_has_the_bare_key),
        plain(a_jail_that_would_be_another_familys_key_stands_apart),
        plain(the_longest_names_fit),
        plain(a_day_is_that_of_the_zone),
        plain(an_unknown_zone_is_an_error),
        plain(a_ban_for_ever_ends_with_the_calendar),
        plain(a_cursors_key_names_origin_epoch_and_channel),
        plain(a_cursor_counts_in_its_own_dataset_only),
        plain(a_cursor_says_how_many_batches_are_missing_before_it),
    };
    return cmocka_run_group_tests_name("consumer_keys", tests, NULL, NULL);
}
