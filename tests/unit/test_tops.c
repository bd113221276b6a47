/* tops: each score is asked for once, absolute, and right however many blocks are on their way. */
#include "support.h"
#include "tops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY "2026-12-01"

static tops_t *tops;

static int start(void **state)
{
    (void)state;
    tops = tops_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    tops_destroy(&tops);
    return 0;
}

#define with_tops(name) cmocka_unit_test_setup_teardown(name, start, end)

/* The commands as words, one command a line. */
static void assert_commands(const commands_t *commands, const char *expected)
{
    char text[4096] = "";
    char *out = text;
    const char *at = commands->bytes;
    for (size_t i = 0; i < commands->count; i++) {
        char *next;
        size_t count = strtoul(at + 1, &next, 10);
        at = next + 2;
        for (size_t j = 0; j < count; j++) {
            size_t size = strtoul(at + 1, &next, 10);
            out += sprintf(out, "%.*s%c", (int)size, next + 2, j + 1 < count ? ' ' : '\n');
            at = next + 2 + size + 2;
        }
    }
    assert_string_equal(text, expected);
}

static void assert_asks(const char *expected)
{
    commands_t commands = {0};
    tops_ask(tops, &commands);
    assert_commands(&commands, expected);
    commands_free(&commands);
}

static void assert_writes(const char *expected)
{
    commands_t commands = {0};
    tops_write(tops, &commands);
    assert_commands(&commands, expected);
    commands_free(&commands);
}

/* scores: "" for none. */
static void answer(size_t count, const char *const scores[])
{
    redisReply items[8];
    redisReply *elements[8];
    char copies[8][16];
    for (size_t i = 0; i < count; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", scores[i]);
        items[i] = (redisReply){.type = *scores[i] != '\0' ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
                                .str = copies[i]};
        elements[i] = &items[i];
    }
    redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = count, .element = elements};
    tops_learn(tops, &reply);
}

TEST(scores_are_what_was_there_and_what_came)
{
    uint32_t one = tops_number(tops, TOPS_IP, DAY, "45.154.1.1");
    uint32_t other = tops_number(tops, TOPS_IP, DAY, "45.154.1.2");
    assert_int_equal(tops_number(tops, TOPS_IP, DAY, "45.154.1.1"), one);
    assert_true(tops_is_first(tops, one));
    assert_false(tops_is_first(tops, one));
    assert_asks("ZMSCORE f2b:" DAY ":top:ip 45.154.1.1 45.154.1.2\n");
    answer(2, (const char *const[]){"7", ""});
    tops_add(tops, one);
    tops_add(tops, other);
    tops_add(tops, one);
    assert_writes("ZADD f2b:" DAY ":top:ip 9 45.154.1.1 1 45.154.1.2\n");
    assert_writes("");
    tops_add(tops, other);
    assert_writes("ZADD f2b:" DAY ":top:ip 2 45.154.1.2\n");
}

TEST(days_and_kinds_are_asked_for_by_themselves)
{
    tops_number(tops, TOPS_IP, DAY, "45.154.1.1");
    uint32_t network = tops_number(tops, TOPS_NET, DAY, "45.154.0.0/16");
    uint32_t before = tops_number(tops, TOPS_IP, "2026-11-30", "45.154.1.1");
    tops_number(tops, TOPS_IP, DAY, "45.154.1.2");
    assert_asks("ZMSCORE f2b:" DAY ":top:ip 45.154.1.1 45.154.1.2\n"
                "ZMSCORE f2b:2026-11-30:top:ip 45.154.1.1\n"
                "ZMSCORE f2b:" DAY ":top:net 45.154.0.0/16\n");
    answer(2, (const char *const[]){"1", "2"});
    answer(1, (const char *const[]){"3"});
    answer(1, (const char *const[]){"4"});
    tops_add(tops, before);
    tops_add(tops, network);
    assert_writes("ZADD f2b:2026-11-30:top:ip 4 45.154.1.1\nZADD f2b:" DAY
                  ":top:net 5 45.154.0.0/16\n");
}

/* The second block names an address that the first one has asked for: what it needs is on its way,
 * and what the first one adds counts. */
TEST(blocks_on_their_way_share_what_they_know)
{
    uint32_t first = tops_number(tops, TOPS_IP, DAY, "45.154.1.1");
    assert_asks("ZMSCORE f2b:" DAY ":top:ip 45.154.1.1\n");
    assert_int_equal(tops_number(tops, TOPS_IP, DAY, "45.154.1.1"), first);
    uint32_t second = tops_number(tops, TOPS_IP, DAY, "45.154.1.2");
    assert_asks("ZMSCORE f2b:" DAY ":top:ip 45.154.1.2\n");
    answer(1, (const char *const[]){"5"});
    tops_add(tops, first);
    assert_writes("ZADD f2b:" DAY ":top:ip 6 45.154.1.1\n");
    answer(1, (const char *const[]){"8"});
    tops_add(tops, first);
    tops_add(tops, second);
    assert_writes("ZADD f2b:" DAY ":top:ip 7 45.154.1.1 9 45.154.1.2\n");
}

TEST(what_is_forgotten_is_asked_for_again)
{
    tops_number(tops, TOPS_IP, DAY, "45.154.1.1");
    assert_asks("ZMSCORE f2b:" DAY ":top:ip 45.154.1.1\n");
    tops_forget(tops); /* no answer comes */
    uint32_t number = tops_number(tops, TOPS_IP, DAY, "45.154.1.1");
    assert_asks("ZMSCORE f2b:" DAY ":top:ip 45.154.1.1\n");
    answer(1, (const char *const[]){"3"});
    tops_add(tops, number);
    assert_writes("ZADD f2b:" DAY ":top:ip 4 45.154.1.1\n");
}

TEST(it_is_full_in_the_end)
{
    char name[48];
    for (int i = 0; !tops_is_full(tops) && i < 1000000; i++) {
        snprintf(name, sizeof name, "45.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_int_equal(tops_number(tops, TOPS_IP, DAY, name), i);
    }
    assert_true(tops_is_full(tops));
    tops_forget(tops);
    assert_false(tops_is_full(tops));
    assert_asks("");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_tops(scores_are_what_was_there_and_what_came),
        with_tops(days_and_kinds_are_asked_for_by_themselves),
        with_tops(blocks_on_their_way_share_what_they_know),
        with_tops(what_is_forgotten_is_asked_for_again),
        with_tops(it_is_full_in_the_end),
    };
    return cmocka_run_group_tests_name("tops", tests, NULL, NULL);
}
