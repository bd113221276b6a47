/* spool: bans on disk until the node takes them; nothing is lost, nothing is taken for another. */
#include "request.h"
#include "spool.h"
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define WRITERS         8
#define BANS_PER_WRITER 60
#define TOTAL           (WRITERS * BANS_PER_WRITER)

/* What a taker was given: how often each ban, by its number of failures. */
typedef struct {
    unsigned seen[2048];
    size_t groups;
    size_t refuse_after; /* groups; 0: never */
} taken_t;

static int note(void *arg, const request_t *requests, size_t count)
{
    taken_t *taken = arg;
    if (taken->refuse_after > 0 && taken->groups == taken->refuse_after)
        return -1;
    taken->groups++;
    assert_in_range(count, 1, SPOOL_GROUP_MAX);
    for (size_t i = 0; i < count; i++)
        taken->seen[requests[i].ban.failures]++;
    return 0;
}

/* The line of a ban with that number of failures; until the next call. */
static const char *numbered(uint32_t number)
{
    static char line[REQUEST_LINE_MAX];
    ban_t ban = support_ban("45.154.244.193");
    ban.failures = number;
    request_format(&ban, line);
    return line;
}

static void append(uint32_t number)
{
    fault_t fault;
    if (spool_append(".", numbered(number), &fault) == -1)
        fail_msg("%s", fault.text);
}

static void append_fails(const char *expected)
{
    fault_t fault;
    assert_int_equal(spool_append(".", numbered(0), &fault), -1);
    if (strstr(fault.text, expected) == NULL)
        fail_msg("expected \"...%s...\", but it is \"%s\"", expected, fault.text);
}

/* Take all. Returns what spool_take did last; steps: how many calls it took. */
static int take_all(taken_t *taken, spool_result_t *result, size_t *steps, fault_t *fault)
{
    spool_taker_t *taker = spool_taker_new(".", note, taken);
    int rc;
    *steps = 1;
    while ((rc = spool_take(taker, result, fault)) == 1)
        ++*steps;
    spool_taker_destroy(&taker);
    return rc;
}

static spool_result_t take(taken_t *taken)
{
    spool_result_t result = {0};
    fault_t fault;
    size_t steps;
    if (take_all(taken, &result, &steps, &fault) == -1)
        fail_msg("%s", fault.text);
    return result;
}

static void take_fails(taken_t *taken, const char *expected)
{
    spool_result_t result = {0};
    fault_t fault;
    size_t steps;
    assert_int_equal(take_all(taken, &result, &steps, &fault), -1);
    if (strstr(fault.text, expected) == NULL)
        fail_msg("expected \"...%s...\", but it is \"%s\"", expected, fault.text);
}

TEST(an_empty_directory_has_nothing_to_take)
{
    taken_t taken = {0};
    spool_result_t result = take(&taken);
    assert_int_equal(result.taken, 0);
    assert_int_equal(taken.groups, 0);
    assert_false(support_exists("spool"));
}

TEST(what_was_added_is_taken_once_and_the_file_goes)
{
    taken_t taken = {0};
    for (uint32_t i = 0; i < 3; i++)
        append(i);
    assert_int_equal(take(&taken).taken, 3);
    assert_int_equal(take(&taken).taken, 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(taken.seen[i], 1);
    assert_false(support_exists("spool"));
    assert_false(support_exists("spool.taking"));
    assert_false(support_exists("spool.rejected"));
}

/* A spool of records; number: of the first one. */
static void write_records(uint32_t number, uint32_t count)
{
    FILE *file = fopen("spool", "a");
    assert_non_null(file);
    for (uint32_t i = 0; i < count; i++) {
        char record[REQUEST_RECORD_MAX];
        fwrite(record, 1, request_record_format(numbered(number + i), record), file);
    }
    fclose(file);
}

/* The node used to do nothing else until the last record. */
TEST(a_long_spool_is_taken_in_steps)
{
    taken_t taken = {0};
    spool_result_t result = {0};
    fault_t fault;
    write_records(0, 1025);
    spool_taker_t *taker = spool_taker_new(".", note, &taken);
    for (uint64_t groups = 1; groups <= 2; groups++) {
        assert_int_equal(spool_take(taker, &result, &fault), 1);
        assert_int_equal(result.taken, groups * SPOOL_GROUP_MAX);
    }
    write_records(1025, 1); /* a hook in between */
    while (spool_take(taker, &result, &fault) == 1)
        continue;
    assert_int_equal(result.taken, 1026);
    for (uint32_t i = 0; i < 1026; i++)
        assert_int_equal(taken.seen[i], 1);
    spool_taker_destroy(&taker);
}

TEST(bad_lines_without_number_are_passed_in_steps_too)
{
    taken_t taken = {0};
    spool_result_t result = {0};
    fault_t fault;
    size_t steps;
    FILE *file = fopen("spool", "w");
    assert_non_null(file);
    for (int i = 0; i < 10000; i++)
        fputs("damaged\n", file);
    fclose(file);
    write_records(0, 1);
    assert_int_equal(take_all(&taken, &result, &steps, &fault), 0);
    assert_int_equal(result.rejected, 10000);
    assert_int_equal(result.taken, 1);
    assert_in_range(steps, 10, 20);
}

TEST(a_store_that_says_no_is_asked_again_from_there)
{
    taken_t taken = {.refuse_after = 1};
    spool_result_t result = {0};
    fault_t fault;
    write_records(0, 1025);
    spool_taker_t *taker = spool_taker_new(".", note, &taken);
    assert_int_equal(spool_take(taker, &result, &fault), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(spool_take(taker, &result, &fault), -1);
    assert_int_equal(result.taken, SPOOL_GROUP_MAX);
    taken.refuse_after = 0;
    while (spool_take(taker, &result, &fault) == 1)
        continue;
    for (uint32_t i = 0; i < 1025; i++)
        assert_int_equal(taken.seen[i], 1);
    spool_taker_destroy(&taker);
}

TEST(a_spool_that_was_taken_away_in_between_is_let_go)
{
    taken_t taken = {0};
    spool_result_t result = {0};
    fault_t fault;
    write_records(0, 1025);
    spool_taker_t *taker = spool_taker_new(".", note, &taken);
    assert_int_equal(spool_take(taker, &result, &fault), 1);
    assert_int_equal(rename("spool.taking", "kept"), 0);
    append(1500);
    while (spool_take(taker, &result, &fault) == 1)
        continue;
    assert_int_equal(taken.seen[1500], 1);
    assert_true(support_exists("kept"));
    spool_taker_destroy(&taker);
}

TEST(long_spools_come_in_groups_of_512)
{
    taken_t taken = {0};
    write_records(0, 1025);
    assert_int_equal(take(&taken).taken, 1025);
    assert_int_equal(taken.groups, 3);
    for (uint32_t i = 0; i < 1025; i++)
        assert_int_equal(taken.seen[i], 1);
}

/* Each of many processes adds its bans while another takes them. */
static int add_many(void *arg)
{
    uint32_t first = *(uint32_t *)arg;
    for (uint32_t i = 0; i < BANS_PER_WRITER; i++) {
        if (spool_append(".", numbered(first + i), NULL) == -1)
            return 1;
    }
    return 0;
}

TEST(bans_added_by_many_processes_while_being_taken_arrive_once_each)
{
    pid_t writers[WRITERS];
    taken_t taken = {0};
    uint64_t total = 0;
    for (uint32_t i = 0; i < WRITERS; i++) {
        uint32_t first = i * BANS_PER_WRITER;
        writers[i] = support_fork(add_many, &first);
    }
    for (int rounds = 0; rounds < 1000 && total < TOTAL / 2; rounds++)
        total += take(&taken).taken;
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(support_wait(writers[i]), 0);
    spool_result_t last = take(&taken);
    assert_int_equal(total + last.taken, TOTAL);
    assert_int_equal(last.rejected, 0);
    for (uint32_t i = 0; i < TOTAL; i++)
        assert_int_equal(taken.seen[i], 1);
}

TEST(a_torn_tail_costs_only_the_torn_record)
{
    taken_t taken = {0};
    append(0);
    append(1);
    size_t size;
    char *bytes = support_read("spool", &size);
    support_write("spool", bytes, size - 20);
    free(bytes);
    append(2);
    spool_result_t result = take(&taken);
    assert_int_equal(result.taken, 2);
    assert_int_equal(result.rejected, 1);
    assert_int_equal(taken.seen[0], 1);
    assert_int_equal(taken.seen[1], 0);
    assert_int_equal(taken.seen[2], 1);
}

TEST(a_damaged_record_is_kept_for_the_operator)
{
    taken_t taken = {0};
    append(0);
    append(1);
    char *text = support_read("spool", NULL);
    memcpy(strstr(text, "failures=0"), "failures=7", 10);
    support_write_text("spool", text);
    spool_result_t result = take(&taken);
    assert_int_equal(result.taken, 1);
    assert_int_equal(result.rejected, 1);
    assert_int_equal(taken.seen[7], 0);
    char *rejected = support_read("spool.rejected", NULL);
    *(strchr(text, '\n') + 1) = '\0';
    assert_string_equal(rejected, text);
    free(rejected);
    free(text);
}

TEST(rejected_records_gather_in_one_file)
{
    taken_t taken = {0};
    support_write_text("spool", "one\n");
    assert_int_equal(take(&taken).rejected, 1);
    support_write_text("spool", "two\n\n\nthree");
    assert_int_equal(take(&taken).rejected, 2);
    char *rejected = support_read("spool.rejected", NULL);
    assert_string_equal(rejected, "one\ntwo\nthree\n");
    free(rejected);
}

TEST(binary_rubbish_is_rejected_not_obeyed)
{
    static const char rubbish[] = "\0\0\0\0ban jail=j\xff\n\0\n";
    taken_t taken = {0};
    support_write("spool", rubbish, sizeof rubbish - 1);
    append(1);
    spool_result_t result = take(&taken);
    assert_int_equal(result.taken, 1);
    assert_int_equal(result.rejected, 2);
}

TEST(what_the_node_cannot_store_stays)
{
    taken_t taken = {.refuse_after = 1};
    taken_t later = {0};
    append(0);
    take(&later);
    append(1);
    taken.groups = 1;
    take_fails(&taken, "cannot be stored now");
    assert_true(support_exists("spool.taking"));
    append(2);
    assert_int_equal(take(&later).taken, 2);
    assert_int_equal(later.seen[1], 1);
    assert_int_equal(later.seen[2], 1);
}

TEST(a_file_left_by_a_crash_is_taken_first)
{
    taken_t taken = {0};
    append(0);
    assert_int_equal(rename("spool", "spool.taking"), 0);
    append(1);
    assert_int_equal(take(&taken).taken, 2);
    assert_int_equal(taken.seen[0], 1);
    assert_int_equal(taken.seen[1], 1);
}

TEST(a_missing_directory_is_an_error_and_is_not_made)
{
    fault_t fault;
    assert_int_equal(spool_append("missing", numbered(0), &fault), -1);
    assert_string_equal(fault.text, "missing: No such file or directory");
    assert_false(support_exists("missing"));
}

/* What the node found in the place of one of its files is out of the way. */
static void assert_moved_away(const char *name)
{
    taken_t taken = {0};
    char there[NAME_MAX + 1] = "";
    assert_int_equal(take(&taken).moved, 1);
    DIR *directory = opendir(".");
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
        if (strncmp(entry->d_name, "spool.strange-", 14) == 0)
            snprintf(there, sizeof there, "%s", entry->d_name);
    closedir(directory);
    assert_string_not_equal(there, "");
    assert_false(support_exists(name));
}

/* The hook refuses it; once the node has looked, bans come through again. */
static void assert_strange_spool(const char *words)
{
    taken_t taken = {0};
    append_fails(words);
    assert_moved_away("spool");
    append(1);
    assert_int_equal(take(&taken).taken, 1);
}

static void assert_empty_victim(void)
{
    char *victim = support_read("victim", NULL);
    assert_string_equal(victim, "");
    free(victim);
}

TEST(a_symlink_in_its_place_is_refused_and_moved_away)
{
    support_write_text("victim", "");
    assert_int_equal(symlink("victim", "spool"), 0);
    assert_strange_spool("symbolic links");
    assert_empty_victim();
}

TEST(a_dangling_symlink_in_its_place_makes_no_file)
{
    assert_int_equal(symlink("victim", "spool"), 0);
    assert_strange_spool("symbolic links");
    assert_false(support_exists("victim"));
}

TEST(a_second_name_of_the_file_is_refused_and_moved_away)
{
    support_write_text("victim", "");
    assert_int_equal(link("victim", "spool"), 0);
    assert_strange_spool("expected a regular file with one name");
    assert_empty_victim();
}

TEST(a_pipe_in_its_place_is_refused_without_waiting)
{
    assert_int_equal(mkfifo("spool", 0600), 0);
    assert_strange_spool("expected a regular file with one name");
}

TEST(a_device_in_its_place_is_refused_and_moved_away)
{
    if (mknod("spool", S_IFCHR | 0600, makedev(1, 3)) == -1)
        skip(); /* needs root */
    assert_strange_spool("");
}

TEST(a_directory_in_its_place_is_refused_and_moved_away)
{
    support_make_directory("spool");
    support_write_text("spool/victim", "");
    assert_strange_spool("spool: Is a directory");
}

/* It used to stop the spool for ever. */
TEST(what_stands_in_the_place_of_the_file_being_taken_is_moved_away)
{
    taken_t taken = {0};
    assert_int_equal(mkfifo("spool.taking", 0600), 0);
    assert_moved_away("spool.taking");
    support_make_directory("spool.taking");
    append(1);
    assert_int_equal(take(&taken).taken, 1);
    support_write_text("victim", "");
    assert_int_equal(symlink("victim", "spool.taking"), 0);
    append(2);
    assert_int_equal(take(&taken).taken, 1);
    assert_int_equal(link("victim", "spool.taking"), 0);
    append(3);
    assert_int_equal(take(&taken).taken, 1);
    assert_empty_victim();
}

TEST(what_stands_in_the_place_of_the_rejected_is_moved_away)
{
    taken_t taken = {0};
    support_write_text("spool", "damaged\n");
    assert_int_equal(mkfifo("spool.rejected", 0600), 0);
    spool_result_t result = take(&taken);
    assert_int_equal(result.moved, 1);
    assert_int_equal(result.rejected, 1);
    unlink("spool.rejected");
    support_write_text("spool", "damaged\n");
    support_write_text("victim", "");
    assert_int_equal(link("victim", "spool.rejected"), 0);
    assert_int_equal(take(&taken).moved, 1);
    assert_empty_victim();
    char *rejected = support_read("spool.rejected", NULL);
    assert_string_equal(rejected, "damaged\n");
    free(rejected);
}

/* A line without end used to be read into memory whole. */
TEST(a_line_longer_than_any_record_costs_no_memory_and_only_itself)
{
    enum { LONG_BYTES = 5000 };
    static char text[LONG_BYTES + 2];
    taken_t taken = {0};
    memset(text, 'x', LONG_BYTES);
    text[LONG_BYTES] = '\n';
    append(1);
    FILE *file = fopen("spool", "a");
    assert_non_null(file);
    fwrite(text, 1, LONG_BYTES + 1, file);
    fclose(file);
    append(2);
    spool_result_t result = take(&taken);
    assert_int_equal(result.taken, 2);
    assert_int_equal(result.rejected, 1);
    char *rejected = support_read("spool.rejected", NULL);
    assert_string_equal(rejected, text);
    free(rejected);
}

static int take_with_little_memory(void *arg)
{
    static const struct rlimit little = {64 * 1024 * 1024, 64 * 1024 * 1024};
    spool_result_t result = {0};
    taken_t taken = {0};
    fault_t fault;
    size_t steps;
    (void)arg;
    if (setrlimit(RLIMIT_AS, &little) == -1 || take_all(&taken, &result, &steps, &fault) == -1)
        return 1;
    return result.rejected == 1 && result.taken == 1 && taken.seen[1] == 1 ? 0 : 2;
}

TEST(a_huge_line_of_zeros_is_passed_over)
{
    if (SANITIZED)
        skip(); /* the sanitizer's own memory is beyond any limit */
    struct stat status;
    int fd = open("spool", O_WRONLY | O_CREAT, 0660);
    assert_true(fd != -1);
    assert_int_equal(ftruncate(fd, 256 * 1024 * 1024), 0);
    close(fd);
    append(1);
    assert_int_equal(support_exit_status(take_with_little_memory, NULL), 0);
    assert_int_equal(stat("spool.rejected", &status), 0);
    assert_in_range(status.st_size, 1, 1024 * 1024);
}

/* A store that says no used to have the bad lines added at each attempt. */
TEST(what_is_rejected_is_kept_once_however_often_it_is_tried)
{
    taken_t refusing = {.groups = 1, .refuse_after = 1};
    taken_t taken = {0};
    support_write_text("spool", "damaged\n");
    append(1);
    for (int i = 0; i < 5; i++)
        take_fails(&refusing, "cannot be stored now");
    assert_false(support_exists("spool.rejected"));
    assert_int_equal(take(&taken).rejected, 1);
    char *rejected = support_read("spool.rejected", NULL);
    assert_string_equal(rejected, "damaged\n");
    free(rejected);
}

TEST(rejected_records_that_find_no_room_stay_and_stand_there_once_afterwards)
{
    taken_t taken = {0};
    support_write_text("spool", "one\ntwo\nthree\n");
    support_limit_files(6);
    take_fails(&taken, "spool.rejected");
    support_limit_files(-1);
    assert_int_equal(take(&taken).rejected, 3);
    char *rejected = support_read("spool.rejected", NULL);
    assert_string_equal(rejected, "one\ntwo\nthree\n");
    free(rejected);
}

TEST(a_full_disk_keeps_what_was_there_and_no_piece_more)
{
    taken_t taken = {0};
    fault_t fault;
    size_t before;
    size_t after;
    append(0);
    free(support_read("spool", &before));
    support_limit_files((int64_t)before + 30);
    int rc = spool_append(".", numbered(1), &fault);
    support_limit_files(-1);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(fault.text, "No space left on device"));
    free(support_read("spool", &after));
    assert_int_equal(after, before);
    append(2);
    spool_result_t result = take(&taken);
    assert_int_equal(result.taken, 2);
    assert_int_equal(result.rejected, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(an_empty_directory_has_nothing_to_take),
        in_directory(what_was_added_is_taken_once_and_the_file_goes),
        in_directory(a_long_spool_is_taken_in_steps),
        in_directory(bad_lines_without_number_are_passed_in_steps_too),
        in_directory(a_store_that_says_no_is_asked_again_from_there),
        in_directory(a_spool_that_was_taken_away_in_between_is_let_go),
        in_directory(long_spools_come_in_groups_of_512),
        in_directory(bans_added_by_many_processes_while_being_taken_arrive_once_each),
        in_directory(a_torn_tail_costs_only_the_torn_record),
        in_directory(a_damaged_record_is_kept_for_the_operator),
        in_directory(rejected_records_gather_in_one_file),
        in_directory(binary_rubbish_is_rejected_not_obeyed),
        in_directory(what_the_node_cannot_store_stays),
        in_directory(a_file_left_by_a_crash_is_taken_first),
        in_directory(a_missing_directory_is_an_error_and_is_not_made),
        in_directory(a_symlink_in_its_place_is_refused_and_moved_away),
        in_directory(a_dangling_symlink_in_its_place_makes_no_file),
        in_directory(a_second_name_of_the_file_is_refused_and_moved_away),
        in_directory(a_pipe_in_its_place_is_refused_without_waiting),
        in_directory(a_device_in_its_place_is_refused_and_moved_away),
        in_directory(a_directory_in_its_place_is_refused_and_moved_away),
        in_directory(what_stands_in_the_place_of_the_file_being_taken_is_moved_away),
        in_directory(what_stands_in_the_place_of_the_rejected_is_moved_away),
        in_directory(a_line_longer_than_any_record_costs_no_memory_and_only_itself),
        in_directory(a_huge_line_of_zeros_is_passed_over),
        in_directory(what_is_rejected_is_kept_once_however_often_it_is_tried),
        in_directory(rejected_records_that_find_no_room_stay_and_stand_there_once_afterwards),
        in_directory(a_full_disk_keeps_what_was_there_and_no_piece_more),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
