/* shared_tail: what stands at the end of a log, in files of every size around its blocks. */
#include "shared_tail.h"
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG      "shared.log"
#define STAMP_MS 1795288025000
#define LINES    2000 /* more than two blocks */

typedef struct {
    int64_t first;
    int64_t last;
    size_t count;
} seen_t;

static void see(void *arg, wall_t stamp, int64_t nid)
{
    seen_t *seen = arg;
    if (seen->count++ == 0)
        seen->first = nid;
    else
        assert_int_equal(nid, seen->last + 1);
    assert_int_equal(stamp.ms, STAMP_MS + nid);
    seen->last = nid;
}

/* Lines first..last, line i stamped i ms after STAMP_MS, nid i. */
static void append(FILE *file, int64_t first, int64_t last)
{
    char text[SHARED_LINE_MAX];
    for (int64_t i = first; i <= last; i++) {
        addr_t address = support_addr("45.154.244.193");
        shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, i};
        size_t size = shared_line_format(&line, (wall_t){STAMP_MS + i}, text);
        assert_int_equal(fwrite(text, 1, size, file), size);
    }
}

static int make(int64_t lines, const char *front, const char *back)
{
    FILE *file = fopen(LOG, "w");
    fputs(front, file);
    append(file, 1, lines);
    fputs(back, file);
    fclose(file);
    return open(LOG, O_RDONLY);
}

static void assert_lines(int fd, off_t from, int64_t first, int64_t last)
{
    seen_t seen = {0};
    assert_int_equal(shared_tail_each(fd, from, see, &seen), 0);
    assert_int_equal(seen.count, last - first + 1);
    if (seen.count > 0)
        assert_int_equal(seen.first, first);
}

TEST(each_line_is_told_once_and_in_order)
{
    int fd = make(LINES, "", "");
    assert_lines(fd, 0, 1, LINES);
    assert_lines(fd, 1, 2, LINES); /* from the middle of the first */
    struct stat file;
    fstat(fd, &file);
    assert_lines(fd, file.st_size, 1, 0);
    close(fd);
}

TEST(an_empty_file_has_none)
{
    int fd = make(0, "", "");
    assert_lines(fd, 0, 1, 0);
    assert_int_equal(shared_tail_since(fd, (wall_t){0}), 0);
    close(fd);
}

TEST(lines_are_found_by_when_they_were_stamped)
{
    int fd = make(LINES, "", "");
    struct stat file;
    fstat(fd, &file);
    for (int64_t since = 0; since < LINES; since += since % 97 == 0 ? 1 : 13) {
        off_t from = shared_tail_since(fd, (wall_t){STAMP_MS + since});
        assert_lines(fd, from, since + 1, LINES);
        if (from > 0) {
            char before;
            assert_int_equal(pread(fd, &before, 1, from - 1), 1);
            assert_int_equal(before, '\n');
        }
    }
    assert_int_equal(shared_tail_since(fd, (wall_t){STAMP_MS + LINES}), file.st_size);
    assert_int_equal(shared_tail_since(fd, (wall_t){0}), 0);
    close(fd);
}

TEST(what_is_not_ours_is_passed_over)
{
    enum { JUNK = 200000 };
    char *junk = malloc(JUNK + 2);
    memset(junk, 'x', JUNK);
    memcpy(junk + JUNK, "\n", 2);
    for (size_t size = 0; size <= JUNK; size += size < 70000 ? 23333 : 65000) {
        int fd = make(300, junk + JUNK - size, "2026-11-21T19:07:05.007Z: 45.15");
        assert_lines(fd, 0, 1, 300);
        off_t from = shared_tail_since(fd, (wall_t){STAMP_MS + 100});
        assert_lines(fd, from, 101, 300);
        from = shared_tail_since(fd, (wall_t){0});
        assert_lines(fd, from, 1, 300);
        close(fd);
    }
    free(junk);
}

TEST(a_line_in_between_that_is_not_ours_ends_no_search)
{
    FILE *file = fopen(LOG, "w");
    append(file, 1, 5);
    fputs("\n# a note\n", file);
    append(file, 6, 9);
    fclose(file);
    int fd = open(LOG, O_RDONLY);
    assert_lines(fd, shared_tail_since(fd, (wall_t){STAMP_MS + 3}), 4, 9);
    close(fd);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(each_line_is_told_once_and_in_order),
        in_directory(an_empty_file_has_none),
        in_directory(lines_are_found_by_when_they_were_stamped),
        in_directory(what_is_not_ours_is_passed_over),
        in_directory(a_line_in_between_that_is_not_ours_ends_no_search),
    };
    return cmocka_run_group_tests_name("shared_tail", tests, NULL, NULL);
}
