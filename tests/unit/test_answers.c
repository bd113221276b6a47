/* answers: over a real pair of sockets, with more than its queue holds. */
#include "answers.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 50000 /* more than a queue takes */

typedef struct {
    int ours;
    int theirs;
} pair_t;

static pair_t open_pair(void)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    return (pair_t){fds[0], fds[1]};
}

static void close_pair(const pair_t *pair)
{
    close(pair->ours);
    close(pair->theirs);
}

/* Lines "first", "first + 1", ... as far as they are there; returns the number of the next. A line
 * that came in part is left in *begun. */
static int read_numbers(int fd, int first, int *begun)
{
    char text[4096];
    ssize_t got;
    while ((got = recv(fd, text, sizeof text, 0)) > 0)
        for (ssize_t i = 0; i < got; i++)
            if (text[i] == '\n') {
                assert_int_equal(*begun, first++);
                *begun = 0;
            } else
                *begun = *begun * 10 + text[i] - '0';
    assert_int_equal(got, -1);
    return first;
}

static void add_numbers(answers_t *answers, int first, int count)
{
    for (int i = 0; i < count; i++) {
        answer_t answer;
        snprintf(answer.text, sizeof answer.text, "%d", first + i);
        answers_add(answers, &answer);
    }
}

TEST(answers_in_groups_of_any_size_come_in_order)
{
    pair_t pair = open_pair();
    answers_t answers = {0};
    int next = 1;
    int begun = 0;
    for (int count = 1; count <= 150; count += 7) {
        add_numbers(&answers, next, count);
        assert_true(answers_send(&answers, pair.ours));
        assert_int_equal(answers.used, 0);
        next = read_numbers(pair.theirs, next, &begun);
    }
    answers_free(&answers);
    close_pair(&pair);
}

TEST(what_the_queue_has_no_room_for_is_kept_and_sent_in_order)
{
    pair_t pair = open_pair();
    answers_t answers = {0};
    int next = 1;
    int begun = 0;
    add_numbers(&answers, 1, MANY);
    assert_true(answers_send(&answers, pair.ours));
    assert_true(answers.used > 0);
    add_numbers(&answers, MANY + 1, 3); /* behind those that wait */
    while (next < MANY + 4) {
        next = read_numbers(pair.theirs, next, &begun);
        assert_true(answers_send(&answers, pair.ours));
    }
    assert_int_equal(answers.used, 0);
    assert_true(answers_send(&answers, pair.ours));
    answers_free(&answers);
    close_pair(&pair);
}

TEST(a_client_that_is_gone_is_told_apart_from_one_that_is_slow)
{
    pair_t pair = open_pair();
    answers_t answers = {0};
    add_numbers(&answers, 1, MANY);
    assert_true(answers_send(&answers, pair.ours));
    assert_true(answers.used > 0);
    close(pair.theirs);
    assert_false(answers_send(&answers, pair.ours));
    answers_free(&answers);
    close(pair.ours);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(answers_in_groups_of_any_size_come_in_order),
        plain(what_the_queue_has_no_room_for_is_kept_and_sent_in_order),
        plain(a_client_that_is_gone_is_told_apart_from_one_that_is_slow),
    };
    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
