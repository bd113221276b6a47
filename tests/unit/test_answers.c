/* answers and packets: over a real pair of sockets, with more than its queue holds. */
#include "answers.h"
#include "packets.h"
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 5000 /* more than a queue takes */
#define SIZE 32

typedef struct {
    int ours;
    int theirs;
} pair_t;

static pair_t open_pair(void)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
    return (pair_t){fds[0], fds[1]};
}

static void close_pair(const pair_t *pair)
{
    close(pair->ours);
    close(pair->theirs);
}

/* Packets "first", "first + 1", ... until there are none; returns the next number. */
static int read_numbers(packets_t *packets, int fd, int first)
{
    int got;
    while ((got = packets_receive(packets, fd)) > 0)
        for (int i = 0; i < got; i++) {
            char text[SIZE + 1] = "";
            size_t size;
            const char *packet = packets_at(packets, i, &size);
            assert_in_range(size, 1, SIZE);
            memcpy(text, packet, size);
            assert_int_equal(atoi(text), first++);
        }
    assert_int_equal(got, -1);
    assert_int_equal(errno, EAGAIN);
    return first;
}

static void send_numbers(answers_t *answers, int fd, int first, int count)
{
    answer_t *texts = calloc((size_t)count, sizeof *texts);
    answer_t **each = calloc((size_t)count, sizeof *each);
    for (int i = 0; i < count; i++) {
        snprintf(texts[i].text, sizeof texts[i].text, "%d", first + i);
        each[i] = &texts[i];
    }
    assert_true(answers_send(answers, fd, each, (size_t)count));
    free(each);
    free(texts);
}

TEST(answers_in_groups_of_any_size_come_in_order)
{
    pair_t pair = open_pair();
    packets_t *packets = packets_new(SIZE);
    answers_t answers = {0};
    int next = 0;
    for (int count = 1; count <= 150; count += 7) {
        send_numbers(&answers, pair.ours, next, count);
        assert_int_equal(answers.count, 0);
        next = read_numbers(packets, pair.theirs, next);
    }
    packets_destroy(&packets);
    assert_null(packets);
    close_pair(&pair);
}

TEST(what_the_queue_has_no_room_for_is_kept_and_sent_in_order)
{
    pair_t pair = open_pair();
    packets_t *packets = packets_new(SIZE);
    answers_t answers = {0};
    send_numbers(&answers, pair.ours, 0, MANY);
    assert_in_range(answers.count, 1, MANY - 1);
    send_numbers(&answers, pair.ours, MANY, 3); /* behind those that wait */
    int next = 0;
    while (next < MANY + 3) {
        next = read_numbers(packets, pair.theirs, next);
        assert_true(answers_send_waiting(&answers, pair.ours));
    }
    assert_int_equal(answers.count, 0);
    assert_true(answers_send_waiting(&answers, pair.ours));
    answers_free(&answers);
    packets_destroy(&packets);
    close_pair(&pair);
}

TEST(a_client_that_is_gone_is_told_apart_from_one_that_is_slow)
{
    pair_t pair = open_pair();
    answers_t answers = {0};
    answer_t answer = {"1"};
    answer_t *each = &answer;
    send_numbers(&answers, pair.ours, 0, MANY);
    assert_true(answers.count > 0);
    close(pair.theirs);
    assert_false(answers_send_waiting(&answers, pair.ours));
    answers_free(&answers);
    assert_false(answers_send(&answers, pair.ours, &each, 1));
    close(pair.ours);
}

TEST(the_end_of_a_connection_is_an_empty_packet_behind_what_was_sent)
{
    pair_t pair = open_pair();
    packets_t *packets = packets_new(SIZE);
    size_t size;
    assert_int_equal(packets_receive(packets, pair.theirs), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(send(pair.ours, "7", 1, 0), 1);
    close(pair.ours);
    assert_in_range(packets_receive(packets, pair.theirs), 1, PACKETS_MAX);
    assert_memory_equal(packets_at(packets, 0, &size), "7", 1);
    assert_int_equal(size, 1);
    int got = packets_receive(packets, pair.theirs);
    assert_in_range(got, 1, PACKETS_MAX);
    packets_at(packets, 0, &size);
    assert_int_equal(size, 0);
    packets_destroy(&packets);
    close(pair.theirs);
}

TEST(a_packet_that_is_too_long_is_cut)
{
    pair_t pair = open_pair();
    packets_t *packets = packets_new(SIZE);
    char text[SIZE * 2];
    size_t size;
    memset(text, 'x', sizeof text);
    assert_int_equal(send(pair.ours, text, sizeof text, 0), sizeof text);
    assert_int_equal(send(pair.ours, "y", 1, 0), 1);
    assert_int_equal(packets_receive(packets, pair.theirs), 2);
    packets_at(packets, 0, &size);
    assert_int_equal(size, SIZE);
    assert_memory_equal(packets_at(packets, 1, &size), "y", 1);
    packets_destroy(&packets);
    close_pair(&pair);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(answers_in_groups_of_any_size_come_in_order),
        plain(what_the_queue_has_no_room_for_is_kept_and_sent_in_order),
        plain(a_client_that_is_gone_is_told_apart_from_one_that_is_slow),
        plain(the_end_of_a_connection_is_an_empty_packet_behind_what_was_sent),
        plain(a_packet_that_is_too_long_is_cut),
    };
    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
