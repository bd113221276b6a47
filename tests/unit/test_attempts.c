/* attempts: which ban the intake has had before. */
#include "attempts.h"
#include "feed.h"
#include "replica.h"
#include "support.h"

#include <string.h>

static const pubkey_t self_key = {{1}};

typedef struct {
    feed_t *feed;
    attempts_t *attempts;
} open_t;

static open_t open_attempts(void)
{
    fault_t fault;
    open_t open;
    open.feed = feed_open(".", &self_key, &replica_tables, &fault);
    if (open.feed == NULL)
        fail_msg("%s", fault.text);
    open.attempts = attempts_new(feed_own_db(open.feed));
    return open;
}

static void close_attempts(open_t *open)
{
    attempts_destroy(&open->attempts);
    feed_close(&open->feed);
}

static attempt_t attempt_at(uint64_t seq)
{
    attempt_t attempt = {.position = {.epoch = 7, .channel = 1, .seq = seq, .index = 3},
                         .duration_s = 600};
    return attempt;
}

static bool same_key(const ban_t *one, const ban_t *other)
{
    uint8_t one_key[ATTEMPTS_KEY_BYTES];
    uint8_t other_key[ATTEMPTS_KEY_BYTES];
    attempts_key(one, one_key);
    attempts_key(other, other_key);
    return memcmp(one_key, other_key, sizeof one_key) == 0;
}

TEST(the_key_is_jail_address_and_time)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t other = ban;
    other.duration_s = 3600;
    other.failures = 99;
    other.bancount = 7;
    assert_true(same_key(&ban, &other));
    other = ban;
    other.time_ms++;
    assert_false(same_key(&ban, &other));
    other = support_ban("45.154.244.194");
    assert_false(same_key(&ban, &other));
    other = support_ban("45.154.244.192/26");
    ban = support_ban("45.154.244.192/27");
    assert_false(same_key(&ban, &other));
    other = ban;
    memcpy(other.jail, "sshe", 5);
    assert_false(same_key(&ban, &other));
}

TEST(one_jail_that_begins_like_another_has_other_keys)
{
    ban_t ban = support_ban("45.154.244.193");
    ban_t other = ban;
    memcpy(ban.jail, "a", 2);
    memcpy(other.jail, "aa", 3);
    assert_false(same_key(&ban, &other));
    memset(ban.jail, 'j', EVENT_NAME_MAX);
    ban.jail[EVENT_NAME_MAX] = '\0';
    other = ban;
    other.jail[EVENT_NAME_MAX - 1] = 'k';
    assert_false(same_key(&ban, &other));
}

static void claim(open_t *open, const uint8_t *key, uint64_t seq, int expected)
{
    attempt_t attempt = attempt_at(seq);
    assert_int_equal(attempts_claim(open->attempts, key, &attempt), expected);
}

TEST(what_was_claimed_is_found_after_a_restart)
{
    uint8_t key[ATTEMPTS_KEY_BYTES] = {1};
    attempt_t found;
    open_t open = open_attempts();
    assert_int_equal(attempts_find(open.attempts, key, &found), 0);
    claim(&open, key, UINT32_MAX, 1);
    close_attempts(&open);
    open = open_attempts();
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    assert_int_equal(found.position.epoch, 7);
    assert_int_equal(found.position.channel, 1);
    assert_int_equal(found.position.seq, UINT32_MAX);
    assert_int_equal(found.position.index, 3);
    assert_int_equal(found.duration_s, 600);
    key[0] = 2;
    assert_int_equal(attempts_find(open.attempts, key, &found), 0);
    close_attempts(&open);
}

TEST(an_attempt_is_claimed_once)
{
    uint8_t key[ATTEMPTS_KEY_BYTES] = {1};
    attempt_t found;
    open_t open = open_attempts();
    claim(&open, key, 1, 1);
    claim(&open, key, 2, 0);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    assert_int_equal(found.position.seq, 1);
    close_attempts(&open);
}

TEST(a_prolongation_keeps_the_position_of_the_first)
{
    uint8_t key[ATTEMPTS_KEY_BYTES] = {1};
    attempt_t found;
    open_t open = open_attempts();
    claim(&open, key, 1, 1);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    assert_int_equal(found.place.seq, 1);
    const event_position_t place = {.epoch = 2, .seq = 7, .index = 3};
    assert_int_equal(attempts_move(open.attempts, key, &place, -1), 0);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    assert_int_equal(found.duration_s, -1);
    assert_int_equal(found.position.seq, 1);
    assert_int_equal(found.place.epoch, 2);
    assert_int_equal(found.place.seq, 7);
    assert_int_equal(found.place.index, 3);
    close_attempts(&open);
}

TEST(a_rolled_back_attempt_never_was)
{
    uint8_t key[ATTEMPTS_KEY_BYTES] = {1};
    attempt_t found;
    open_t open = open_attempts();
    assert_int_equal(db_begin(feed_own_db(open.feed)), 0);
    claim(&open, key, 1, 1);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    db_rollback(feed_own_db(open.feed));
    assert_int_equal(attempts_find(open.attempts, key, &found), 0);
    claim(&open, key, 1, 1);
    close_attempts(&open);
}

TEST(bans_older_than_30_days_are_forgotten)
{
    uint8_t old[ATTEMPTS_KEY_BYTES];
    uint8_t young[ATTEMPTS_KEY_BYTES];
    attempt_t found;
    ban_t ban = support_ban("45.154.244.193");
    open_t open = open_attempts();
    attempts_key(&ban, old);
    claim(&open, old, 1, 1);
    int64_t end_ms = ban.time_ms + ATTEMPTS_KEPT_MS;
    ban.time_ms += 1000;
    attempts_key(&ban, young);
    claim(&open, young, 1, 1);
    assert_int_equal(attempts_prune(open.attempts, (wall_t){end_ms}), 0);
    assert_int_equal(attempts_find(open.attempts, old, &found), 1);
    assert_int_equal(attempts_prune(open.attempts, (wall_t){end_ms + 1}), 0);
    assert_int_equal(attempts_find(open.attempts, old, &found), 0);
    assert_int_equal(attempts_find(open.attempts, young, &found), 1);
    close_attempts(&open);
}

/* fail2ban's database rounds, to the nearest second. */
TEST(an_attempt_is_found_by_the_second_that_it_is_nearest_to)
{
    attempt_t found;
    uint8_t key[ATTEMPTS_KEY_BYTES];
    ban_t ban = support_ban("45.154.244.193");
    ban_t asked = ban;
    open_t open = open_attempts();
    for (int64_t i = 0; i <= 8; i++) { /* each in seconds of its own */
        ban.time_ms = 1795288020500 + i * 10125;
        asked.time_ms = (ban.time_ms + 500) / 1000 * 1000;
        attempts_key(&ban, key);
        claim(&open, key, (uint64_t)i + 1, 1);
        assert_int_equal(attempts_find_near(open.attempts, &asked, &found), 1);
        assert_int_equal(found.position.seq, i + 1);
        asked.time_ms += 2000;
        assert_int_equal(attempts_find_near(open.attempts, &asked, &found), 0);
        asked.time_ms -= 2000;
        asked.address = support_addr("45.154.244.194");
        assert_int_equal(attempts_find_near(open.attempts, &asked, &found), 0);
        asked.address = ban.address;
        asked.time_ms++; /* who knows more than the second means that, if the other one does, too */
        assert_int_equal(attempts_find_near(open.attempts, &asked, &found),
                         asked.time_ms == ban.time_ms || ban.time_ms % 1000 == 0);
    }
    close_attempts(&open);
}

/* An import knows the second only, cut off. Later fail2ban tells the hook all of it, or after a
 * restart the nearest second. */
TEST(an_imported_attempt_is_found_by_its_exact_time)
{
    attempt_t found;
    uint8_t key[ATTEMPTS_KEY_BYTES];
    ban_t ban = support_ban("45.154.244.193");
    open_t open = open_attempts();
    ban.time_ms = 1795288025000;
    attempts_key(&ban, key);
    claim(&open, key, 1, 1);
    for (int64_t ms = 0; ms < 1000; ms += 111) {
        ban.time_ms = 1795288025000 + ms;
        assert_int_equal(attempts_find_near(open.attempts, &ban, &found), 1);
    }
    ban.time_ms = 1795288026000;
    assert_int_equal(attempts_find_near(open.attempts, &ban, &found), 1);
    static const int64_t others_ms[] = {1795288024999, 1795288024000, 1795288026001, 1795288027000};
    for (size_t i = 0; i < sizeof others_ms / sizeof others_ms[0]; i++) {
        ban.time_ms = others_ms[i];
        assert_int_equal(attempts_find_near(open.attempts, &ban, &found), 0);
    }
    close_attempts(&open);
}

/* Somebody may lift it. */
TEST(a_ban_that_still_runs_is_kept_however_old_it_is)
{
    enum { DAY_MS = 24 * 3600 * 1000 };
    static const int64_t durations_s[] = {600, 40 * 24 * 3600, -1};
    uint8_t keys[3][ATTEMPTS_KEY_BYTES];
    attempt_t found;
    ban_t ban = support_ban("45.154.244.193");
    open_t open = open_attempts();
    for (size_t i = 0; i < 3; i++) {
        attempt_t attempt = attempt_at(i + 1);
        attempt.duration_s = durations_s[i];
        ban.time_ms += 1000;
        attempts_key(&ban, keys[i]);
        assert_int_equal(attempts_claim(open.attempts, keys[i], &attempt), 1);
    }
    assert_int_equal(attempts_prune(open.attempts, (wall_t){ban.time_ms + 39LL * DAY_MS}), 0);
    assert_int_equal(attempts_find(open.attempts, keys[0], &found), 0);
    assert_int_equal(attempts_find(open.attempts, keys[1], &found), 1);
    assert_int_equal(attempts_prune(open.attempts, (wall_t){ban.time_ms + 41LL * DAY_MS}), 0);
    assert_int_equal(attempts_find(open.attempts, keys[1], &found), 0);
    assert_int_equal(attempts_find(open.attempts, keys[2], &found), 1);
    close_attempts(&open);
}

/* Each step passes so many rows and no more, also where it keeps all of them. */
TEST(pruning_many_goes_in_steps_and_comes_to_an_end)
{
    enum { ROWS = 12000 };
    ban_t ban = support_ban("45.154.244.193");
    open_t open = open_attempts();
    assert_int_equal(db_begin(feed_own_db(open.feed)), 0);
    for (int i = 0; i < ROWS; i++) {
        uint8_t key[ATTEMPTS_KEY_BYTES];
        attempt_t attempt = attempt_at((uint64_t)i + 1);
        attempt.duration_s = i % 2 == 0 ? -1 : 600;
        ban.time_ms++;
        attempts_key(&ban, key);
        assert_int_equal(attempts_claim(open.attempts, key, &attempt), 1);
    }
    assert_int_equal(db_commit(feed_own_db(open.feed)), 0);
    const wall_t later = {ban.time_ms + 2 * ATTEMPTS_KEPT_MS};
    for (int round = 0; round < 2; round++) {
        int steps = 1;
        while (attempts_prune(open.attempts, later) == 1)
            steps++;
        assert_int_equal(steps, round == 0 ? 3 : 2);
    }
    sqlite3_stmt *count = db_prepare(feed_own_db(open.feed), "SELECT count(*) FROM attempt");
    assert_int_equal(db_step(feed_own_db(open.feed), count), 1);
    assert_int_equal(sqlite3_column_int64(count, 0), ROWS / 2);
    close_attempts(&open);
}

TEST(what_was_lifted_is_known_after_a_restart_and_as_long_as_its_pardon)
{
    const event_position_t position = attempt_at(1).position;
    const event_position_t other = attempt_at(2).position;
    open_t open = open_attempts();
    assert_int_equal(attempts_is_lifted(open.attempts, &position), 0);
    assert_int_equal(attempts_lift(open.attempts, &position, 1000), 1);
    assert_int_equal(attempts_lift(open.attempts, &position, 2000), 0);
    close_attempts(&open);
    open = open_attempts();
    assert_int_equal(attempts_is_lifted(open.attempts, &position), 1);
    assert_int_equal(attempts_is_lifted(open.attempts, &other), 0);
    assert_int_equal(attempts_prune(open.attempts, (wall_t){1000 + EVENT_GRACE_MAX_MS}), 0);
    assert_int_equal(attempts_is_lifted(open.attempts, &position), 1);
    assert_int_equal(attempts_prune(open.attempts, (wall_t){1001 + EVENT_GRACE_MAX_MS}), 0);
    assert_int_equal(attempts_is_lifted(open.attempts, &position), 0);
    close_attempts(&open);
}

/* From a feed that comes back, in any order. */
TEST(a_pardon_is_learned_before_or_behind_its_ban)
{
    event_t ban = support_ban_event("45.154.244.193");
    event_t pardon = support_grace_event(EVENT_PARDON, "45.154.244.193", "unban");
    const wall_t now = {ban.ban.time_ms};
    attempt_t found;
    uint8_t key[ATTEMPTS_KEY_BYTES];
    open_t open = open_attempts();
    ban.original = pardon.grace.bans[0] = attempt_at(9).position;
    pardon.grace.ban_count = 1;
    attempts_key(&ban.ban, key);
    assert_int_equal(attempts_learn(open.attempts, &pardon, now), 1);
    assert_int_equal(attempts_learn(open.attempts, &pardon, now), 0);
    assert_int_equal(attempts_learn(open.attempts, &ban, now), 1);
    assert_int_equal(attempts_learn(open.attempts, &ban, now), 0);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    assert_int_equal(attempts_is_lifted(open.attempts, &found.position), 1);
    pardon.grace.ban_count = 0; /* of all of an address: not ours to remember */
    assert_int_equal(attempts_learn(open.attempts, &pardon, now), 1);
    close_attempts(&open);
}

TEST(an_old_ban_that_runs_is_learned_and_one_that_has_ended_is_not)
{
    event_t ban = support_ban_event("45.154.244.193");
    const wall_t later = {ban.ban.time_ms + 2 * ATTEMPTS_KEPT_MS};
    attempt_t found;
    uint8_t key[ATTEMPTS_KEY_BYTES];
    open_t open = open_attempts();
    ban.original = attempt_at(9).position;
    attempts_key(&ban.ban, key);
    assert_int_equal(attempts_learn(open.attempts, &ban, later), 1);
    assert_int_equal(attempts_find(open.attempts, key, &found), 0);
    ban.ban.duration_s = -1;
    assert_int_equal(attempts_learn(open.attempts, &ban, later), 1);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    close_attempts(&open);
}

TEST(a_clock_near_1970_prunes_nothing)
{
    uint8_t key[ATTEMPTS_KEY_BYTES];
    attempt_t found;
    ban_t ban = support_ban("45.154.244.193");
    open_t open = open_attempts();
    ban.time_ms = 0;
    attempts_key(&ban, key);
    claim(&open, key, 1, 1);
    assert_int_equal(attempts_prune(open.attempts, (wall_t){1000}), 0);
    assert_int_equal(attempts_find(open.attempts, key, &found), 1);
    close_attempts(&open);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(the_key_is_jail_address_and_time),
        plain(one_jail_that_begins_like_another_has_other_keys),
        in_directory(what_was_claimed_is_found_after_a_restart),
        in_directory(an_attempt_is_claimed_once),
        in_directory(a_prolongation_keeps_the_position_of_the_first),
        in_directory(a_rolled_back_attempt_never_was),
        in_directory(bans_older_than_30_days_are_forgotten),
        in_directory(an_attempt_is_found_by_the_second_that_it_is_nearest_to),
        in_directory(an_imported_attempt_is_found_by_its_exact_time),
        in_directory(a_ban_that_still_runs_is_kept_however_old_it_is),
        in_directory(pruning_many_goes_in_steps_and_comes_to_an_end),
        in_directory(what_was_lifted_is_known_after_a_restart_and_as_long_as_its_pardon),
        in_directory(a_pardon_is_learned_before_or_behind_its_ban),
        in_directory(an_old_ban_that_runs_is_learned_and_one_that_has_ended_is_not),
        in_directory(a_clock_near_1970_prunes_nothing),
    };
    return cmocka_run_group_tests_name("attempts", tests, NULL, NULL);
}
