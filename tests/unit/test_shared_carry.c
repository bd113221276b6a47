/* shared_carry: each ban's line once, and in order. */
#include "shared_carry.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG      "shared.log"
#define STAMP_MS 1795288025000

static void add(FILE *file, int64_t nid)
{
    char text[SHARED_LINE_MAX];
    addr_t address = support_addr("45.154.244.193");
    shared_line_t line = {&address, "mx1", "sshd", 3600, 1795291625123, nid};
    size_t size = shared_line_format(&line, (wall_t){STAMP_MS + nid}, text);
    assert_int_equal(fwrite(text, 1, size, file), size);
}

typedef struct {
    int64_t next;
    int64_t step;
    size_t lines;
    size_t refuse_after;
} given_t;

static int give(void *arg, const shared_piece_t *piece)
{
    given_t *given = arg;
    if (given->lines >= given->refuse_after) {
        errno = ENOSPC;
        return -1;
    }
    size_t lines = 0;
    const char *line = piece->text;
    while (line < piece->text + piece->size) {
        wall_t stamp;
        int64_t nid;
        const char *end = memchr(line, '\n', piece->size - (size_t)(line - piece->text));
        assert_non_null(end);
        assert_true(shared_line_parse(line, (size_t)(end - line), &stamp, &nid));
        assert_int_equal(nid, given->next);
        assert_int_equal(stamp.ms, STAMP_MS + nid);
        given->next += given->step;
        line = end + 1;
        lines++;
    }
    assert_int_equal(lines, piece->lines);
    assert_int_equal(piece->stamp.ms, STAMP_MS + given->next - given->step);
    given->lines += lines;
    return 0;
}

static given_t carry(off_t from, off_t until, int64_t first, int64_t step)
{
    given_t given = {.next = first, .step = step, .refuse_after = SIZE_MAX};
    int fd = open(LOG, O_RDONLY);
    assert_int_equal(shared_carry(fd, from, until, give, &given), 0);
    close(fd);
    return given;
}

TEST(lines_that_stand_often_come_once)
{
    enum { MANY = 3000, TIMES = 5 };
    FILE *file = fopen(LOG, "w");
    for (int i = 0; i < TIMES; i++)
        for (int64_t nid = 0; nid < MANY; nid++)
            add(file, nid * 7919); /* collisions among them */
    off_t size = ftell(file);
    fclose(file);
    assert_int_equal(carry(0, size, 0, 7919).lines, MANY);
    assert_int_equal(carry(size, size, 0, 1).lines, 0);
}

TEST(what_is_not_ours_and_what_is_not_whole_does_not_come)
{
    FILE *file = fopen(LOG, "w");
    fputs("rest of a line nid 5\n", file);
    add(file, 1);
    fputs("\n# a note\n", file);
    for (int i = 0; i < 70000; i++)
        fputc('x', file);
    fputc('\n', file);
    add(file, 2);
    add(file, 3);
    off_t three = ftell(file);
    fputs("2026-11-21T19:07:05.009Z: 45.15", file);
    off_t size = ftell(file);
    fclose(file);
    assert_int_equal(carry(0, size, 1, 1).lines, 3);
    assert_int_equal(carry(0, three - 1, 1, 1).lines, 2);
}

TEST(whoever_takes_them_may_refuse)
{
    FILE *file = fopen(LOG, "w");
    for (int64_t nid = 0; nid < 3000; nid++)
        add(file, nid);
    off_t size = ftell(file);
    fclose(file);
    given_t given = {.step = 1, .refuse_after = 1};
    int fd = open(LOG, O_RDONLY);
    assert_int_equal(shared_carry(fd, 0, size, give, &given), -1);
    assert_int_equal(errno, ENOSPC);
    close(fd);
    assert_int_equal(shared_carry(-1, 0, size, give, &given), -1);
    assert_int_equal(errno, EBADF);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(lines_that_stand_often_come_once),
        in_directory(what_is_not_ours_and_what_is_not_whole_does_not_come),
        in_directory(whoever_takes_them_may_refuse),
    };
    return cmocka_run_group_tests_name("shared_carry", tests, NULL, NULL);
}
