/* shared_line: what is written is what is read back, and nothing else is. */
#include "event.h"
#include "shared_line.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STAMP_MS 1795288025007

static size_t format(int64_t nid, int64_t stamp_ms, char out[static SHARED_LINE_MAX])
{
    addr_t address = support_addr("45.154.244.193");
    shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, nid};
    return shared_line_format(&line, (wall_t){stamp_ms}, out);
}

TEST(what_was_written_is_read_back)
{
    static const int64_t nids[] = {0, 1, 46, 4611686018427387904, INT64_MAX};
    static const int64_t stamps[] = {0, 1, 951782400000, STAMP_MS, EVENT_TIME_MAX_MS};
    char text[SHARED_LINE_MAX];
    for (size_t i = 0; i < sizeof nids / sizeof nids[0]; i++)
        for (size_t j = 0; j < sizeof stamps / sizeof stamps[0]; j++) {
            wall_t stamp;
            int64_t nid;
            size_t size = format(nids[i], stamps[j], text);
            assert_int_equal(text[size - 1], '\n');
            assert_true(shared_line_parse(text, size - 1, &stamp, &nid));
            assert_int_equal(stamp.ms, stamps[j]);
            assert_int_equal(nid, nids[i]);
        }
}

TEST(a_head_is_no_line_and_no_line_is_a_head)
{
    char text[SHARED_LINE_MAX];
    wall_t stamp;
    int64_t nid;
    size_t size = shared_line_format_head((wall_t){STAMP_MS}, text);
    assert_int_equal(text[size - 1], '\n');
    assert_false(shared_line_parse(text, size - 1, &stamp, &nid));
    assert_true(shared_line_parse_head(text, size - 1, &stamp));
    assert_int_equal(stamp.ms, STAMP_MS);
    assert_false(shared_line_parse_head(text, size - 2, &stamp));
    size = format(46, STAMP_MS, text);
    assert_false(shared_line_parse_head(text, size - 1, &stamp));
}

/* Each day of 400 years and more, against the C library. */
TEST(dates_are_those_of_the_calendar)
{
    char text[SHARED_LINE_MAX];
    char expected[32];
    for (int64_t day = 0; day < 366 * INT64_C(440); day++) {
        int64_t ms = day * 86400000 + day * 7919 % 86400000;
        time_t seconds = (time_t)(ms / MS_PER_S);
        struct tm utc;
        gmtime_r(&seconds, &utc);
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.", &utc);
        format(46, ms, text);
        assert_memory_equal(text, expected, strlen(expected));
        assert_int_equal(strtol(text + strlen(expected), NULL, 10), ms % MS_PER_S);
    }
}

TEST(addresses_and_networks_are_printed_as_anywhere)
{
    static const char *const ips[] = {"1.2.3.4",   "255.255.255.255",
                                      "0.0.0.0",   "45.154.244.0/24",
                                      "0.0.0.0/0", "2a00:1450:4001::200e",
                                      "::",        "2a00::/64"};
    for (size_t i = 0; i < sizeof ips / sizeof ips[0]; i++) {
        char text[SHARED_LINE_MAX];
        char expected[SHARED_LINE_MAX];
        addr_t address = support_addr(ips[i]);
        shared_line_t line = {&address, "mx1", "sshd", -1, 1795291625123, 46};
        size_t size = shared_line_format(&line, (wall_t){STAMP_MS}, text);
        text[size] = '\0';
        snprintf(expected, sizeof expected,
                 "2026-11-21T19:07:05.007Z: %s: reported by mx1 in sshd for -1 s until 1795291625 "
                 "nid 46\n",
                 ips[i]);
        assert_string_equal(text, expected);
    }
}

static void assert_not_ours(const char *text, size_t size)
{
    wall_t stamp;
    int64_t nid;
    if (shared_line_parse(text, size, &stamp, &nid))
        fail_msg("taken for a line: %.*s", (int)size, text);
}

TEST(a_line_cut_short_at_its_front_or_after_nid_is_none)
{
    char text[SHARED_LINE_MAX];
    size_t size = format(46, STAMP_MS, text) - 1;
    for (size_t from = 1; from < size; from++)
        assert_not_ours(text + from, size - from);
    for (size_t length = 0; length < size - 1; length++)
        assert_not_ours(text, length);
}

TEST(other_text_is_none)
{
    static const char *const texts[] = {
        "",
        " nid 46",
        "2026-11-21T19:07:05.007Z nid 46x",
        "2026-11-21T19:07:05.007Z: a nid -46",
        "2026-11-21T19:07:05.007Z: a nid 9223372036854775808",
        "2026-11-21T19:07:05.007Z: a nid  46",
        "2026-11-21 19:07:05.007Z: a nid 46",
        "2026-11-21T19:07:05,007Z: a nid 46",
        "1926-11-21T19:07:05.007Z: a nid 46",
        "2026-00-21T19:07:05.007Z: a nid 46",
        "2026-11-21T1a:07:05.007Z: a nid 46",
        "2026-11-21T19:07:05.007Z: a mid 46",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_not_ours(texts[i], strlen(texts[i]));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(what_was_written_is_read_back),
        plain(a_head_is_no_line_and_no_line_is_a_head),
        plain(dates_are_those_of_the_calendar),
        plain(addresses_and_networks_are_printed_as_anywhere),
        plain(a_line_cut_short_at_its_front_or_after_nid_is_none),
        plain(other_text_is_none),
    };
    return cmocka_run_group_tests_name("shared_line", tests, NULL, NULL);
}
