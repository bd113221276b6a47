/* fail2ban: seen by its socket, and the file with its process id; here a file stands for each. */
#include "fail2ban.h"
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET    "fail2ban.sock"
#define PID_FILE  "fail2ban.pid"
#define MINUTE_MS 60000

/* A file of that modification time: a fail2ban that started then. */
static wall_t begin_file(const char *path, int64_t started_s)
{
    support_write_text("new", "");
    struct timespec times[2] = {{.tv_sec = started_s}, {.tv_sec = started_s}};
    assert_int_equal(utimensat(AT_FDCWD, "new", times, 0), 0);
    assert_int_equal(rename("new", path), 0);
    return (wall_t){started_s * MS_PER_S};
}

static wall_t begin(int64_t started_s)
{
    return begin_file(SOCKET, started_s);
}

static void end(void)
{
    assert_int_equal(unlink(SOCKET), 0);
}

static wall_t after(wall_t start, int64_t ms)
{
    return (wall_t){start.ms + ms};
}

TEST(one_that_was_never_seen_counts_neither_as_there_nor_as_gone)
{
    fail2ban_t *self = fail2ban_new(SOCKET);
    wall_t start = {1795288025000};
    assert_false(fail2ban_look(self, start));
    assert_string_equal(fail2ban_state(self), "not seen");
    assert_int_equal(fail2ban_unsure(self, start).ms, start.ms - MINUTE_MS);
    assert_false(fail2ban_look(self, begin(1795288000)));
    assert_string_equal(fail2ban_state(self), "runs");
    end();
    assert_false(fail2ban_look(self, start));
    assert_string_equal(fail2ban_state(self), "gone");
    fail2ban_destroy(&self);
    assert_null(self);
}

TEST(one_that_started_while_nobody_looked_is_a_new_start)
{
    fail2ban_t *self = fail2ban_new(SOCKET);
    wall_t first = begin(1000000);
    assert_false(fail2ban_look(self, first));
    fail2ban_id_t last = fail2ban_last(self);
    fail2ban_destroy(&self);

    self = fail2ban_new(SOCKET);
    fail2ban_recall(self, &last, after(first, 86400000));
    assert_false(fail2ban_look(self, after(first, 86500000)));
    fail2ban_destroy(&self);

    begin(1086402);
    self = fail2ban_new(SOCKET);
    fail2ban_recall(self, &last, after(first, 86400000));
    assert_true(fail2ban_look(self, after(first, 86500000)));
    assert_int_equal(fail2ban_unsure_before(self).ms, first.ms + 86400000 - MINUTE_MS);
    fail2ban_destroy(&self);
    end();
}

TEST(a_new_socket_is_a_new_start)
{
    fail2ban_t *self = fail2ban_new(SOCKET);
    wall_t first = begin(1000000);
    assert_false(fail2ban_look(self, after(first, 86400000)));
    assert_false(fail2ban_look(self, after(first, 86401000)));
    begin(1086402);
    assert_true(fail2ban_look(self, after(first, 86402000)));
    assert_int_equal(fail2ban_unsure_before(self).ms, first.ms + 86401000 - MINUTE_MS);
    assert_false(fail2ban_look(self, after(first, 86403000)));
    assert_int_equal(fail2ban_unsure(self, after(first, 86403000)).ms,
                     first.ms + 86403000 - MINUTE_MS);
    fail2ban_destroy(&self);
}

TEST(while_it_is_gone_all_since_then_is_unsure)
{
    fail2ban_t *self = fail2ban_new(SOCKET);
    wall_t first = begin(1000000);
    fail2ban_look(self, after(first, 86400000));
    end();
    for (int64_t hours = 0; hours < 100; hours++) {
        wall_t now = after(first, 86401000 + hours * 3600000);
        assert_false(fail2ban_look(self, now));
        assert_int_equal(fail2ban_unsure(self, now).ms, first.ms + 86400000 - MINUTE_MS);
    }
    begin(1500000);
    assert_true(fail2ban_look(self, after(first, 500000000)));
    assert_int_equal(fail2ban_unsure_before(self).ms, first.ms + 86400000 - MINUTE_MS);
    fail2ban_destroy(&self);
}

/* It restores its old bans first, and new ones wait behind them, in memory. */
TEST(one_that_ends_soon_after_its_start_may_have_lost_all_since_then)
{
    static const struct {
        int64_t ran_ms;
        int64_t unsure_ms;
    } cases[] = {{1000, MINUTE_MS},
                 {61000, 61000},
                 {3599000, 3599000},
                 {3600000, MINUTE_MS},
                 {86400000, MINUTE_MS}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fail2ban_t *self = fail2ban_new(SOCKET);
        wall_t start = begin(1000000);
        fail2ban_look(self, after(start, 0));
        fail2ban_look(self, after(start, cases[i].ran_ms));
        end();
        wall_t now = after(start, cases[i].ran_ms + 1000);
        fail2ban_look(self, now);
        assert_int_equal(fail2ban_unsure(self, now).ms,
                         start.ms + cases[i].ran_ms - cases[i].unsure_ms);
        fail2ban_destroy(&self);
    }
}

TEST(other_rights_on_the_socket_are_no_new_start)
{
    fail2ban_t *self = fail2ban_new(SOCKET);
    wall_t start = begin(1000000);
    fail2ban_look(self, start);
    assert_int_equal(chmod(SOCKET, 0600), 0);
    assert_false(fail2ban_look(self, start));
    fail2ban_destroy(&self);
}

TEST(a_socket_that_systemd_holds_says_nothing_and_the_pid_file_does)
{
    fail2ban_t *self = fail2ban_new(SOCKET);
    begin(1000000);
    wall_t first = begin_file(PID_FILE, 2000000);
    assert_false(fail2ban_look(self, after(first, 86400000)));
    begin_file(PID_FILE, 2086402); /* started anew, and nobody looked in between */
    assert_true(fail2ban_look(self, after(first, 86402000)));
    assert_int_equal(unlink(PID_FILE), 0);
    assert_false(fail2ban_look(self, after(first, 86403000)));
    assert_string_equal(fail2ban_state(self), "gone");
    assert_false(fail2ban_look(self, after(first, 86404000)));
    begin_file(PID_FILE, 2086405);
    assert_true(fail2ban_look(self, after(first, 86406000)));
    assert_string_equal(fail2ban_state(self), "runs");
    end();
    assert_false(fail2ban_look(self, after(first, 86407000)));
    assert_string_equal(fail2ban_state(self), "gone");
    assert_int_equal(unlink(PID_FILE), 0);
    fail2ban_destroy(&self);
}

TEST(without_a_path_it_never_looks_and_with_another_it_begins_anew)
{
    fail2ban_t *self = fail2ban_new("");
    wall_t start = begin(1000000);
    assert_false(fail2ban_look(self, start));
    fail2ban_set_path(self, SOCKET);
    assert_false(fail2ban_look(self, start));
    fail2ban_set_path(self, SOCKET);
    begin(1000001);
    assert_true(fail2ban_look(self, start));
    fail2ban_set_path(self, "other.sock");
    assert_false(fail2ban_look(self, start));
    assert_int_equal(fail2ban_unsure(self, start).ms, start.ms - MINUTE_MS);
    fail2ban_destroy(&self);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(one_that_was_never_seen_counts_neither_as_there_nor_as_gone),
        in_directory(one_that_started_while_nobody_looked_is_a_new_start),
        in_directory(a_new_socket_is_a_new_start),
        in_directory(while_it_is_gone_all_since_then_is_unsure),
        in_directory(one_that_ends_soon_after_its_start_may_have_lost_all_since_then),
        in_directory(other_rights_on_the_socket_are_no_new_start),
        in_directory(a_socket_that_systemd_holds_says_nothing_and_the_pid_file_does),
        in_directory(without_a_path_it_never_looks_and_with_another_it_begins_anew),
    };
    return cmocka_run_group_tests_name("fail2ban", tests, NULL, NULL);
}
