/* quorum: origins whose bans began within a window, however they come in. */
#include "quorum.h"
#include "support.h"

#include <stdlib.h>

static quorum_t quorum;

static void gather(const quorum_vote_t *votes, size_t count)
{
    quorum_clear(&quorum);
    for (size_t i = 0; i < count; i++)
        quorum_add(&quorum, votes[i].origin, votes[i].begin_ms);
    quorum_close(&quorum);
}

TEST(nobody_is_a_quorum_alone)
{
    static const quorum_vote_t votes[] = {{1000, 7}, {2000, 7}, {3000, 7}};
    gather(votes, 0);
    assert_int_equal(quorum_origins(&quorum, 1000, 60000), 0);
    gather(votes, 3);
    assert_int_equal(quorum_origins(&quorum, 1000, 60000), 1);
    assert_int_equal(quorum_origins(&quorum, 2000, 0), 1);
}

TEST(a_window_lies_around_the_ban)
{
    static const quorum_vote_t votes[] = {{5000, 3}, {1000, 1}, {2000, 2}, {6000, 65535}};
    gather(votes, 4);
    assert_int_equal(quorum_origins(&quorum, 1000, 1000), 2);
    assert_int_equal(quorum_origins(&quorum, 1000, 999), 1);
    assert_int_equal(quorum_origins(&quorum, 2000, 3000), 2);
    assert_int_equal(quorum_origins(&quorum, 2000, 4000), 3);
    assert_int_equal(quorum_origins(&quorum, 6000, 1000), 2);
    assert_int_equal(quorum_origins(&quorum, 6000, 5000), 4);
    assert_int_equal(quorum_origins(&quorum, 6000, 1000), 2); /* counting changes nothing */
}

/* The same by trying each window. */
static int64_t by_hand(const quorum_vote_t *votes, size_t count, int64_t begin_ms,
                       int64_t window_ms)
{
    int64_t most = 0;
    for (size_t first = 0; first < count; first++) {
        bool seen[8] = {false};
        int64_t from_ms = votes[first].begin_ms;
        int64_t origins = 0;
        if (from_ms > begin_ms || begin_ms > from_ms + window_ms)
            continue;
        for (size_t i = 0; i < count; i++) {
            bool in = votes[i].begin_ms >= from_ms && votes[i].begin_ms <= from_ms + window_ms;
            origins += in && !seen[votes[i].origin];
            seen[votes[i].origin] = seen[votes[i].origin] || in;
        }
        most = origins > most ? origins : most;
    }
    return most;
}

TEST(it_agrees_with_trying_each_window)
{
    uint64_t random = support_seed();
    quorum_vote_t votes[40];
    for (int round = 0; round < 2000; round++) {
        size_t count = 1 + support_random(&random) % 40;
        int64_t window_ms = (int64_t)(support_random(&random) % 60);
        for (size_t i = 0; i < count; i++)
            votes[i] = (quorum_vote_t){(int64_t)(support_random(&random) % 100),
                                       (uint16_t)(support_random(&random) % 8)};
        gather(votes, count);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(quorum_origins(&quorum, votes[i].begin_ms, window_ms),
                             by_hand(votes, count, votes[i].begin_ms, window_ms));
    }
}

TEST(too_many_votes_are_left_out)
{
    quorum_clear(&quorum);
    for (int i = 0; i < QUORUM_VOTES_MAX + 10; i++)
        quorum_add(&quorum, (uint16_t)i, 1000);
    quorum_close(&quorum);
    assert_int_equal(quorum_origins(&quorum, 1000, 0), QUORUM_VOTES_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(nobody_is_a_quorum_alone),
        plain(a_window_lies_around_the_ban),
        plain(it_agrees_with_trying_each_window),
        plain(too_many_votes_are_left_out),
    };
    return cmocka_run_group_tests_name("quorum", tests, NULL, NULL);
}
