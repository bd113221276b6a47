/* crowd: who comes too often is kept out while there are too many, and nobody else. */
#include "crowd.h"
#include "descriptors.h"
#include "support.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROOM 300

static crowd_t *crowd;
static mono_t now;

static int start(void **state)
{
    (void)state;
    crowd = crowd_new();
    now = mono_now();
    return 0;
}

static int end(void **state)
{
    (void)state;
    crowd_destroy(&crowd);
    return 0;
}

#define with_crowd(name) cmocka_unit_test_setup_teardown(name, start, end)

static int admitted(const char *name, int times)
{
    int count = 0;
    for (int i = 0; i < times; i++)
        count += crowd_admits(crowd, name, now);
    return count;
}

TEST(while_there_is_room_anybody_comes_as_often_as_he_likes)
{
    assert_int_equal(admitted("bad", 10000), 10000);
    assert_false(crowd_look(crowd, ROOM, ROOM, now));
    assert_int_equal(admitted("bad", 1), 1);
}

TEST(of_a_crowd_who_came_too_often_is_kept_out_for_a_while)
{
    assert_int_equal(admitted("bad", 1000), 1000);
    assert_int_equal(admitted("mx2", CROWD_PATIENCE), CROWD_PATIENCE);
    assert_true(crowd_look(crowd, ROOM + 1, ROOM, now));
    assert_int_equal(admitted("bad", 10), 0);
    assert_int_equal(admitted("mx2", 1), 1);
    assert_int_equal(admitted("mx3", 1), 1);
    now.ms += CROWD_KEEP_OUT_MS - 1;
    assert_int_equal(admitted("bad", 1), 0);
    now.ms += 1;
    assert_int_equal(admitted("bad", 1), 1);
}

/* How many heartbeats pass until the connections are made anew once more. */
static int seconds_until_next(void)
{
    int seconds = 0;
    do {
        now.ms += 1000;
        seconds++;
    } while (!crowd_look(crowd, ROOM + 1, ROOM, now));
    return seconds;
}

/* Strangers, or a limit that is too low, would make everybody busy with it. */
TEST(of_a_crowd_that_nobody_is_to_blame_for_connections_are_made_anew_once_an_hour)
{
    assert_true(crowd_look(crowd, ROOM + 1, ROOM, now));
    assert_int_equal(seconds_until_next(), CROWD_UNKNOWN_MS / 1000);
}

/* On a slow machine the files of a crowd are open long before its handshakes are done. */
TEST(who_gets_a_name_after_an_attempt_in_vain_is_kept_out_at_once)
{
    admitted("bad", CROWD_PATIENCE);
    assert_true(crowd_look(crowd, ROOM + 1, ROOM, now));
    admitted("bad", 1);
    assert_int_equal(seconds_until_next(), 1);
    assert_int_equal(admitted("bad", 1), 0);
}

TEST(one_after_another_is_kept_out_once_a_minute)
{
    admitted("bad", 1000);
    assert_true(crowd_look(crowd, ROOM + 1, ROOM, now));
    admitted("worse", 1000);
    assert_int_equal(seconds_until_next(), CROWD_FADE_MS / 1000);
    assert_int_equal(admitted("worse", 1), 0);
}

/* A node on a bad line, for weeks. */
TEST(what_was_counted_fades)
{
    for (int minute = 0; minute < 1000; minute++) {
        assert_int_equal(admitted("mx2", CROWD_PATIENCE / 2), CROWD_PATIENCE / 2);
        now.ms += CROWD_FADE_MS;
        assert_false(crowd_look(crowd, ROOM, ROOM, now));
    }
    assert_true(crowd_look(crowd, ROOM + 1, ROOM, now));
    assert_int_equal(admitted("mx2", 1), 1);
}

TEST(the_room_follows_the_nodes_and_stays_below_the_limit)
{
    assert_int_equal(crowd_room(0, 16384), CROWD_FILES_OWN);
    assert_int_equal(crowd_room(200, 16384), CROWD_FILES_OWN + 200 * CROWD_FILES_PER_NODE);
    assert_int_equal(crowd_room(200, 1024), 1024 - CROWD_FILES_LEFT);
    assert_int_equal(crowd_room(2, 10), 10);
}

TEST(open_files_are_counted)
{
    size_t before = descriptors_open();
    int more[5];
    for (int i = 0; i < 5; i++)
        assert_true((more[i] = open("/", O_RDONLY | O_DIRECTORY)) != -1);
    assert_int_equal(descriptors_open(), before + 5);
    for (int i = 0; i < 5; i++)
        close(more[i]);
    assert_int_equal(descriptors_open(), before);
}

TEST(without_any_left_as_many_are_open_as_there_may_be)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(descriptors_open(), 0);
    assert_int_equal(descriptors_limit(), 0);
    descriptors_raise(64);
    assert_int_equal(descriptors_limit(), limit.rlim_max < 64 ? limit.rlim_max : 64);
    descriptors_raise(32); /* never less */
    assert_int_equal(descriptors_limit(), limit.rlim_max < 64 ? limit.rlim_max : 64);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_crowd(while_there_is_room_anybody_comes_as_often_as_he_likes),
        with_crowd(of_a_crowd_who_came_too_often_is_kept_out_for_a_while),
        with_crowd(of_a_crowd_that_nobody_is_to_blame_for_connections_are_made_anew_once_an_hour),
        with_crowd(who_gets_a_name_after_an_attempt_in_vain_is_kept_out_at_once),
        with_crowd(one_after_another_is_kept_out_once_a_minute),
        with_crowd(what_was_counted_fades),
        plain(the_room_follows_the_nodes_and_stays_below_the_limit),
        plain(open_files_are_counted),
        plain(without_any_left_as_many_are_open_as_there_may_be),
    };
    return cmocka_run_group_tests_name("crowd", tests, NULL, NULL);
}
