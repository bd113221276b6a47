/* zpl: files that zconfig would misread are refused with file and line; the rest keep their lines.
 */
#include "support.h"
#include "zpl.h"

static char *load_fault(const char *text)
{
    static fault_t fault;
    support_write_text("a.conf", text);
    zpl_t *file = zpl_load("a.conf", NULL, &fault);
    if (file == NULL)
        return fault.text;
    zpl_destroy(&file);
    return "no fault";
}

static zpl_t *load(const char *text)
{
    fault_t fault;
    support_write_text("a.conf", text);
    zpl_t *file = zpl_load("a.conf", NULL, &fault);
    if (file == NULL)
        fail_msg("%s", fault.text);
    return file;
}

static void assert_at(zpl_t *file, const char *path, const char *value, int line)
{
    zconfig_t *node = zconfig_locate(zpl_root(file), path);
    assert_non_null(node);
    assert_string_equal(zconfig_value(node), value);
    assert_int_equal(zpl_line(file, node), line);
}

TEST(nodes_know_their_lines)
{
    zpl_t *file = load("# a comment\n"
                       "\n"
                       "node\n"
                       "    name = \"mx1\"\n"
                       "  # an oddly indented comment\n"
                       "    deep\n"
                       "\n"
                       "        deeper = 1   # behind a value\n"
                       "mesh\n"
                       "    name = mx2");
    assert_at(file, "node", "", 3);
    assert_at(file, "node/name", "mx1", 4);
    assert_at(file, "node/deep", "", 6);
    assert_at(file, "node/deep/deeper", "1", 8);
    assert_at(file, "mesh", "", 9);
    assert_at(file, "mesh/name", "mx2", 10);
    assert_int_equal(zpl_line(file, zpl_root(file)), 0);
    zpl_destroy(&file);
    assert_null(file);
}

TEST(lines_may_end_as_on_windows)
{
    zpl_t *file = load("node\r\n    name = \"mx1\"\r\n\r\n    state = /x\r\n");
    assert_at(file, "node/name", "mx1", 2);
    assert_at(file, "node/state", "/x", 4);
    zpl_destroy(&file);
}

TEST(quotes_keep_what_would_be_a_comment)
{
    zpl_t *file = load("a = \"x#y\"\nb = 'tcp://[::1]:7341'\nc = x # y\nd = \"\"\n");
    assert_at(file, "a", "x#y", 1);
    assert_at(file, "b", "tcp://[::1]:7341", 2);
    assert_at(file, "c", "x", 3);
    assert_at(file, "d", "", 4);
    zpl_destroy(&file);
}

TEST(an_empty_file_has_no_nodes)
{
    static const char *const texts[] = {"", "\n", "# only a comment", "   ", "\n\n#\n  #\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        zpl_t *file = load(texts[i]);
        assert_null(zconfig_child(zpl_root(file)));
        zpl_destroy(&file);
    }
}

TEST(an_unquoted_hash_inside_a_value_is_refused)
{
    assert_string_equal(load_fault("a = x#y\n"),
                        "a.conf:1: unquoted value with '#': put it in quotes");
}

TEST(tabs_and_odd_indents_are_refused)
{
    assert_string_equal(load_fault("a\n\tb = 1\n"), "a.conf:2: has a tab, expected spaces");
    assert_string_equal(load_fault("a\n   b = 1\n"),
                        "a.conf:2: indented by a number of spaces that is not a multiple of 4");
    assert_string_equal(load_fault("a\n        b = 1\n"),
                        "a.conf:2: indented deeper than the line above allows");
    assert_string_equal(load_fault("    a = 1\n"),
                        "a.conf:1: indented deeper than the line above allows");
}

TEST(control_characters_are_refused)
{
    assert_string_equal(load_fault("a = \"\x1b[2J\"\n"), "a.conf:1: has a control character");
    assert_string_equal(load_fault("a = \"\x7f\"\n"), "a.conf:1: has a control character");
    assert_string_equal(load_fault("# \x01\n"), "a.conf:1: has a control character");
    assert_string_equal(load_fault("a = 1\rb = 2\n"), "a.conf:1: has a control character");
}

TEST(an_open_quote_is_refused)
{
    assert_string_equal(load_fault("a = \"x\n"), "a.conf:1: quote is not closed on the same line");
    assert_string_equal(load_fault("a = 'x\"\n"), "a.conf:1: quote is not closed on the same line");
}

TEST(what_is_no_name_is_refused)
{
    static const char expected[] = "a.conf:1: expected `name = \"value\"` or a section's name";
    assert_string_equal(load_fault("= 1\n"), expected);
    assert_string_equal(load_fault("a b = 1\n"), expected);
    assert_string_equal(load_fault("a: 1\n"), expected);
    assert_string_equal(load_fault("a/b = 1\n"), expected);
    assert_string_equal(load_fault("{\"a\": 1}\n"), expected);
}

TEST(duplicates_are_refused_with_both_lines)
{
    assert_string_equal(load_fault("a\n    b = 1\n    c = 2\n    b = 3\n"),
                        "a.conf:4: \"b\" already stands on line 2");
    assert_string_equal(load_fault("a\n    b = 1\nc\n    b = 1\na\n"),
                        "a.conf:5: \"a\" already stands on line 1");
}

TEST(long_lines_are_refused_where_zconfig_would_cut_them)
{
    char text[1100];
    memset(text, 'x', sizeof text);
    memcpy(text, "a = ", 4);
    text[1000] = '\0';
    zpl_t *file = load(text);
    assert_int_equal(strlen(zconfig_value(zconfig_locate(zpl_root(file), "a"))), 996);
    zpl_destroy(&file);
    text[1000] = 'x';
    text[1001] = '\0';
    assert_string_equal(load_fault(text), "a.conf:1: line is longer than 1000 bytes");
}

/* zconfig would complain of it without the file's name, and print it: of a secret certificate, a
 * piece of the key. */
TEST(text_behind_a_closed_quote_is_refused_before_zconfig_prints_it)
{
    static const char *const texts[] = {"a = \"x\" y\n", "a = \"x\"y\n",    "a = 'x' = y\n",
                                        "a = \"x\"\"\n", "a = \"x\" y # z", "a = \"\"y\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strncmp(load_fault(texts[i]), "a.conf:1: ", 10) != 0)
            fail_msg("%s    is refused with \"%s\", without a line", texts[i],
                     load_fault(texts[i]));
}

TEST(a_comment_may_stand_behind_a_closed_quote)
{
    zpl_t *file = load("a = \"x\" # y\nb = 'x'# y\nc = \"x\"   \n");
    assert_at(file, "a", "x", 1);
    assert_at(file, "b", "x", 2);
    assert_at(file, "c", "x", 3);
    zpl_destroy(&file);
}

TEST(a_nul_byte_is_refused)
{
    static const char text[] = "a = 1\0b = 2\n";
    fault_t fault;
    support_write("a.conf", text, sizeof text - 1);
    assert_null(zpl_load("a.conf", NULL, &fault));
    assert_string_equal(fault.text, "a.conf: has a NUL byte, expected text");
}

TEST(what_is_no_file_is_refused_without_waiting)
{
    fault_t fault;
    assert_null(zpl_load("missing", NULL, &fault));
    assert_string_equal(fault.text, "missing: No such file or directory");
    support_make_directory("directory");
    assert_null(zpl_load("directory", NULL, &fault));
    assert_string_equal(fault.text, "directory: not a regular file");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_null(zpl_load("pipe", NULL, &fault));
    assert_string_equal(fault.text, "pipe: not a regular file");
}

TEST(a_huge_file_is_refused)
{
    fault_t fault;
    support_write_text("a.conf", "");
    assert_int_equal(truncate("a.conf", ZPL_FILE_MAX_BYTES + 1), 0);
    assert_null(zpl_load("a.conf", NULL, &fault));
    assert_non_null(strstr(fault.text, "expected at most 262144"));
}

TEST(a_fault_names_file_and_line)
{
    fault_t fault;
    zpl_t *file = load("a\n    b = 1\n");
    zconfig_t *node = zconfig_locate(zpl_root(file), "a/b");
    assert_int_equal(zpl_fault(file, node, &fault, "%d is wrong", 1), -1);
    assert_string_equal(fault.text, "a.conf:2: 1 is wrong");
    assert_int_equal(zpl_fault(file, NULL, &fault, "nothing here"), -1);
    assert_string_equal(fault.text, "a.conf: nothing here");
    zpl_destroy(&file);
}

TEST(the_mode_is_that_of_the_file_that_was_read)
{
    struct stat status;
    support_write_text("a.conf", "a = 1\n");
    assert_int_equal(chmod("a.conf", 0604), 0);
    zpl_t *file = zpl_load("a.conf", &status, NULL);
    assert_non_null(file);
    assert_int_equal(status.st_mode & 07777, 0604);
    zpl_destroy(&file);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(nodes_know_their_lines),
        in_directory(lines_may_end_as_on_windows),
        in_directory(quotes_keep_what_would_be_a_comment),
        in_directory(an_empty_file_has_no_nodes),
        in_directory(an_unquoted_hash_inside_a_value_is_refused),
        in_directory(tabs_and_odd_indents_are_refused),
        in_directory(control_characters_are_refused),
        in_directory(an_open_quote_is_refused),
        in_directory(what_is_no_name_is_refused),
        in_directory(duplicates_are_refused_with_both_lines),
        in_directory(long_lines_are_refused_where_zconfig_would_cut_them),
        in_directory(text_behind_a_closed_quote_is_refused_before_zconfig_prints_it),
        in_directory(a_comment_may_stand_behind_a_closed_quote),
        in_directory(a_nul_byte_is_refused),
        in_directory(what_is_no_file_is_refused_without_waiting),
        in_directory(a_huge_file_is_refused),
        in_directory(a_fault_names_file_and_line),
        in_directory(the_mode_is_that_of_the_file_that_was_read),
    };
    return cmocka_run_group_tests_name("zpl", tests, NULL, NULL);
}
