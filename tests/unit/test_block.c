/* block: each nid once, the longest ban wins, what the store knows is kept. */
#include "block.h"
#include "feeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S 1795288100 /* a ban of 60 s has ended by then */

static tops_t *tops;

static attempt_record_t record_of(int64_t nid, const char *ip, int64_t duration_s)
{
    attempt_record_t record = {.nid = nid,
                               .ban = support_ban(ip),
                               .node = "mx1",
                               .day = "2026-11-21",
                               .facts = {.country = "NL"}};
    record.ban.duration_s = duration_s;
    return record;
}

static void add(block_t *self, int64_t nid, int64_t duration_s, bool prolongs)
{
    attempt_record_t record = record_of(nid, "45.154.244.193", duration_s);
    block_add(self, &record, prolongs);
}

/* What is in a request: its commands as words with spaces between, one a line. */
static char *text_of(const commands_t *commands)
{
    char *text = calloc(1, commands->used + 1);
    const char *at = commands->bytes;
    const char *end = at + commands->used;
    char *out = text;
    while (at < end) {
        char *next;
        size_t count = strtoul(at + 1, &next, 10);
        at = next + 2;
        for (size_t i = 0; i < count; i++) {
            size_t size = strtoul(at + 1, &next, 10);
            memcpy(out, next + 2, size);
            out += size;
            *out++ = i + 1 < count ? ' ' : '\n';
            at = next + 2 + size + 2;
        }
    }
    return text;
}

static void assert_written(block_t *self, const char *expected)
{
    commands_t commands = {0};
    block_write(self, tops, NOW_S, &commands);
    char *text = text_of(&commands);
    assert_string_equal(text, expected);
    free(text);
    commands_free(&commands);
}

#define FIELDS 7

/* Ask, and answer the HMGETs of `known` with one stored attempt. */
static void answer(block_t *self, const char *const fields[FIELDS])
{
    redisReply items[FIELDS];
    redisReply *elements[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        char *copy = fields[i] != NULL ? strdup(fields[i]) : NULL;
        items[i] = (redisReply){.type = copy != NULL ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
                                .str = copy,
                                .len = copy != NULL ? strlen(copy) : 0};
        elements[i] = &items[i];
    }
    redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = FIELDS, .element = elements};
    redisReply score = {.type = items[0].type, .str = items[0].str};
    block_learn(self, &reply);
    block_learn(self, &score);
    for (int i = 0; i < FIELDS; i++)
        free(items[i].str);
}

#define HASH(nid, country, bantime, expires)                                                       \
    "HSET f2b:" nid " jail sshd ip 45.154.244.193 country " country                                \
    " timestamp 1795288025 node mx1 bantime " bantime " expires " expires                          \
    " port  protocol  failures 5\n"
#define SETS(nid, country)                                                                         \
    "SADD f2b:" country " " nid "\nSADD f2b:sshd " nid "\nSADD f2b:2026-11-21 " nid                \
    "\nSADD f2b:node:mx1 " nid "\nSADD f2b:2026-11-21:country:" country " " nid                    \
    "\nSADD f2b:2026-11-21:jail:sshd " nid "\nSADD f2b:2026-11-21:node:mx1 " nid                   \
    "\nSADD f2b:45.154.244.193 " nid "\n"

static void ask(block_t *self)
{
    commands_t commands = {0};
    block_ask(self, tops, &commands);
    commands_free(&commands);
}

TEST(an_attempt_is_a_hash_and_its_sets)
{
    block_t *self = block_new();
    attempt_record_t record = record_of(7, "45.154.244.193", 600);
    record.ban.port[0] = record.ban.protocol[0] = '\0';
    history_set_timezone("UTC");
    block_add(self, &record, false);
    ask(self);
    assert_written(self,
                   HASH("7", "NL", "600", "1795288625")
                       SETS("7", "NL") "ZADD f2b:bans 1795288025 7\nZADD f2b:active 1795288625 7\n"
                                       "ZADD f2b:2026-11-21:top:ip 1 45.154.244.193\n");
    block_destroy(&self);
}

TEST(one_set_is_written_by_one_command)
{
    commands_t commands = {0};
    block_t *self = block_new();
    tops_forget(tops);
    for (int64_t nid = 1; nid <= 3; nid++) {
        attempt_record_t record = record_of(nid, nid == 2 ? "80.1.1.1" : "45.154.244.193", 600);
        if (nid == 2)
            memcpy(record.facts.country, "FR", 3);
        block_add(self, &record, false);
    }
    ask(self);
    block_write(self, tops, NOW_S, &commands);
    char *text = text_of(&commands);
    assert_string_equal(
        strstr(text, "SADD"),
        "SADD f2b:NL 1 3\nSADD f2b:FR 2\nSADD f2b:sshd 1 2 3\nSADD f2b:2026-11-21 1 2 3\n"
        "SADD f2b:node:mx1 1 2 3\nSADD f2b:2026-11-21:country:NL 1 3\n"
        "SADD f2b:2026-11-21:country:FR 2\nSADD f2b:2026-11-21:jail:sshd 1 2 3\n"
        "SADD f2b:2026-11-21:node:mx1 1 2 3\nSADD f2b:45.154.244.193 1\n"
        "SADD f2b:80.1.1.1 2\nSADD f2b:45.154.244.193 3\n"
        "ZADD f2b:bans 1795288025 1 1795288025 2 1795288025 3\n"
        "ZADD f2b:active 1795288625 1 1795288625 2 1795288625 3\n"
        "ZADD f2b:2026-11-21:top:ip 2 45.154.244.193 1 80.1.1.1\n");
    free(text);
    commands_free(&commands);
    block_destroy(&self);
}

static void assert_one_lasts(block_t *self, const char *bantime)
{
    commands_t commands = {0};
    char expected[64];
    assert_int_equal(block_attempts(self), 1);
    block_write(self, tops, NOW_S, &commands);
    char *text = text_of(&commands);
    snprintf(expected, sizeof expected, " bantime %s ", bantime);
    assert_non_null(strstr(text, expected));
    free(text);
    commands_free(&commands);
}

TEST(the_longest_ban_wins_in_whatever_order)
{
    block_t *self = block_new();
    add(self, 7, 600, false);
    add(self, 7, 86400, true);
    add(self, 7, 3600, true);
    ask(self);
    assert_one_lasts(self, "86400");
    block_clear(self);
    add(self, 7, -1, true); /* the copy of a later epoch came first */
    add(self, 7, 600, false);
    ask(self);
    assert_one_lasts(self, "-1");
    block_destroy(&self);
}

TEST(what_the_store_knows_is_kept_but_for_a_longer_ban)
{
    static const char *const longer[FIELDS] = {"sshd", "45.154.244.193", "1795288025", "DE",
                                               "7200"};
    static const char *const shorter[FIELDS] = {"sshd", "45.154.244.193", "1795288025", "DE", "60"};
    static const char *const forever[FIELDS] = {"sshd", "45.154.244.193", "1795288025", "DE", "-1"};
    commands_t commands = {0};
    block_t *self = block_new();
    add(self, 7, 600, true);
    assert_false(block_ask(self, tops, &commands));
    answer(self, longer);
    assert_one_lasts(self, "7200");
    block_ask(self, tops, &commands);
    answer(self, shorter);
    assert_one_lasts(self, "7200");
    block_ask(self, tops, &commands);
    answer(self, forever);
    assert_one_lasts(self, "-1");
    commands_clear(&commands);
    block_write(self, tops, NOW_S, &commands);
    char *text = text_of(&commands);
    assert_non_null(strstr(text, "SADD f2b:DE 7\n"));
    assert_null(strstr(text, "f2b:NL"));
    free(text);
    commands_free(&commands);
    block_destroy(&self);
}

TEST(answers_go_to_those_that_were_asked_for)
{
    static const char *const none[FIELDS] = {NULL};
    static const char *const known[FIELDS] = {"sshd", "45.154.244.193", "1795288025", "DE", "60"};
    uint64_t counters[BLOCK_OUTCOME_COUNT] = {0};
    commands_t commands = {0};
    block_t *self = block_new();
    add(self, 1, 600, false);
    add(self, 2, 600, true);
    add(self, 3, 600, false);
    assert_true(block_ask(self, tops, &commands));
    char *text = text_of(&commands);
    assert_string_equal(text, "EXISTS f2b:1 f2b:3\n"
                              "HMGET f2b:2 jail ip timestamp country bantime network asn\n"
                              "ZSCORE f2b:bans 2\n");
    free(text);
    answer(self, none);
    commands_clear(&commands);
    block_ask_again(self, &commands);
    text = text_of(&commands);
    assert_string_equal(text, "HMGET f2b:1 jail ip timestamp country bantime network asn\n"
                              "ZSCORE f2b:bans 1\n"
                              "HMGET f2b:3 jail ip timestamp country bantime network asn\n"
                              "ZSCORE f2b:bans 3\n");
    free(text);
    answer(self, none);
    answer(self, known);
    block_finish(self, counters);
    assert_int_equal(counters[BLOCK_STORED], 2);
    assert_int_equal(counters[BLOCK_PROLONGED], 1);
    commands_free(&commands);
    block_destroy(&self);
}

/* An origin gone bad gives two attempts one nid, here or in the store: it gets one into the sets.
 */
TEST(a_nid_that_stands_for_another_attempt_is_not_written)
{
    static const char *const other[FIELDS] = {"sshd", "80.1.1.1", "1795288025", "DE", "60"};
    commands_t commands = {0};
    block_t *self = block_new();
    attempt_record_t record = record_of(7, "80.1.1.1", 600);
    add(self, 7, 600, false);
    block_add(self, &record, true);
    assert_int_equal(block_attempts(self), 1);
    block_ask(self, tops, &commands);
    block_ask_again(self, &commands);
    answer(self, other);
    assert_written(self, "");
    commands_free(&commands);
    block_destroy(&self);
}

/* Whose network it is in counts too; what is over is not active. */
TEST(a_network_has_its_key_and_a_ban_that_ended_is_not_active)
{
    commands_t commands = {0};
    block_t *self = block_new();
    attempt_record_t record = record_of(7, "45.154.244.193", 60);
    record.facts.asn = 64500;
    record.facts.network = support_addr("45.154.244.0/22");
    record.facts.built_s = 1790000000;
    memcpy(record.facts.owner, "Ex\"ample", 9);
    block_add(self, &record, false);
    ask(self);
    block_write(self, tops, NOW_S, &commands);
    char *text = text_of(&commands);
    assert_non_null(strstr(text, " failures 5 network 45.154.244.0/22 asn 64500\n"));
    assert_non_null(strstr(text, "SET f2b:net:45.154.244.0/22 {\"asn\":64500,\"built\":1790000000,"
                                 "\"country\":\"NL\",\"org\":\"Ex\\\"ample\"}\n"));
    assert_non_null(strstr(text, "SADD f2b:asn:64500 7\n"));
    assert_non_null(strstr(text, "ZADD f2b:bans 1795288025 7\nZADD f2b:2026-11-21:top:ip"));
    assert_non_null(strstr(text, "ZADD f2b:2026-11-21:top:net 1 45.154.244.0/22\n"));
    free(text);
    commands_free(&commands);
    block_destroy(&self);
}

/* The replica could not commit what went into it. */
TEST(what_is_taken_back_was_never_taken)
{
    uint64_t counters[BLOCK_OUTCOME_COUNT] = {0};
    feed_t *feed = feeds_open_new();
    block_t *self = block_new();
    cursors_t *cursors = cursors_new(feed);
    feeds_add(feed, 2, FEEDS_T0);
    feeds_add(feed, 3, FEEDS_T0);
    assert_int_equal(cursors_count(cursors), 2);
    cursors_at(cursors, 0)->taken = (cursor_reach_t){6, 1};
    add(self, 1, 600, false);
    block_move(self, cursors_at(cursors, 0), (cursor_reach_t){7, 1});
    block_move(self, cursors_at(cursors, 0), (cursor_reach_t){8, 1});
    block_move(self, cursors_at(cursors, 1), (cursor_reach_t){1, 0});
    block_move(self, cursors_at(cursors, 0), (cursor_reach_t){9, 1});
    block_refuse(self, BLOCK_MALFORMED);
    assert_int_equal(cursors_at(cursors, 0)->taken.seq, 9);
    block_take_back(self);
    assert_int_equal(cursors_at(cursors, 0)->taken.seq, 6);
    assert_int_equal(cursors_at(cursors, 0)->taken.missed, 1);
    assert_int_equal(cursors_at(cursors, 1)->taken.seq, 0);
    assert_false(block_moves(self));
    assert_int_equal(block_attempts(self), 0);
    block_finish(self, counters);
    assert_int_equal(cursors_at(cursors, 0)->stored.seq, 0);
    assert_int_equal(counters[BLOCK_MALFORMED], 0);
    cursors_destroy(&cursors);
    block_destroy(&self);
    feed_close(&feed);
}

static int new_tops(void **state)
{
    (void)state;
    tops = tops_new();
    return 0;
}

static int end_tops(void **state)
{
    (void)state;
    tops_destroy(&tops);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(an_attempt_is_a_hash_and_its_sets),
        plain(one_set_is_written_by_one_command),
        plain(the_longest_ban_wins_in_whatever_order),
        plain(what_the_store_knows_is_kept_but_for_a_longer_ban),
        plain(answers_go_to_those_that_were_asked_for),
        plain(a_network_has_its_key_and_a_ban_that_ended_is_not_active),
        plain(a_nid_that_stands_for_another_attempt_is_not_written),
        in_directory(what_is_taken_back_was_never_taken),
    };
    return cmocka_run_group_tests_name("block", tests, new_tops, end_tops);
}
