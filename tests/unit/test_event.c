/* event: what a well-formed ban, pardon or allowance is. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static char *repeat(char c, size_t count, char *out)
{
    memset(out, c, count);
    out[count] = '\0';
    return out;
}

TEST(names_are_1_to_64_plain_characters)
{
    char text[EVENT_NAME_MAX + 2];
    assert_true(event_name_valid("sshd", 4));
    assert_true(event_name_valid("A-z_0.9", 7));
    assert_true(event_name_valid(repeat('j', EVENT_NAME_MAX, text), EVENT_NAME_MAX));
    assert_false(event_name_valid(repeat('j', EVENT_NAME_MAX + 1, text), EVENT_NAME_MAX + 1));
    assert_false(event_name_valid("", 0));
    assert_false(event_name_valid("a b", 3));
    assert_false(event_name_valid("a/b", 3));
    assert_false(event_name_valid("a\nb", 3));
    assert_false(event_name_valid("a\0b", 3));
    assert_false(event_name_valid("sshd:", 5));
    assert_false(event_name_valid("b\xc3\xa4r", 4));
}

TEST(no_byte_but_the_allowed_ones_is_in_a_name)
{
    for (int c = 0; c < 256; c++) {
        char text = (char)c;
        bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-';
        assert_int_equal(event_name_valid(&text, 1), allowed);
    }
}

TEST(ports_are_as_jails_write_them)
{
    char text[EVENT_PORT_MAX + 2];
    assert_true(event_port_valid(""));
    assert_true(event_port_valid("ssh"));
    assert_true(event_port_valid("80,443,8000:8999"));
    assert_true(event_port_valid("http_alt"));
    assert_true(event_port_valid(repeat('1', EVENT_PORT_MAX, text)));
    assert_false(event_port_valid(repeat('1', EVENT_PORT_MAX + 1, text)));
    assert_false(event_port_valid("80 443"));
    assert_false(event_port_valid("80;reboot"));
    assert_false(event_port_valid("80.5"));
}

TEST(protocols_are_short_words)
{
    char text[EVENT_PROTOCOL_MAX + 2];
    assert_true(event_protocol_valid(""));
    assert_true(event_protocol_valid("tcp"));
    assert_true(event_protocol_valid("tcp,udp"));
    assert_true(event_protocol_valid(repeat('p', EVENT_PROTOCOL_MAX, text)));
    assert_false(event_protocol_valid(repeat('p', EVENT_PROTOCOL_MAX + 1, text)));
    assert_false(event_protocol_valid("tcp udp"));
    assert_false(event_protocol_valid("tcp\n"));
}

TEST(an_ordinary_ban_is_valid)
{
    ban_t ban = support_ban("45.154.244.193");
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    ban = support_ban("2a00:1450:4001::/64");
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
}

TEST(an_address_must_be_canonical)
{
    ban_t ban = support_ban("45.154.244.193");
    ban.address.bytes[15] = 1;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_ADDRESS);
    ban = support_ban("45.154.244.0/24");
    ban.address.bytes[3] = 1;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_ADDRESS);
    ban = support_ban("45.154.244.193");
    ban.address.prefix = 33;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_ADDRESS);
    ban.address.prefix = 32;
    ban.address.family = 5;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_ADDRESS);
    ban.address.family = 0;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_ADDRESS);
}

TEST(a_mapped_address_that_was_not_folded_is_refused)
{
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1};
    ban_t ban = support_ban("2001:db8::1");
    memcpy(ban.address.bytes, mapped, sizeof mapped);
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_ADDRESS);
}

TEST(a_name_without_its_nul_is_refused)
{
    ban_t ban = support_ban("45.154.244.193");
    memset(ban.jail, 'j', sizeof ban.jail);
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_JAIL);
    ban = support_ban("45.154.244.193");
    memset(ban.port, '1', sizeof ban.port);
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_PORT);
    ban = support_ban("45.154.244.193");
    memset(ban.protocol, 'p', sizeof ban.protocol);
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_PROTOCOL);
}

TEST(an_empty_jail_is_refused)
{
    ban_t ban = support_ban("45.154.244.193");
    ban.jail[0] = '\0';
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_JAIL);
}

TEST(times_lie_between_1970_and_9999)
{
    ban_t ban = support_ban("45.154.244.193");
    ban.time_ms = 0;
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    ban.time_ms = EVENT_TIME_MAX_MS;
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    ban.time_ms = EVENT_TIME_MAX_MS + 1;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_TIME);
    ban.time_ms = -1;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_TIME);
}

TEST(durations_are_seconds_or_for_ever)
{
    ban_t ban = support_ban("45.154.244.193");
    ban.duration_s = -1;
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    ban.duration_s = 0;
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    ban.duration_s = -2;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_DURATION);
    ban.duration_s = INT64_MAX;
    assert_int_equal(event_check_ban(&ban), EVENT_BAD_DURATION);
}

TEST(the_longest_valid_ban_has_an_end)
{
    ban_t ban = support_ban("45.154.244.193");
    assert_int_equal(ban_end_ms(&ban), ban.time_ms + 600000);
    ban.time_ms = EVENT_TIME_MAX_MS;
    ban.duration_s = EVENT_TIME_MAX_MS / 1000;
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    assert_true(ban_end_ms(&ban) > EVENT_TIME_MAX_MS);
    ban.duration_s = -1;
    assert_int_equal(ban_end_ms(&ban), EVENT_FOREVER);
}

TEST(a_reason_is_at_most_200_bytes_without_control_characters)
{
    event_t event = support_grace_event(EVENT_PARDON, "45.154.244.193", "our own monitoring");
    assert_int_equal(event_check(&event), EVENT_OK);
    repeat('x', EVENT_TEXT_MAX, event.grace.text);
    assert_int_equal(event_check(&event), EVENT_OK);
    memset(event.grace.text, 'x', sizeof event.grace.text);
    assert_int_equal(event_check(&event), EVENT_BAD_TEXT);
    snprintf(event.grace.text, sizeof event.grace.text, "two\nlines");
    assert_int_equal(event_check(&event), EVENT_BAD_TEXT);
    snprintf(event.grace.text, sizeof event.grace.text, "\x1b[2J");
    assert_int_equal(event_check(&event), EVENT_BAD_TEXT);
    snprintf(event.grace.text, sizeof event.grace.text, "del\x7f");
    assert_int_equal(event_check(&event), EVENT_BAD_TEXT);
}

TEST(pardons_and_allowances_are_checked_alike)
{
    event_t event = support_grace_event(EVENT_ALLOW, "45.154.0.0/16", "partner");
    assert_int_equal(event_check(&event), EVENT_OK);
    event.grace.until_ms = -1;
    assert_int_equal(event_check(&event), EVENT_BAD_TIME);
    event = support_grace_event(EVENT_PARDON, "45.154.0.0/16", "");
    event.grace.network.bytes[2] = 1;
    assert_int_equal(event_check(&event), EVENT_BAD_ADDRESS);
}

/* One mistake must not open the whole mesh to half the Internet. */
TEST(networks_wider_than_16_bits_and_of_ipv6_than_32_are_refused)
{
    static const event_kind_t kinds[] = {EVENT_PARDON, EVENT_ALLOW};
    static const char *const wide[] = {"0.0.0.0/0", "45.154.0.0/15", "::/0", "2a00:1450::/31"};
    static const char *const narrow[] = {"45.154.0.0/16", "2a00:1450::/32", "1.2.3.4", "2a00::1"};
    for (size_t i = 0; i < 8; i++) {
        event_t event = support_grace_event(kinds[i % 2], wide[i / 2], "");
        assert_int_equal(event_check(&event), EVENT_TOO_WIDE);
        event = support_grace_event(kinds[i % 2], narrow[i / 2], "");
        assert_int_equal(event_check(&event), EVENT_OK);
    }
    ban_t ban = support_ban("0.0.0.0/0"); /* of bans the guard says what is too wide */
    assert_int_equal(event_check_ban(&ban), EVENT_OK);
    event_t event = support_grace_event(EVENT_PARDON, "0.0.0.0/0", "of that ban alone");
    event.grace.bans[0] = (event_position_t){.epoch = 1, .seq = 1};
    event.grace.ban_count = 1;
    assert_int_equal(event_check(&event), EVENT_OK);
}

static event_t pardon_of(event_position_t position)
{
    event_t event = support_grace_event(EVENT_PARDON, "45.154.244.193", "unban");
    event.grace.bans[0] = position;
    event.grace.ban_count = 1;
    return event;
}

TEST(a_pardon_names_bans_by_places_that_there_may_be)
{
    const event_position_t good = {.epoch = 1795288000000, .seq = 7, .channel = 3, .index = 5};
    event_position_t bad = good;
    event_t event = pardon_of(good);
    assert_int_equal(event_check(&event), EVENT_OK);
    bad.epoch = 0;
    event = pardon_of(bad);
    assert_int_equal(event_check(&event), EVENT_BAD_POSITION);
    bad.epoch = EVENT_TIME_MAX_MS + 1;
    event = pardon_of(bad);
    assert_int_equal(event_check(&event), EVENT_BAD_POSITION);
    bad = good;
    bad.seq = 0;
    event = pardon_of(bad);
    assert_int_equal(event_check(&event), EVENT_BAD_POSITION);
    bad.seq = EVENT_SEQ_MAX + 1;
    event = pardon_of(bad);
    assert_int_equal(event_check(&event), EVENT_BAD_POSITION);
    bad = good;
    bad.index = EVENT_INDEX_MAX + 1;
    event = pardon_of(bad);
    assert_int_equal(event_check(&event), EVENT_BAD_POSITION);
}

TEST(a_pardon_names_at_most_eight_bans_and_an_allowance_none)
{
    const event_position_t good = {.epoch = 1795288000000, .seq = 7};
    event_t event = pardon_of(good);
    for (size_t i = 0; i < EVENT_PARDON_BANS_MAX; i++)
        event.grace.bans[i] = good;
    event.grace.ban_count = EVENT_PARDON_BANS_MAX;
    assert_int_equal(event_check(&event), EVENT_OK);
    event.grace.ban_count++;
    assert_int_equal(event_check(&event), EVENT_TOO_MANY_BANS);
    event.kind = EVENT_ALLOW;
    event.grace.ban_count = 1;
    assert_int_equal(event_check(&event), EVENT_TOO_MANY_BANS);
}

TEST(a_grace_lasts_ten_years_at_most)
{
    event_t event = support_grace_event(EVENT_PARDON, "45.154.244.193", "");
    assert_int_equal(grace_until_ms(&event.grace), event.grace.until_ms);
    event.grace.until_ms = EVENT_TIME_MAX_MS;
    assert_int_equal(event_check(&event), EVENT_OK);
    assert_int_equal(grace_until_ms(&event.grace), event.grace.time_ms + EVENT_GRACE_MAX_MS);
    event.grace.until_ms = 0;
    assert_int_equal(grace_until_ms(&event.grace), 0);
}

TEST(an_event_of_a_newer_version_is_valid)
{
    event_t event = {.kind = EVENT_UNKNOWN};
    assert_int_equal(event_check(&event), EVENT_OK);
}

TEST(every_error_has_a_word_and_a_sentence)
{
    for (int error = EVENT_OK; error < EVENT_ERROR_COUNT; error++) {
        assert_true(strlen(event_error_name((event_error_t)error)) > 0);
        assert_true(strlen(event_error_text((event_error_t)error)) > 0);
    }
}

TEST(for_ever_is_longer_than_any_time_and_not_than_itself)
{
    assert_true(ban_is_longer(2, 1));
    assert_false(ban_is_longer(1, 1));
    assert_false(ban_is_longer(1, 2));
    assert_true(ban_is_longer(-1, EVENT_TIME_MAX_MS / 1000));
    assert_false(ban_is_longer(EVENT_TIME_MAX_MS / 1000, -1));
    assert_false(ban_is_longer(-1, -1));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(names_are_1_to_64_plain_characters),
        plain(no_byte_but_the_allowed_ones_is_in_a_name),
        plain(ports_are_as_jails_write_them),
        plain(protocols_are_short_words),
        plain(an_ordinary_ban_is_valid),
        plain(an_address_must_be_canonical),
        plain(a_mapped_address_that_was_not_folded_is_refused),
        plain(a_name_without_its_nul_is_refused),
        plain(an_empty_jail_is_refused),
        plain(times_lie_between_1970_and_9999),
        plain(durations_are_seconds_or_for_ever),
        plain(the_longest_valid_ban_has_an_end),
        plain(for_ever_is_longer_than_any_time_and_not_than_itself),
        plain(a_reason_is_at_most_200_bytes_without_control_characters),
        plain(pardons_and_allowances_are_checked_alike),
        plain(networks_wider_than_16_bits_and_of_ipv6_than_32_are_refused),
        plain(a_pardon_names_bans_by_places_that_there_may_be),
        plain(a_pardon_names_at_most_eight_bans_and_an_allowance_none),
        plain(a_grace_lasts_ten_years_at_most),
        plain(an_event_of_a_newer_version_is_valid),
        plain(every_error_has_a_word_and_a_sentence),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
