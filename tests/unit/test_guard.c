/* guard: tests/cases/guard.txt holds its decisions. */
#include "guard.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1795288025123

static bool seen[GUARD_OUTCOME_COUNT];

typedef struct {
    guard_case_t in;
    addr_t address;
    char jail[EVENT_NAME_MAX + 1];
    char shared_jail[EVENT_NAME_MAX + 1];
} scene_t;

static int64_t seconds(const char *value)
{
    return strtoll(value, NULL, 10);
}

static void set_ip(scene_t *scene, const char *value)
{
    scene->address = support_addr(value);
}

static void set_jail(scene_t *scene, const char *value)
{
    snprintf(scene->jail, sizeof scene->jail, "%s", value);
}

static void set_age(scene_t *scene, const char *value)
{
    scene->in.time_ms = NOW_MS - seconds(value) * MS_PER_S;
}

static void set_duration(scene_t *scene, const char *value)
{
    scene->in.duration_s = seconds(value);
}

static void set_ourselves(scene_t *scene, const char *value)
{
    scene->in.from_ourselves = strcmp(value, "yes") == 0;
}

static void set_by_hand(scene_t *scene, const char *value)
{
    scene->in.by_hand = strcmp(value, "yes") == 0;
}

static void set_protected(scene_t *scene, const char *value)
{
    scene->in.protected_by = strcmp(value, "yes") == 0 ? "gateway" : NULL;
}

static void set_void(scene_t *scene, const char *value)
{
    scene->in.void_by = strcmp(value, "pardon") == 0 ? EVENT_PARDON : EVENT_ALLOW;
}

static bool is_yes(const char *value)
{
    return strcmp(value, "yes") == 0;
}

static void set_undone(scene_t *scene, const char *value)
{
    scene->in.undone = is_yes(value);
}

static void set_lifted(scene_t *scene, const char *value)
{
    scene->in.lifted_by_hand = is_yes(value);
}

static void set_waits(scene_t *scene, const char *value)
{
    scene->in.waits = is_yes(value);
}

static void set_operator(scene_t *scene, const char *value)
{
    scene->in.by_operator = is_yes(value);
}

static void set_wanted(scene_t *scene, const char *value)
{
    scene->in.jail_wanted = is_yes(value);
}

static void set_origins(scene_t *scene, const char *value)
{
    scene->in.origins = seconds(value);
}

static void set_quorum(scene_t *scene, const char *value)
{
    scene->in.quorum = seconds(value);
}

static void set_widest(scene_t *scene, const char *value)
{
    scene->in.widest_v4 = scene->in.widest_v6 = seconds(value);
}

static void set_steady(scene_t *scene, const char *value)
{
    scene->in.steady.ms = NOW_MS + seconds(value) * MS_PER_S;
}

static void set_shared(scene_t *scene, const char *value)
{
    snprintf(scene->shared_jail, sizeof scene->shared_jail, "%s", value);
}

static void set_special(scene_t *scene, const char *value)
{
    scene->in.allow_special = strcmp(value, "yes") == 0;
}

static void set_max_ban(scene_t *scene, const char *value)
{
    scene->in.max_ban_s = seconds(value);
}

static const struct {
    const char *name;
    void (*set)(scene_t *scene, const char *value);
} inputs[] = {
    {"ip", set_ip},
    {"jail", set_jail},
    {"age", set_age},
    {"duration", set_duration},
    {"ourselves", set_ourselves},
    {"by-hand", set_by_hand},
    {"protected", set_protected},
    {"void", set_void},
    {"steady", set_steady},
    {"shared", set_shared},
    {"special", set_special},
    {"max-ban", set_max_ban},
    {"undone", set_undone},
    {"lifted", set_lifted},
    {"waits", set_waits},
    {"operator", set_operator},
    {"wanted", set_wanted},
    {"origins", set_origins},
    {"quorum", set_quorum},
    {"widest", set_widest},
};

static void set_input(scene_t *scene, char *field)
{
    char *value = strchr(field, '=');
    if (value == NULL)
        fail_msg("%s: expected name=value", field);
    *value++ = '\0';
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        if (strcmp(inputs[i].name, field) == 0) {
            inputs[i].set(scene, value);
            return;
        }
    fail_msg("%s: unknown input", field);
}

static void make_ordinary(scene_t *scene)
{
    memset(scene, 0, sizeof *scene);
    scene->in = (guard_case_t){
        .address = &scene->address,
        .jail = scene->jail,
        .now = {NOW_MS},
        .steady = {NOW_MS},
        .shared_jail = scene->shared_jail,
        .jail_wanted = true,
        .widest_v4 = 32,
        .widest_v6 = 64,
        .origins = 1,
        .quorum = 1,
        .max_ban_s = 31536000,
    };
    set_ip(scene, "45.154.244.193");
    set_jail(scene, "sshd");
    set_age(scene, "10");
    set_duration(scene, "600");
    set_shared(scene, "shared");
}

static void print_seconds(char *out, size_t size, const char *name, int64_t ms)
{
    snprintf(out, size, " %s=%" PRId64, name, (ms - NOW_MS) / MS_PER_S);
}

static void decide_one(char *input, char *out, size_t size)
{
    scene_t scene;
    char *rest = input;
    make_ordinary(&scene);
    for (char *field = strsep(&rest, " "); field != NULL; field = strsep(&rest, " "))
        if (*field != '\0')
            set_input(&scene, field);
    guard_verdict_t verdict = guard_decide(&scene.in);
    seen[verdict.outcome] = true;
    size_t used = (size_t)snprintf(out, size, "%s", guard_outcome_name(verdict.outcome));
    print_seconds(out + used, size - used, "until", verdict.until_ms);
}

TEST(the_guard_decides_as_the_table_says)
{
    support_table("guard.txt", decide_one);
}

/* What is said of an event without asking the guard. */
static bool is_said_before(guard_outcome_t outcome)
{
    return outcome == GUARD_MALFORMED || outcome == GUARD_UNKNOWN_KIND || outcome == GUARD_LEFT_OUT;
}

TEST(the_table_shows_every_outcome)
{
    for (int outcome = 0; outcome < GUARD_OUTCOME_COUNT; outcome++)
        if (!seen[outcome] && !is_said_before((guard_outcome_t)outcome))
            fail_msg("tests/cases/guard.txt has no case for %s",
                     guard_outcome_name((guard_outcome_t)outcome));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(the_guard_decides_as_the_table_says),
        plain(the_table_shows_every_outcome),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
