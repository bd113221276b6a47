/* steady: what a clock says is believed later than it is said, and earlier at once. */
#include "steady.h"
#include "support.h"

#define T0     1795288000000
#define DAY_MS (24LL * 3600 * MS_PER_S)

/* A clock that is ahead by some time, so long after the start. */
typedef struct {
    steady_t steady;
    int64_t passed_ms;
    int64_t ahead_ms;
} scene_t;

static wall_t wall(const scene_t *scene)
{
    return (wall_t){T0 + scene->passed_ms + scene->ahead_ms};
}

static mono_t mono(const scene_t *scene)
{
    return (mono_t){scene->passed_ms};
}

static scene_t begin(void)
{
    scene_t scene = {0};
    scene.steady = steady_begin(wall(&scene), mono(&scene));
    return scene;
}

static steady_change_t look_after(scene_t *scene, int64_t ms)
{
    scene->passed_ms += ms;
    return steady_look(&scene->steady, wall(scene), mono(scene));
}

/* By how much the time to judge by is ahead of what has passed since the start. */
static int64_t ahead(const scene_t *scene)
{
    return steady_time(&scene->steady, wall(scene), mono(scene)).ms - T0 - scene->passed_ms;
}

TEST(a_clock_that_jumps_forward_and_returns_moves_nothing)
{
    scene_t scene = begin();
    assert_int_equal(look_after(&scene, 1000), STEADY_AS_BEFORE);
    scene.ahead_ms = DAY_MS;
    assert_int_equal(look_after(&scene, 1000), STEADY_JUMPED);
    assert_int_equal(ahead(&scene), 0);
    assert_int_equal(steady_ahead_ms(&scene.steady), DAY_MS);
    scene.ahead_ms = 0;
    assert_int_equal(look_after(&scene, 1000), STEADY_AS_BEFORE);
    assert_int_equal(ahead(&scene), 0);
    assert_int_equal(look_after(&scene, STEADY_CALM_MS), STEADY_RETURNED);
    assert_int_equal(look_after(&scene, 1000), STEADY_AS_BEFORE);
}

TEST(a_clock_that_is_set_back_is_followed_at_once_and_not_when_it_returns)
{
    scene_t scene = begin();
    scene.ahead_ms = -DAY_MS;
    assert_int_equal(look_after(&scene, 1000), STEADY_JUMPED);
    assert_int_equal(ahead(&scene), -DAY_MS);
    assert_int_equal(look_after(&scene, STEADY_BELIEVED_MS), STEADY_BELIEVED);
    scene.ahead_ms = 0;
    assert_int_equal(look_after(&scene, 1000), STEADY_JUMPED);
    assert_int_equal(ahead(&scene), -DAY_MS);
    assert_int_equal(look_after(&scene, STEADY_BELIEVED_MS), STEADY_BELIEVED);
    assert_int_equal(ahead(&scene), 0);
}

TEST(a_clock_that_an_operator_corrected_counts_after_an_hour)
{
    scene_t scene = begin();
    scene.ahead_ms = DAY_MS;
    assert_int_equal(look_after(&scene, 1000), STEADY_JUMPED);
    assert_int_equal(look_after(&scene, STEADY_BELIEVED_MS - 1), STEADY_AS_BEFORE);
    assert_int_equal(ahead(&scene), 0);
    assert_int_equal(look_after(&scene, 1), STEADY_BELIEVED);
    assert_int_equal(ahead(&scene), DAY_MS);
}

TEST(a_clock_that_jumps_on_and_on_is_told_of_once_and_never_counts)
{
    scene_t scene = begin();
    scene.ahead_ms = DAY_MS;
    assert_int_equal(look_after(&scene, 1000), STEADY_JUMPED);
    for (int i = 0; i < 100; i++) {
        scene.ahead_ms = i % 2 == 0 ? 0 : DAY_MS + i * STEADY_TOLERANCE_MS;
        assert_int_equal(look_after(&scene, STEADY_CALM_MS - 1), STEADY_AS_BEFORE);
        assert_int_equal(ahead(&scene), 0);
    }
}

TEST(small_corrections_are_followed)
{
    scene_t scene = begin();
    for (int i = 0; i < 100; i++) {
        scene.ahead_ms += STEADY_TOLERANCE_MS;
        assert_int_equal(look_after(&scene, 1000), STEADY_AS_BEFORE);
        assert_int_equal(ahead(&scene), scene.ahead_ms);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(a_clock_that_jumps_forward_and_returns_moves_nothing),
        plain(a_clock_that_is_set_back_is_followed_at_once_and_not_when_it_returns),
        plain(a_clock_that_an_operator_corrected_counts_after_an_hour),
        plain(a_clock_that_jumps_on_and_on_is_told_of_once_and_never_counts),
        plain(small_corrections_are_followed),
    };
    return cmocka_run_group_tests_name("steady", tests, NULL, NULL);
}
