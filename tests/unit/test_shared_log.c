/* shared_log: whole lines or none, into the file that has the name now. */
#include "shared_log.h"
#include "support.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG "shared.log"

static void add(shared_log_t *log, const char *ip, int64_t nid)
{
    addr_t address = support_addr(ip);
    shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, nid};
    shared_log_add(log, &line, (wall_t){1795288025007});
}

static void write_log(shared_log_t *log)
{
    fault_t fault;
    if (shared_log_write(log, &fault) == -1)
        fail_msg("%s", fault.text);
}

static void assert_file(const char *path, const char *expected)
{
    char *text = support_read(path, NULL);
    assert_string_equal(text, expected);
    free(text);
}

#define LINE(ip, nid)                                                                              \
    "2026-11-21T19:07:05.007Z: " ip                                                                \
    ": reported by mx1 in sshd for 3600 s until 1795291625 nid " nid "\n"

TEST(a_line_has_the_documented_form)
{
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 4611686018427387904);
    add(log, "2a00:1450:4001::/64", 0);
    write_log(log);
    assert_file(LOG,
                LINE("45.154.244.193", "4611686018427387904") LINE("2a00:1450:4001::/64", "0"));
    shared_log_destroy(&log);
    assert_null(log);
}

TEST(a_line_matches_what_filters_look_for)
{
    regex_t pattern;
    addr_t address = support_addr("45.154.244.193");
    char name[EVENT_NAME_MAX + 1];
    memset(name, 'n', EVENT_NAME_MAX);
    name[EVENT_NAME_MAX] = '\0';
    shared_line_t line = {&address,          name,     name, EVENT_TIME_MAX_MS / 1000,
                          EVENT_TIME_MAX_MS, INT64_MAX};
    shared_log_t *log = shared_log_new(LOG);
    shared_log_add(log, &line, (wall_t){EVENT_TIME_MAX_MS});
    write_log(log);
    char *text = support_read(LOG, NULL);
    assert_int_equal(regcomp(&pattern,
                             "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z: "
                             "[0-9a-f.:/]+: reported by [A-Za-z0-9_.-]{1,64} in "
                             "[A-Za-z0-9_.-]{1,64} for -?[0-9]+ s until [0-9]+ nid [0-9]+\n$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regexec(&pattern, text, 0, NULL, 0), 0);
    regfree(&pattern);
    free(text);
    shared_log_destroy(&log);
}

TEST(the_longest_line_is_whole)
{
    addr_t address = support_addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0/112");
    char name[EVENT_NAME_MAX + 1];
    memset(name, 'n', EVENT_NAME_MAX);
    name[EVENT_NAME_MAX] = '\0';
    shared_line_t line = {&address, name, name, INT64_MIN, INT64_MIN, INT64_MIN};
    shared_log_t *log = shared_log_new(LOG);
    for (int i = 0; i < 100; i++)
        shared_log_add(log, &line, (wall_t){EVENT_TIME_MAX_MS});
    write_log(log);
    char *text = support_read(LOG, NULL);
    size_t lines = 0;
    for (char *p = text; *p != '\0'; p = strchr(p, '\n') + 1, lines++)
        assert_non_null(strstr(p, "nid -9223372036854775808\n"));
    assert_int_equal(lines, 100);
    free(text);
    shared_log_destroy(&log);
}

TEST(nothing_to_write_makes_no_file)
{
    shared_log_t *log = shared_log_new(LOG);
    write_log(log);
    assert_false(support_exists(LOG));
    add(log, "45.154.244.193", 1);
    shared_log_clear(log);
    write_log(log);
    assert_false(support_exists(LOG));
    shared_log_destroy(&log);
}

TEST(touching_makes_the_file_that_fail2ban_needs)
{
    fault_t fault;
    struct stat status;
    mode_t mask = umask(0);
    shared_log_t *log = shared_log_new(LOG);
    assert_int_equal(shared_log_touch(log, &fault), 0);
    umask(mask);
    assert_file(LOG, "");
    assert_int_equal(stat(LOG, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    shared_log_destroy(&log);
    support_write_text(LOG, "old\n");
    log = shared_log_new(LOG);
    assert_int_equal(shared_log_touch(log, &fault), 0);
    assert_file(LOG, "old\n");
    shared_log_destroy(&log);
}

TEST(lines_go_behind_what_is_there)
{
    support_write_text(LOG, "old\n");
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 1);
    write_log(log);
    assert_file(LOG, "old\n" LINE("45.154.244.193", "1"));
    shared_log_destroy(&log);
}

TEST(after_a_rotation_lines_go_to_the_new_file)
{
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 1);
    write_log(log);
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    add(log, "45.154.244.194", 2);
    write_log(log);
    assert_file(LOG ".1", LINE("45.154.244.193", "1"));
    assert_file(LOG, LINE("45.154.244.194", "2"));
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    support_write_text(LOG, "");
    add(log, "45.154.244.195", 3);
    write_log(log);
    assert_file(LOG, LINE("45.154.244.195", "3"));
    shared_log_destroy(&log);
}

TEST(after_copytruncate_lines_begin_at_the_start)
{
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 1);
    write_log(log);
    assert_int_equal(truncate(LOG, 0), 0);
    add(log, "45.154.244.194", 2);
    write_log(log);
    assert_file(LOG, LINE("45.154.244.194", "2"));
    shared_log_destroy(&log);
}

TEST(a_missing_directory_keeps_the_lines_for_later)
{
    fault_t fault;
    shared_log_t *log = shared_log_new("log/" LOG);
    add(log, "45.154.244.193", 1);
    assert_int_equal(shared_log_write(log, &fault), -1);
    assert_string_equal(fault.text, "log/" LOG ": No such file or directory");
    assert_int_equal(shared_log_touch(log, &fault), -1);
    support_make_directory("log");
    add(log, "45.154.244.194", 2);
    write_log(log);
    assert_file("log/" LOG, LINE("45.154.244.193", "1") LINE("45.154.244.194", "2"));
    shared_log_destroy(&log);
}

TEST(a_full_disk_leaves_no_partial_line)
{
    fault_t fault;
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 1);
    write_log(log);
    size_t line = strlen(LINE("45.154.244.193", "1"));
    add(log, "45.154.244.194", 2);
    add(log, "45.154.244.195", 3);
    support_limit_files((int64_t)(line + line + line / 2));
    int rc = shared_log_write(log, &fault);
    support_limit_files(-1);
    assert_int_equal(rc, -1);
    assert_string_equal(fault.text, LOG ": No space left on device");
    assert_file(LOG, LINE("45.154.244.193", "1"));
    write_log(log);
    assert_file(LOG, LINE("45.154.244.193", "1") LINE("45.154.244.194", "2")
                         LINE("45.154.244.195", "3"));
    shared_log_destroy(&log);
}

/* A power loss may leave half a line: the next one must not become its end. */
TEST(a_line_cut_short_by_a_crash_does_not_join_the_next)
{
    support_write_text(LOG, "2026-11-21T19:07:05.007Z: 45.15");
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 1);
    write_log(log);
    assert_file(LOG, "2026-11-21T19:07:05.007Z: 45.15\n" LINE("45.154.244.193", "1"));
    shared_log_destroy(&log);
}

TEST(a_pipe_in_its_place_does_not_block)
{
    fault_t fault;
    assert_int_equal(mkfifo(LOG, 0600), 0);
    shared_log_t *log = shared_log_new(LOG);
    add(log, "45.154.244.193", 1);
    assert_int_equal(shared_log_write(log, &fault), -1);
    shared_log_destroy(&log);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_line_has_the_documented_form),
        in_directory(a_line_matches_what_filters_look_for),
        in_directory(the_longest_line_is_whole),
        in_directory(nothing_to_write_makes_no_file),
        in_directory(touching_makes_the_file_that_fail2ban_needs),
        in_directory(lines_go_behind_what_is_there),
        in_directory(after_a_rotation_lines_go_to_the_new_file),
        in_directory(after_copytruncate_lines_begin_at_the_start),
        in_directory(a_missing_directory_keeps_the_lines_for_later),
        in_directory(a_full_disk_leaves_no_partial_line),
        in_directory(a_line_cut_short_by_a_crash_does_not_join_the_next),
        in_directory(a_pipe_in_its_place_does_not_block),
    };
    return cmocka_run_group_tests_name("shared_log", tests, NULL, NULL);
}
