/* index: the table of bans against a model that is too simple to be wrong. */
#include "index.h"
#include "support.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define ADDRESSES  300
#define ORIGINS    3
#define PER_PAIR   3 /* bans of one origin on one address */
#define OPERATIONS 100000

static index_t *all;

/* The model: an array with a place for each ban that there may be. */
typedef struct {
    bool runs;
    uint32_t duration_s;
} place_t;

static place_t model[ADDRESSES][ORIGINS][PER_PAIR];
static uint32_t model_due_s[ADDRESSES];

static int start(void **state)
{
    (void)state;
    all = index_new();
    memset(model, 0, sizeof model);
    memset(model_due_s, 0, sizeof model_due_s);
    for (uint8_t i = 0; i < ORIGINS; i++) {
        pubkey_t key = {{i}};
        assert_int_equal(index_origin(all, &key), i);
        assert_int_equal(index_origin(all, &key), i);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    index_destroy(&all);
    assert_null(all);
    return 0;
}

#define with_index(name) cmocka_unit_test_setup_teardown(name, start, end)

/* Four shapes in turn, so that addresses differ in family, prefix or one byte only. */
static addr_t numbered(size_t i)
{
    static const struct {
        size_t size;
        uint32_t prefix;
    } shapes[] = {{4, 32}, {4, 30}, {16, 128}, {16, 64}};
    uint8_t bytes[16] = {0x20, (uint8_t)(i / 4 / 64), 0, (uint8_t)(i / 4 % 64 * 4)};
    addr_t address;
    addr_from_bytes(bytes, shapes[i % 4].size, shapes[i % 4].prefix, &address);
    return address;
}

static int64_t nid(size_t address, size_t origin, size_t number)
{
    return (int64_t)((address * ORIGINS + origin) * PER_PAIR + number);
}

static index_entry_t entry_of(const addr_t *address, size_t i, size_t origin, size_t number)
{
    return (index_entry_t){
        .address = address,
        .jail = number == 0 ? "sshd" : "recidive",
        .nid = nid(i, origin, number),
        .time_ms = 1000,
        .duration_s = 60,
        .origin = (uint16_t)origin,
    };
}

static const index_ban_t *find(size_t i, size_t origin, size_t number)
{
    addr_t address = numbered(i);
    uint32_t slot = index_find(all, &address);
    const index_ban_t *ban = slot != INDEX_NONE ? index_first(all, slot) : NULL;
    while (ban != NULL && ban->nid != nid(i, origin, number))
        ban = index_next(all, ban);
    return ban;
}

static void put(size_t i, size_t origin, size_t number, uint32_t duration_s)
{
    addr_t address = numbered(i);
    index_entry_t entry = entry_of(&address, i, origin, number);
    place_t *place = &model[i][origin][number];
    uint32_t slot;
    entry.duration_s = duration_s;
    index_result_t expected = !place->runs                     ? INDEX_ADDED
                              : duration_s > place->duration_s ? INDEX_LONGER
                                                               : INDEX_KNOWN;
    assert_int_equal(index_put(all, &entry, &slot), expected);
    if (expected != INDEX_KNOWN)
        *place = (place_t){true, duration_s};
    assert_true(addr_equal(&index_slot(all, slot)->address, &address));
}

static void take_out(size_t i, size_t origin, size_t number)
{
    addr_t address = numbered(i);
    const index_ban_t *ban = find(i, origin, number);
    if (ban == NULL)
        return;
    uint32_t slot = index_find(all, &address);
    index_remove(all, slot, ban);
    model[i][origin][number].runs = false;
    index_tidy(all, slot);
    if (index_find(all, &address) == INDEX_NONE)
        model_due_s[i] = 0;
}

static void set_due(size_t i, uint32_t due_s)
{
    addr_t address = numbered(i);
    uint32_t slot = index_find(all, &address);
    if (slot == INDEX_NONE)
        return;
    index_set_due(all, slot, due_s);
    model_due_s[i] = due_s;
}

static void check_all(void)
{
    size_t bans = 0;
    size_t addresses = 0;
    for (size_t i = 0; i < ADDRESSES; i++) {
        size_t here = 0;
        for (size_t origin = 0; origin < ORIGINS; origin++)
            for (size_t number = 0; number < PER_PAIR; number++) {
                const index_ban_t *ban = find(i, origin, number);
                assert_int_equal(ban != NULL, model[i][origin][number].runs);
                if (ban == NULL)
                    continue;
                here++;
                assert_int_equal(ban->duration_s, model[i][origin][number].duration_s);
                assert_string_equal(index_jail(all, ban), number == 0 ? "sshd" : "recidive");
            }
        bans += here;
        addresses += here > 0;
    }
    assert_int_equal(index_bans(all), bans);
    assert_int_equal(index_addresses(all), addresses);
}

/* All whose time has come, each once, and no others. */
static void check_due(uint32_t now_s)
{
    uint32_t slot;
    while ((slot = index_due(all, (wall_t){(int64_t)now_s * MS_PER_S})) != INDEX_NONE) {
        size_t i = 0;
        addr_t address = numbered(i);
        while (!addr_equal(&address, &index_slot(all, slot)->address))
            address = numbered(++i);
        assert_in_range(model_due_s[i], 1, now_s);
        model_due_s[i] = 0;
    }
    for (size_t i = 0; i < ADDRESSES; i++)
        assert_true(model_due_s[i] == 0 || model_due_s[i] > now_s);
}

TEST(random_operations_agree_with_the_model)
{
    uint64_t random = support_seed();
    uint32_t now_s = 1795288025;
    check_due(now_s);
    for (int step = 0; step < OPERATIONS; step++) {
        size_t i = support_random(&random) % ADDRESSES;
        size_t origin = support_random(&random) % ORIGINS;
        size_t number = support_random(&random) % PER_PAIR;
        uint64_t what = support_random(&random) % 1000;
        if (what < 400)
            put(i, origin, number, (uint32_t)(support_random(&random) % 100));
        else if (what < 800)
            take_out(i, origin, number);
        else if (what < 990)
            set_due(i, now_s + 1 + (uint32_t)(support_random(&random) % 10000));
        else if (what < 998)
            check_due(now_s += (uint32_t)(support_random(&random) % 1000));
        else if (what < 999)
            check_due(now_s += 100000); /* the clock jumps */
        else
            check_all();
    }
    check_all();
}

TEST(a_clock_that_goes_back_leaves_nothing_behind)
{
    uint32_t now_s = 1795288025;
    addr_t address = numbered(0);
    check_due(now_s);
    put(0, 0, 0, 60);
    check_due(now_s - 86400);
    set_due(0, now_s - 86400 + 10);
    check_due(now_s - 86400 + 9);
    check_due(now_s - 86400 + 10);
    assert_int_equal(index_due_s(all, index_find(all, &address)), 0);
}

TEST(who_has_too_many_finds_no_place)
{
    uint32_t slot;
    const index_limits_t limits = {.all = 5, .of_origin = 3};
    index_set_limits(all, &limits);
    for (size_t i = 0; i < 5; i++) {
        addr_t address = numbered(i);
        index_entry_t entry = entry_of(&address, i, 0, 0);
        assert_int_equal(index_put(all, &entry, &slot), i < 3 ? INDEX_ADDED : INDEX_LEFT_OUT);
        assert_int_equal(slot == INDEX_NONE, i >= 3);
    }
    assert_int_equal(index_origin_at(all, 0)->bans, 3);
    assert_int_equal(index_origin_at(all, 0)->left_out, 2);
    for (size_t i = 0; i < 3; i++) {
        addr_t address = numbered(i);
        index_entry_t entry = entry_of(&address, i, 1, 0);
        assert_int_equal(index_put(all, &entry, &slot), i < 2 ? INDEX_ADDED : INDEX_LEFT_OUT);
    }
    index_forget_left_out(all);
    assert_int_equal(index_origin_at(all, 1)->left_out, 0);
}

TEST(an_origin_has_so_many_bans_on_one_address_and_others_too)
{
    uint32_t slot;
    addr_t address = numbered(0);
    for (size_t i = 0; i < 2 * INDEX_PER_ADDRESS; i++) {
        index_entry_t entry = entry_of(&address, i, 0, 0);
        assert_int_equal(index_put(all, &entry, &slot),
                         i < INDEX_PER_ADDRESS ? INDEX_ADDED : INDEX_LEFT_OUT);
    }
    index_entry_t other = entry_of(&address, 1, 1, 1);
    assert_int_equal(index_put(all, &other, &slot), INDEX_ADDED);
    assert_int_equal(index_addresses(all), 1);
}

TEST(an_origin_that_makes_up_jails_takes_no_name_from_others)
{
    uint32_t slot;
    char jail[EVENT_NAME_MAX + 1];
    for (size_t i = 0; i < 3000; i++) {
        addr_t address = support_addr("45.154.0.0");
        address.bytes[2] = (uint8_t)(i >> 8);
        address.bytes[3] = (uint8_t)i;
        index_entry_t entry = entry_of(&address, i, 0, 0);
        snprintf(jail, sizeof jail, "jail%zu", i);
        entry.jail = jail;
        index_put(all, &entry, &slot);
        assert_string_equal(index_jail(all, index_first(all, slot)),
                            i < 1000 ? jail : "many-jails");
    }
    addr_t address = numbered(0);
    index_entry_t entry = entry_of(&address, 0, 1, 0);
    entry.jail = "jail2999";
    index_put(all, &entry, &slot);
    assert_string_equal(index_jail(all, index_first(all, slot)), "jail2999");
}

TEST(what_was_clamped_stays_so_and_what_was_not_is_corrected)
{
    uint32_t slot;
    addr_t address = numbered(0);
    index_entry_t entry = entry_of(&address, 0, 0, 0);
    index_put(all, &entry, &slot);
    entry.time_ms = 5000;
    entry.is_clamped = true;
    assert_int_equal(index_put(all, &entry, &slot), INDEX_KNOWN);
    assert_int_equal(index_first(all, slot)->time_ms, 1000);
    entry.is_clamped = false;
    assert_int_equal(index_put(all, &entry, &slot), INDEX_KNOWN);
    assert_int_equal(index_first(all, slot)->time_ms, 5000);
    entry.duration_s = -1;
    assert_int_equal(index_put(all, &entry, &slot), INDEX_LONGER);
    assert_int_equal(index_duration_s(index_first(all, slot)), -1);
}

TEST(what_is_held_is_not_forgotten_with_its_last_ban)
{
    addr_t address = numbered(0);
    put(0, 0, 0, 60);
    uint32_t slot = index_find(all, &address);
    index_slot(all, slot)->held_until_s = 1;
    index_remove(all, slot, index_first(all, slot));
    model[0][0][0].runs = false;
    index_tidy(all, slot);
    assert_int_equal(index_find(all, &address), slot);
    index_slot(all, slot)->held_until_s = 0;
    index_tidy(all, slot);
    assert_int_equal(index_find(all, &address), INDEX_NONE);
}

static addr_t in_net(unsigned net, unsigned host)
{
    uint8_t bytes[16] = {0x20, 1, 0xd, 0xb8, 0, 0, (uint8_t)(net >> 8), (uint8_t)net};
    addr_t address;
    bytes[14] = (uint8_t)(host >> 8);
    bytes[15] = (uint8_t)host;
    addr_from_bytes(bytes, sizeof bytes, 128, &address);
    return address;
}

static size_t count_near(uint32_t slot, unsigned net)
{
    size_t count = 0;
    for (uint32_t at = index_near(all, slot, INDEX_NONE); at != INDEX_NONE;
         at = index_near(all, slot, at)) {
        assert_true(at != slot);
        assert_int_equal(index_slot(all, at)->address.bytes[7], (uint8_t)net);
        count++;
    }
    return count;
}

/* Nets of 0 to 19 addresses; made known before or after they came, some of them gone. */
static void check_near(bool known_before)
{
    index_know_nets(all, known_before);
    for (unsigned net = 1; net < 20; net++)
        for (unsigned host = 0; host < net; host++) {
            addr_t address = in_net(net, host);
            index_make(all, &address);
        }
    index_make(all, &(addr_t){.family = 4, .prefix = 32, .bytes = {45, 1, 2, 3}});
    index_know_nets(all, true);
    for (unsigned net = 1; net < 20; net++) {
        addr_t address = in_net(net, net - 1);
        assert_int_equal(count_near(index_find(all, &address), net), net - 1);
        addr_t first = in_net(net, 0);
        index_tidy(all, index_find(all, &first));
        if (net > 1)
            assert_int_equal(count_near(index_find(all, &address), net), net - 2);
    }
    index_know_nets(all, false);
    addr_t address = in_net(9, 3);
    assert_int_equal(index_near(all, index_find(all, &address), INDEX_NONE), INDEX_NONE);
}

TEST(addresses_of_one_net_are_found_from_each_of_them)
{
    check_near(true);
}

TEST(nets_are_found_when_they_are_asked_for_later)
{
    check_near(false);
}

TEST(those_that_wait_are_counted_at_their_origin)
{
    put(0, 0, 0, 60);
    put(0, 0, 1, 60);
    addr_t address = numbered(0);
    index_ban_t *ban = index_first(all, index_find(all, &address));
    index_set_waits(all, ban, true);
    index_set_waits(all, ban, true);
    assert_int_equal(index_origin_at(all, ban->origin)->waiting, 1);
    index_set_waits(all, ban, false);
    assert_int_equal(index_origin_at(all, ban->origin)->waiting, 0);
    index_set_waits(all, ban, true);
    uint16_t origin = ban->origin;
    index_remove(all, index_find(all, &address), ban);
    assert_int_equal(index_origin_at(all, origin)->waiting, 0);
}

static int start_sodium(void **state)
{
    (void)state;
    return sodium_init() == -1 ? -1 : 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_index(random_operations_agree_with_the_model),
        with_index(a_clock_that_goes_back_leaves_nothing_behind),
        with_index(who_has_too_many_finds_no_place),
        with_index(an_origin_has_so_many_bans_on_one_address_and_others_too),
        with_index(an_origin_that_makes_up_jails_takes_no_name_from_others),
        with_index(what_was_clamped_stays_so_and_what_was_not_is_corrected),
        with_index(what_is_held_is_not_forgotten_with_its_last_ban),
        with_index(addresses_of_one_net_are_found_from_each_of_them),
        with_index(nets_are_found_when_they_are_asked_for_later),
        with_index(those_that_wait_are_counted_at_their_origin),
    };
    return cmocka_run_group_tests_name("index", tests, start_sodium, NULL);
}
