/* cursors: what the store says, what we told it, and what it is asked once more. gap: where a feed
 * goes on behind what is gone. */
#include "cursors.h"
#include "feeds.h"
#include "gap.h"

#include <stdlib.h>
#include <string.h>

#define DATASET "abc"

static const uint8_t nobody[FEED_ORIGIN_BYTES] = {0};

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
        items[i] =
            (redisReply){.type = texts[i] != NULL ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
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
    cursors_t *self = cursors_new(feed, nobody);
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
    cursor->stored = (progress_t){5, 1}; /* meanwhile */
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
    cursors_t *self = cursors_new(feed, nobody);
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

static void assert_end(gap_t *gap, const feed_ref_t *ref, uint64_t seq, uint64_t expected)
{
    uint64_t end = 0;
    assert_int_equal(gap_end(gap, ref, seq, &end), 0);
    assert_int_equal(end, expected);
}

TEST(a_gap_ends_with_what_is_held_or_with_the_floor)
{
    feed_t *feed = feeds_open_new();
    feed_ref_t *before = feeds_add(feed, 1, FEEDS_T0);
    feed_ref_t *ref = feeds_add(feed, 2, FEEDS_T0);
    feed_ref_t *behind = feeds_add(feed, 3, FEEDS_T0);
    for (uint64_t seq = 1; seq <= 6; seq++) {
        feeds_store(feed, before, seq);
        feeds_store(feed, ref, seq);
        feeds_store(feed, behind, seq);
    }
    assert_int_equal(feed_keep_head(feed, ref, 6, 6, (const uint8_t *)"head", 4), 1);
    gap_t *gap = gap_new(feed);
    assert_end(gap, ref, 2, 2);
    char sql[160];
    snprintf(sql, sizeof sql, "DELETE FROM batch WHERE id >> 40 = %lld AND id & 255 IN (2, 3, 5)",
             (long long)ref->number);
    sqlite3_stmt *delete = db_prepare(feed_peers_db(feed), sql);
    assert_int_equal(db_step(feed_peers_db(feed), delete), 0);
    assert_end(gap, ref, 2, 4);
    assert_end(gap, ref, 5, 6);
    assert_int_equal(feed_keep_head(feed, ref, 99, 100, (const uint8_t *)"head", 4), 1);
    assert_end(gap, ref, 1, 100);
    gap_destroy(&gap);
    feed_close(&feed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        in_directory(a_note_that_was_refused_is_written_again),
        in_directory(what_is_missing_is_asked_for_once_more_when_nothing_is_on_its_way),
        in_directory(a_gap_ends_with_what_is_held_or_with_the_floor),
    };
    return cmocka_run_group_tests_name("cursors", tests, NULL, NULL);
}
