/* chain: what a link begins with, when one may be sent, and which mark is expected. */
#include "chain.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

/* The words of a request with spaces between, "." for the id of this process, a line a command. */
static char *text_of(const commands_t *commands)
{
    char *text = calloc(1, commands->used + 1);
    char *out = text;
    const char *at = commands->bytes;
    while (at < commands->bytes + commands->used) {
        char *next;
        size_t count = strtoul(at + 1, &next, 10);
        at = next + 2;
        for (size_t i = 0; i < count; i++) {
            size_t size = strtoul(at + 1, &next, 10);
            memcpy(out, next + 2, size);
            if (size > 21 && memcmp(out, "hist1 ", 6) == 0) { /* a token: name id number */
                out[6] = '.';
                memmove(out + 7, out + 22, size - 22);
                size -= 15;
            }
            out += size;
            *out++ = i + 1 < count ? ' ' : '\n';
            at = next + 2 + strtoul(at + 1, NULL, 10) + 2;
        }
    }
    *out = '\0'; /* tokens were longer */
    return text;
}

static void assert_commands(commands_t *commands, const char *expected)
{
    char *text = text_of(commands);
    assert_string_equal(text, expected);
    free(text);
    commands_clear(commands);
}

/* The answer to the check of a mark. */
static bool is_intact(const chain_t *self, uint64_t expected, const char *token)
{
    char text[128] = "";
    redisReply item = {.type = token != NULL ? REDIS_REPLY_STRING : REDIS_REPLY_NIL, .str = text};
    redisReply *items[] = {&item};
    redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = 1, .element = items};
    snprintf(text, sizeof text, "%s", token != NULL ? token : "");
    return chain_is_intact(self, expected, &reply);
}

/* The token that stands last in a request. */
static char *last_token(commands_t *commands)
{
    char *end = commands->bytes + commands->used - 2;
    char *start = end;
    while (memcmp(start, "hist1 ", 6) != 0)
        start--;
    return strndup(start, (size_t)(end - start));
}

TEST(the_first_link_waits_alone_and_later_ones_name_the_one_before)
{
    commands_t out = {0};
    chain_t *self = chain_new("hist1");
    assert_true(chain_is_closed(self));
    assert_false(chain_has_room(self));
    chain_open(self, &out);
    assert_commands(&out, "WATCH banmesh:dataset banmesh:writer\n");
    assert_false(chain_is_closed(self));
    assert_false(chain_has_room(self)); /* it is not sure yet that this store will do */
    chain_opened(self);
    assert_true(chain_has_room(self));
    assert_int_equal(chain_begin(self, &out), 1);
    assert_commands(&out, "MULTI\nDEL banmesh:writer\nSADD banmesh:writer hist1 . 1\n"
                          "HSET banmesh:marks hist1 hist1 . 1\n");
    assert_false(chain_has_room(self));
    chain_hold(self, 1);
    for (uint64_t number = 2; number <= 4; number++) {
        char expected[256];
        assert_true(chain_has_room(self));
        assert_int_equal(chain_begin(self, &out), number);
        snprintf(expected, sizeof expected,
                 "WATCH banmesh:writer\nSADD banmesh:writer hist1 . %d\nMULTI\n"
                 "DEL banmesh:writer\nSADD banmesh:writer hist1 . %d\n"
                 "HSET banmesh:marks hist1 hist1 . %d\n",
                 (int)number - 1, (int)number, (int)number);
        assert_commands(&out, expected);
    }
    assert_false(chain_has_room(self));
    chain_hold(self, 2);
    assert_true(chain_has_room(self));
    chain_close(self);
    assert_true(chain_is_closed(self));
    assert_false(chain_has_room(self));
    commands_free(&out);
    chain_destroy(&self);
}

TEST(a_mark_between_links_does_not_break_the_chain)
{
    commands_t out = {0};
    chain_t *self = chain_new("hist1");
    chain_open(self, &out);
    chain_opened(self);
    uint64_t link = chain_begin(self, &out);
    chain_hold(self, link);
    commands_clear(&out);
    chain_mark(self, &out);
    assert_commands(&out, "HSET banmesh:marks hist1 hist1 . 2\n");
    chain_begin(self, &out);
    assert_commands(&out, "WATCH banmesh:writer\nSADD banmesh:writer hist1 . 1\nMULTI\n"
                          "DEL banmesh:writer\nSADD banmesh:writer hist1 . 3\n"
                          "HSET banmesh:marks hist1 hist1 . 3\n");
    commands_free(&out);
    chain_destroy(&self);
}

TEST(the_mark_that_is_expected_is_the_newest_that_is_surely_there)
{
    commands_t out = {0};
    chain_t *self = chain_new("hist1");
    assert_int_equal(chain_check(self, &out), 0);
    assert_commands(&out, "HMGET banmesh:marks hist1\n");
    assert_true(is_intact(self, 0, NULL)); /* we left none */
    assert_true(is_intact(self, 0, "hist1 0123456789abcdef 77"));
    chain_mark(self, &out);
    char *first = last_token(&out);
    uint64_t expected = chain_check(self, &out);
    assert_int_equal(expected, 1);
    assert_true(is_intact(self, expected, first));
    assert_false(is_intact(self, expected, NULL));
    assert_false(is_intact(self, expected, "hist1 0123456789abcdef 1")); /* another process's */
    chain_open(self, &out);
    chain_opened(self);
    uint64_t link = chain_begin(self, &out);
    char *second = last_token(&out);
    assert_int_equal(chain_check(self, &out), 1); /* may have been refused */
    chain_mark(self, &out);                       /* behind the link, whatever comes of it */
    char *third = last_token(&out);
    chain_hold(self, link);
    expected = chain_check(self, &out);
    assert_int_equal(expected, 3);
    assert_true(is_intact(self, expected, third));
    assert_true(is_intact(self, 1, third)); /* links on their way may have left newer ones */
    assert_false(is_intact(self, expected, second));
    assert_false(is_intact(self, expected, first));
    chain_close(self); /* a refused link changes nothing of it */
    assert_int_equal(chain_check(self, &out), 3);
    chain_forget(self);
    assert_int_equal(chain_check(self, &out), 0);
    free(first);
    free(second);
    free(third);
    commands_free(&out);
    chain_destroy(&self);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(the_first_link_waits_alone_and_later_ones_name_the_one_before),
        plain(a_mark_between_links_does_not_break_the_chain),
        plain(the_mark_that_is_expected_is_the_newest_that_is_surely_there),
    };
    return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
