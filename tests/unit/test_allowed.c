/* allowed: what is written is found, as long as it runs; what is no line is passed over. */
#include "allowed.h"
#include "support.h"

#include <string.h>

#define NOW_S 1795288025

static bool has(const char *text, const char *address)
{
    addr_t wanted = support_addr(address);
    return allowed_has(text, strlen(text), &wanted, NOW_S);
}

TEST(what_is_written_is_found_until_it_ends)
{
    static const char *const networks[] = {"45.154.1.1", "45.155.0.0/16", "2a02:4780:11::/48",
                                           "2a02:4780:12:ffff:ffff:ffff:ffff:ffff"};
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        char line[ALLOWED_LINE_MAX];
        addr_t network = support_addr(networks[i]);
        size_t length = allowed_write_line(line, &network, NOW_S + 1);
        assert_int_equal(strlen(line), length);
        assert_int_equal(line[length - 1], '\n');
        assert_true(allowed_has(line, length, &network, NOW_S));
        assert_true(allowed_has(line, length - 1, &network, NOW_S));
        assert_false(allowed_has(line, length, &network, NOW_S + 1));
    }
}

TEST(a_network_covers_what_lies_in_it_and_no_more)
{
    static const char text[] = "45.154.0.0/16 1795288026\n2a02:4780:11::/48 1795288026\n";
    assert_true(has(text, "45.154.9.9"));
    assert_true(has(text, "45.154.9.0/24"));
    assert_true(has(text, "2a02:4780:11:5::/64"));
    assert_false(has(text, "45.152.0.0/14"));
    assert_false(has(text, "45.155.9.9"));
    assert_false(has(text, "2a02:4780:12::1"));
}

TEST(what_is_no_line_is_passed_over)
{
    char text[4096] =
        ALLOWED_HEAD "\n \n45.154.1.1\n45.154.1.1 \n45.154.1.1 soon\n"
                     "45.154.1.1 1795288026x\n45.154.1.1 1795288026 1\n45.154.1.1/33 1795288026\n"
                     "home.example.org 1795288026\n 45.154.1.1 1795288026\n";
    assert_false(has(text, "45.154.1.1"));
    memset(text + strlen(text), 'x', 2000);
    strcat(text, "\n45.154.1.1 1795288026");
    assert_true(has(text, "45.154.1.1"));
    assert_false(has("", "45.154.1.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain(what_is_written_is_found_until_it_ends),
        plain(a_network_covers_what_lies_in_it_and_no_more),
        plain(what_is_no_line_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
