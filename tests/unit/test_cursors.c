/* cursors: what the store says, what we told it, and what it is asked once more. */
#include "cursors.h"
#include "feeds.h"

#include <stdlib.h>
#include <string.h>

#define DATASET "abc"

/* Ask for the cursors of all feeds, and answer with these texts; NULL: none. */
static void answer(cursors_t *self, const char *const *texts)
{
    commands_t out = {0};
    redisReply items[8];
    redisReply *elements[8];
    size_t count = cursors_count(self);
    assert_true(cursors_may_ask(self));
    cursors_ask(self, &out);
    assert_false(cursors_may_ask(self)); /* it is on its way */
    for (size_t i = 0; i < count; i++) {
        items[i] = (redisReply){.type = texts[i] != NULL ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
                                .str = (char *)(uintptr_t)texts[i]};
        elements[i] = &items[i];
    }
    redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = count, .element = elements};
    cursors_learn(self, &reply, DATASET);
    commands_free(&out);
}

static void assert_note(cursors_t *self, const char *expected)
{
    commands_t out = {0};
    assert_true(cursors_have_moved(self));
    cursors_note(self, &out, DATASET);
    out.bytes[out.used - 2] = '\0';
    assert_non_null(strstr(out.bytes, expected));
    commands_free(&out);
}

TEST(a_note_that_was_refused_is_written_again)
{
    static const char *const texts[] = {"2 " DATASET};
    feed_t *feed = feeds_open_new();
    feeds_add(feed, 2, FEEDS_T0);
    cursors_t *self = cursors_new(feed);
    assert_int_equal(cursors_count(self), 1);
    answer(self, texts);
    cursor_t *cursor = cursors_at(self, 0);
    assert_int_equal(cursor->taken.seq, 2);
    assert_int_equal(cursor->stored.seq, 2);
    assert_false(cursors_have_moved(self));
    cursor->stored.seq = 3;
    assert_note(self, "\r\n3 " DATASET);
    cursors_noted(self, false);
    assert_note(self, "\r\n3 " DATASET);
    cursor->stored = (cursor_reach_t){5, 1}; /* meanwhile */
    cursors_noted(self, true);
    assert_int_equal(cursor->noted.seq, 3);
    assert_note(self, "\r\n5 " DATASET " 1");
    cursors_noted(self, true);
    assert_false(cursors_have_moved(self));
    assert_int_equal(cursors_missed(self), 1);
    cursors_destroy(&self);
    feed_close(&feed);
}

TEST(what_is_missing_is_asked_for_once_more_when_nothing_is_on_its_way)
{
    static const char *const behind[] = {"2 " DATASET};
    static const char *const ahead[] = {"9 " DATASET " 4"};
    feed_t *feed = feeds_open_new();
    feeds_add(feed, 2, FEEDS_T0);
    cursors_t *self = cursors_new(feed);
    cursors_count(self);
    answer(self, behind);
    cursor_t *cursor = cursors_at(self, 0);
    cursor->taken.seq = 3; /* in a block */
    assert_false(cursors_confirm(cursor));
    assert_false(cursors_may_ask(self));
    cursor->stored.seq = 3;
    assert_false(cursors_confirm(cursor));
    assert_false(cursor->known);
    answer(self, behind); /* older than what we stored: nobody else was here */
    assert_int_equal(cursor->taken.seq, 3);
    assert_true(cursors_have_moved(self));
    assert_true(cursors_confirm(cursor));
    assert_false(cursors_confirm(cursor)); /* each time anew */
    answer(self, ahead);                   /* another aggregator was */
    assert_int_equal(cursor->taken.seq, 9);
    assert_int_equal(cursor->stored.missed, 4);
    assert_false(cursors_have_moved(self));
    cursors_forget(self); /* another connection: what it says counts, even if it is older */
    answer(self, behind);
    assert_int_equal(cursor->stored.seq, 2);
    cursors_destroy(&self);
    feed_close(&feed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_note_that_was_refused_is_written_again),
        in_directory(what_is_missing_is_asked_for_once_more_when_nothing_is_on_its_way),
    };
    return cmocka_run_group_tests_name("cursors", tests, NULL, NULL);
}
