/* shared_line: what is written is what is read back, and nothing else is. */
#include "event.h"
#include "shared_line.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

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
        plain(a_line_cut_short_at_its_front_or_after_nid_is_none),
        plain(other_text_is_none),
    };
    return cmocka_run_group_tests_name("shared_line", tests, NULL, NULL);
}
