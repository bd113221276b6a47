/* hostname: what is the name of a host, and what only looks like one. */
#include "hostname.h"
#include "support.h"

#include <string.h>

TEST(names_are_names)
{
    static const char *const names[] =
        {"home.example.org",      "home.example.org.", "localhost",     "a",
         "xn--bcher-kva.example", "A_b.c-d.E1",        "1.2.3.example", "x.y"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(hostname_valid(names[i]));
}

TEST(what_looks_like_an_address_or_worse_is_none)
{
    static const char *const others[] = {
        "",          ".",     "..",     "a..b",         ".a",  "-a.b",      "a.-b",   "1.2.3.4",
        "1.2.3.300", "1.2.3", "0x7f.1", "a.0x7f0001",   "::1", "fe80::1%a", "a.b/24", "a b",
        "a;b",       "a,b",   "a.b:80", "b\xc3\xbc.de", "a\n", "a.b..",     "127.1",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (hostname_valid(others[i]))
            fail_msg("\"%s\" is no name", others[i]);
}

TEST(labels_and_names_have_an_end)
{
    char text[HOSTNAME_MAX + 2];
    memset(text, 'a', sizeof text);
    text[63] = '\0';
    assert_true(hostname_valid(text));
    text[63] = 'a';
    text[64] = '\0';
    assert_false(hostname_valid(text));
    memset(text, 'a', sizeof text);
    text[60] = text[120] = '.';
    text[HOSTNAME_MAX] = '\0';
    assert_true(hostname_valid(text));
    text[HOSTNAME_MAX] = 'a';
    text[HOSTNAME_MAX + 1] = '\0';
    assert_false(hostname_valid(text));
}

TEST(one_name_has_one_form)
{
    char out[HOSTNAME_MAX + 1];
    hostname_fold("Home.EXAMPLE.org.", out);
    assert_string_equal(out, "home.example.org");
    hostname_fold("home.example.org", out);
    assert_string_equal(out, "home.example.org");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain(names_are_names),
        plain(what_looks_like_an_address_or_worse_is_none),
        plain(labels_and_names_have_an_end),
        plain(one_name_has_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
