/* shared_log: whole lines or none, into the file that has the name now. */
#include "shared_log.h"
#include "support.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG      "shared.log"
#define STAMP_MS 1795288025007

/* Every line was read before: a rotation takes none along. */
static const wall_t all_read = {STAMP_MS};

static void add(shared_log_t *log, const char *ip, int64_t nid)
{
    addr_t address = support_addr(ip);
    shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, nid};
    shared_log_add(log, &line, (wall_t){STAMP_MS});
}

static void write_since(shared_log_t *log, wall_t since)
{
    fault_t fault;
    if (shared_log_write(log, since, &fault) == -1)
        fail_msg("%s", fault.text);
}

static void write_log(shared_log_t *log)
{
    write_since(log, all_read);
}

static void check_since(shared_log_t *log, wall_t since)
{
    fault_t fault;
    if (shared_log_check(log, since, &fault) == -1)
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

TEST(a_check_makes_the_file_that_fail2ban_needs)
{
    fault_t fault;
    struct stat status;
    mode_t mask = umask(0);
    shared_log_t *log = shared_log_new(LOG);
    assert_int_equal(shared_log_check(log, all_read, &fault), 0);
    umask(mask);
    assert_file(LOG, "");
    assert_int_equal(stat(LOG, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    shared_log_destroy(&log);
    support_write_text(LOG, "old\n");
    log = shared_log_new(LOG);
    assert_int_equal(shared_log_check(log, all_read, &fault), 0);
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
    assert_int_equal(shared_log_write(log, all_read, &fault), -1);
    assert_string_equal(fault.text, "log/" LOG ": No such file or directory");
    assert_int_equal(shared_log_check(log, all_read, &fault), -1);
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
    int rc = shared_log_write(log, all_read, &fault);
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
    assert_int_equal(shared_log_write(log, all_read, &fault), -1);
    shared_log_destroy(&log);
}

/* ---- rotation ---- */

/* Lines first..last, so many with a write, line i stamped i ms after STAMP_MS, nid i. */
static void write_groups(shared_log_t *log, int64_t first, int64_t last, int64_t group,
                         wall_t since)
{
    for (int64_t i = first; i <= last; i++) {
        addr_t address = support_addr("45.154.244.193");
        shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, i};
        shared_log_add(log, &line, (wall_t){STAMP_MS + i});
        if (i % group == 0 || i == last)
            write_since(log, since);
    }
}

static void write_lines(shared_log_t *log, int64_t first, int64_t last, wall_t since)
{
    write_groups(log, first, last, 1, since);
}

/* The file's nids in order, "3 4 5". */
static void assert_nids(const char *path, const char *expected)
{
    char said[4096] = "";
    char *text = support_read(path, NULL);
    const char *line = text;
    if (strstr(line, ": lines of before follow\n") == line + strlen("2026-11-21T19:07:05.007Z"))
        line = strchr(line, '\n') + 1;
    for (; *line != '\0'; line = strchr(line, '\n') + 1) {
        const char *nid = strstr(line, " nid ");
        assert_non_null(nid);
        snprintf(said + strlen(said), sizeof said - strlen(said), "%s%d", *said != '\0' ? " " : "",
                 atoi(nid + strlen(" nid ")));
    }
    free(text);
    assert_string_equal(said, expected);
}

static wall_t since(int64_t nid)
{
    return (wall_t){STAMP_MS + nid};
}

TEST(what_may_be_unread_goes_along_into_the_new_file)
{
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 5, since(0));
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    write_lines(log, 6, 6, since(3));
    assert_nids(LOG ".1", "1 2 3 4 5");
    assert_nids(LOG, "4 5 6");
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    support_write_text(LOG, ""); /* as logrotate's create */
    check_since(log, since(5));
    assert_nids(LOG, "6");
    assert_int_equal(unlink(LOG), 0);
    check_since(log, since(0));
    assert_nids(LOG, "6");
    write_lines(log, 7, 7, since(0));
    assert_nids(LOG, "6 7");
    assert_int_equal(shared_log_counts(log)->renamed, 3);
    assert_int_equal(shared_log_counts(log)->lines_again, 4);
    shared_log_destroy(&log);
}

/* fail2ban knows a file by its first line. */
TEST(a_file_never_begins_as_an_earlier_one_did)
{
    fault_t fault;
    char *before;
    char *after;
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 3, since(0));
    for (int i = 0; i < 4; i++) {
        before = support_read(LOG, NULL);
        if (i % 2 == 0)
            assert_int_equal(truncate(LOG, 0), 0);
        else
            assert_int_equal(rename(LOG, LOG ".1"), 0);
        for (int64_t now = wall_now().ms; wall_now().ms < now + 2;)
            continue; /* a head has the time */
        check_since(log, since(0));
        after = support_read(LOG, NULL);
        assert_nids(LOG, "1 2 3");
        assert_int_not_equal(strncmp(before, after, strcspn(before, "\n")), 0);
        free(before);
        free(after);
    }
    assert_int_equal(shared_log_again(log, since(0), &fault), 0);
    assert_nids(LOG, "1 2 3 1 2 3"); /* a head is at the start only */
    shared_log_destroy(&log);
}

/* Lines of the run before, too: fail2ban may have been gone for longer than we run. */
TEST(unread_lines_of_an_earlier_run_go_along)
{
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 3, since(0));
    shared_log_destroy(&log);
    log = shared_log_new(LOG);
    check_since(log, since(1));
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    check_since(log, since(1));
    assert_nids(LOG, "2 3");
    shared_log_destroy(&log);
}

TEST(until_the_new_file_can_be_opened_the_old_one_is_kept)
{
    fault_t fault;
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 3, since(0));
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    support_make_directory(LOG);
    add(log, "45.154.244.193", 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(shared_log_check(log, since(1), &fault), -1);
        assert_string_equal(fault.text, LOG ": Is a directory");
        assert_int_equal(shared_log_write(log, since(1), &fault), -1);
    }
    assert_int_equal(rmdir(LOG), 0);
    write_since(log, since(1));
    assert_nids(LOG ".1", "1 2 3");
    assert_nids(LOG, "2 3 4");
    shared_log_destroy(&log);
}

TEST(a_file_that_comes_back_is_no_rotation)
{
    fault_t fault;
    shared_log_t *log = shared_log_new("log/" LOG);
    support_make_directory("log");
    write_lines(log, 1, 2, since(0));
    assert_int_equal(rename("log", "away"), 0);
    assert_int_equal(shared_log_check(log, since(0), &fault), -1);
    assert_int_equal(rename("away", "log"), 0);
    write_lines(log, 3, 3, since(0));
    assert_nids("log/" LOG, "1 2 3");
    assert_int_equal(shared_log_counts(log)->renamed, 0);
    shared_log_destroy(&log);
}

TEST(what_copytruncate_may_have_cut_off_is_written_again)
{
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 4, since(0));
    assert_int_equal(truncate(LOG, 0), 0);
    check_since(log, since(2));
    assert_nids(LOG, "3 4");
    write_lines(log, 5, 5, since(2));
    assert_int_equal(truncate(LOG, 0), 0);
    write_lines(log, 6, 6, since(3));
    assert_nids(LOG, "4 5 6");
    assert_int_equal(shared_log_counts(log)->truncated, 2);
    check_since(log, since(0));
    assert_nids(LOG, "4 5 6");
    shared_log_destroy(&log);
}

TEST(what_the_run_before_wrote_last_is_written_again_too)
{
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 4, since(0));
    shared_log_destroy(&log);
    log = shared_log_new(LOG);
    check_since(log, since(2));
    assert_int_equal(truncate(LOG, 0), 0);
    write_lines(log, 5, 5, since(2));
    assert_nids(LOG, "3 4 5");
    shared_log_destroy(&log);
}

/* Another one's truncation to something: not only to nothing. */
TEST(a_file_cut_in_the_middle_of_a_line_goes_on_with_whole_ones)
{
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 2, since(0));
    assert_int_equal(truncate(LOG, 30), 0);
    check_since(log, since(0));
    char *text = support_read(LOG, NULL);
    char *second = strchr(text, '\n') + 1;
    assert_int_equal(second - text, 31);
    support_write_text("rest", second);
    assert_nids("rest", "1 2");
    free(text);
    shared_log_destroy(&log);
}

TEST(memory_for_copytruncate_is_bounded)
{
    enum { MANY = 30000 };
    shared_log_t *log = shared_log_new(LOG);
    write_groups(log, 1, MANY, 100, since(0));
    assert_int_equal(truncate(LOG, 0), 0);
    check_since(log, since(0));
    uint64_t again = shared_log_counts(log)->lines_again;
    assert_in_range(again, 5000, 10000); /* of 104 bytes each, in 1 MiB */
    char *text = support_read(LOG, NULL);
    char first[64];
    snprintf(first, sizeof first, " nid %d\n", (int)(MANY - again + 1));
    assert_non_null(strstr(text, first));
    free(text);
    shared_log_destroy(&log);
}

TEST(lines_are_written_again_on_request)
{
    fault_t fault;
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 6, since(0));
    assert_int_equal(shared_log_again(log, since(4), &fault), 0);
    assert_nids(LOG, "1 2 3 4 5 6 5 6");
    assert_int_equal(shared_log_again(log, since(6), &fault), 0);
    assert_nids(LOG, "1 2 3 4 5 6 5 6");
    write_lines(log, 7, 7, since(0));
    assert_int_equal(shared_log_again(log, since(3), &fault), 0);
    assert_nids(LOG, "1 2 3 4 5 6 5 6 7 4 5 6 7");
    assert_int_equal(shared_log_again(log, since(5), &fault), 0);
    assert_nids(LOG, "1 2 3 4 5 6 5 6 7 4 5 6 7 6 7");
    shared_log_destroy(&log);
}

/* A line cut short by a crash at the end of the old file is not carried, nor joined to another. */
TEST(only_whole_lines_go_along)
{
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 2, since(0));
    FILE *file = fopen(LOG, "a");
    fputs("2026-11-21T19:07:05.009Z: 45.15", file);
    fclose(file);
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    write_lines(log, 3, 3, since(0));
    assert_nids(LOG, "1 2 3");
    shared_log_destroy(&log);
}

TEST(a_full_disk_leaves_the_move_for_later)
{
    fault_t fault;
    shared_log_t *log = shared_log_new(LOG);
    write_lines(log, 1, 20, since(0));
    assert_int_equal(rename(LOG, LOG ".1"), 0);
    support_limit_files(500);
    assert_int_equal(shared_log_check(log, since(0), &fault), -1);
    support_limit_files(-1);
    assert_string_equal(fault.text, LOG ": No space left on device");
    check_since(log, since(17));
    assert_nids(LOG, "18 19 20");
    shared_log_destroy(&log);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_line_has_the_documented_form),
        in_directory(a_line_matches_what_filters_look_for),
        in_directory(the_longest_line_is_whole),
        in_directory(nothing_to_write_makes_no_file),
        in_directory(a_check_makes_the_file_that_fail2ban_needs),
        in_directory(lines_go_behind_what_is_there),
        in_directory(after_a_rotation_lines_go_to_the_new_file),
        in_directory(after_copytruncate_lines_begin_at_the_start),
        in_directory(a_missing_directory_keeps_the_lines_for_later),
        in_directory(a_full_disk_leaves_no_partial_line),
        in_directory(a_line_cut_short_by_a_crash_does_not_join_the_next),
        in_directory(a_pipe_in_its_place_does_not_block),
        in_directory(what_may_be_unread_goes_along_into_the_new_file),
        in_directory(a_file_never_begins_as_an_earlier_one_did),
        in_directory(unread_lines_of_an_earlier_run_go_along),
        in_directory(until_the_new_file_can_be_opened_the_old_one_is_kept),
        in_directory(a_file_that_comes_back_is_no_rotation),
        in_directory(what_copytruncate_may_have_cut_off_is_written_again),
        in_directory(what_the_run_before_wrote_last_is_written_again_too),
        in_directory(a_file_cut_in_the_middle_of_a_line_goes_on_with_whole_ones),
        in_directory(memory_for_copytruncate_is_bounded),
        in_directory(lines_are_written_again_on_request),
        in_directory(only_whole_lines_go_along),
        in_directory(a_full_disk_leaves_the_move_for_later),
    };
    return cmocka_run_group_tests_name("shared_log", tests, NULL, NULL);
}
