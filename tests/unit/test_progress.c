/* progress: words while it takes long, and only if something comes. */
#include "progress.h"
#include "world.h"

#include <string.h>

static progress_t *progress;
static char said[256];
static int count;
static mono_t now;

static const char *name_of(void *arg, const pubkey_t *origin)
{
    const trusted_t *node = trust_by_sign(world.trust, origin);
    assert_ptr_equal(arg, &now);
    return node != NULL ? node->name : NULL;
}

static void say(void *arg, const char *text)
{
    assert_ptr_equal(arg, &now);
    snprintf(said, sizeof said, "%s", text);
    count++;
}

static int start(void **state)
{
    const progress_calls_t calls = {name_of, say, &now};
    if (world_start(state) == -1)
        return -1;
    progress = progress_new(world.feed, &calls);
    now = (mono_t){5000000};
    count = 0;
    said[0] = '\0';
    return 0;
}

static int end(void **state)
{
    progress_destroy(&progress);
    return world_end(state);
}

#define with_progress(name) cmocka_unit_test_setup_teardown(name, start, end)

/* Look so much later; what was said, "" if nothing was. */
static const char *look(int64_t after_ms)
{
    said[0] = '\0';
    now.ms += after_ms;
    progress_look(progress, now);
    return said;
}

TEST(numbers_are_grouped_by_three)
{
    char out[PROGRESS_COUNT_MAX];
    assert_string_equal(progress_count(0, out), "0");
    assert_string_equal(progress_count(999, out), "999");
    assert_string_equal(progress_count(1000, out), "1,000");
    assert_string_equal(progress_count(412000, out), "412,000");
    assert_string_equal(progress_count(1000000, out), "1,000,000");
    assert_string_equal(progress_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

TEST(it_is_said_how_far_it_is_every_five_seconds_and_at_the_end)
{
    world_keep_head(MX1, 1500, 1);
    world_store(MX1, 10);
    assert_string_equal(look(0), "");
    world_store(MX1, 20);
    assert_string_equal(look(PROGRESS_SAY_MS - 1), "");
    assert_string_equal(look(1), "catching up with mx1: 20 of 1,500 batches");
    world_store(MX1, 1200);
    assert_string_equal(look(PROGRESS_SAY_MS - 1), "");
    assert_string_equal(look(1), "catching up with mx1: 1,200 of 1,500 batches");
    world_store(MX1, 1500);
    assert_string_equal(look(1000), "caught up with mx1: 1,500 batches, after 11 s");
    assert_string_equal(look(PROGRESS_SAY_MS), "");
    assert_int_equal(count, 3);
}

TEST(what_is_quick_is_not_worth_a_word)
{
    world_keep_head(MX1, 100, 1);
    look(0);
    world_store(MX1, 50);
    look(PROGRESS_SAY_MS - 1);
    world_store(MX1, 100);
    look(1);
    assert_int_equal(count, 0);
    assert_null(progress_at(progress, 0));
}

TEST(where_nothing_comes_nothing_is_said)
{
    world_store(MX1, 10);
    world_keep_head(MX1, 100, 1);
    look(0);
    for (int i = 0; i < 100; i++)
        look(PROGRESS_SAY_MS);
    assert_int_equal(count, 0);
    assert_int_equal(progress_at(progress, 0)->have, 10);
    assert_int_equal(progress_at(progress, 0)->all, 100);
    world_store(MX1, 11); /* somebody who has it is back */
    assert_string_equal(look(1), "catching up with mx1: 11 of 100 batches");
}

TEST(all_feeds_of_an_origin_count_as_one_and_others_apart)
{
    world_store(MX1, 5);
    world_keep_head(MX1, 10, 1);
    const feed_ref_t *whole = world_add_feed(MX1, FORGE_EPOCH + 1);
    assert_int_equal(feed_store(world.feed, whole, 1, (const uint8_t *)"x", 1), 0);
    world_keep_head(MX2, 7, 1);
    world_store(HIST1, 2);
    look(0);
    assert_int_equal(progress_at(progress, 0)->have, 6);
    assert_int_equal(progress_at(progress, 0)->all, 11);
    assert_int_equal(progress_at(progress, 1)->all, 7);
    assert_null(progress_at(progress, 2));
}

TEST(what_lies_under_the_floor_does_not_count)
{
    world_keep_head(MX1, 100, 91);
    world_store(MX1, 92);
    look(0);
    assert_int_equal(progress_at(progress, 0)->have, 2);
    assert_int_equal(progress_at(progress, 0)->all, 10);
}

TEST(where_the_history_is_kept_what_lies_under_the_floor_counts_as_far_as_it_is_there)
{
    feed_keep_history(world.feed);
    world_keep_head(MX1, 100, 90);
    look(0);
    assert_int_equal(progress_at(progress, 0)->have, 0);
    world_store(MX1, 40);
    assert_string_equal(look(PROGRESS_SAY_MS), "catching up with mx1: 40 of 100 batches");
    assert_int_equal(progress_at(progress, 0)->have, 40);
    feed_give_up(world.feed, world_feed(MX1), 50);
    look(0);
    assert_int_equal(progress_at(progress, 0)->have, 50);
}

TEST(an_origin_that_is_not_trusted_is_not_waited_for)
{
    static const pubkey_t stranger = {{66}};
    feed_id_t id = {.epoch = 1};
    id.origin = stranger;
    const feed_ref_t *ref = feed_add(world.feed, &id);
    assert_int_equal(feed_keep_head(world.feed, ref, &(feed_mark_t){9, 1, 0}, (const uint8_t *)"x",
                                    1),
                     1);
    look(0);
    assert_null(progress_at(progress, 0));
    world_keep_head(MX1, 9, 1);
    look(0);
    assert_non_null(progress_at(progress, 0));
    trust_t *all = world.trust;
    world.trust = support_trust("none", NULL, 0);
    look(PROGRESS_SAY_MS);
    assert_null(progress_at(progress, 0));
    assert_int_equal(count, 0);
    trust_destroy(&world.trust);
    world.trust = all;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_progress(numbers_are_grouped_by_three),
        with_progress(it_is_said_how_far_it_is_every_five_seconds_and_at_the_end),
        with_progress(what_is_quick_is_not_worth_a_word),
        with_progress(where_nothing_comes_nothing_is_said),
        with_progress(all_feeds_of_an_origin_count_as_one_and_others_apart),
        with_progress(what_lies_under_the_floor_does_not_count),
        with_progress(
            where_the_history_is_kept_what_lies_under_the_floor_counts_as_far_as_it_is_there),
        with_progress(an_origin_that_is_not_trusted_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
