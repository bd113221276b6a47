/* bans: the table of held addresses against a model that is too simple to be wrong. */
#include "bans.h"
#include "support.h"

#include <sodium.h>
#include <string.h>

#define ADDRESSES  700
#define OPERATIONS 200000

/* The model: an array, searched from its start. */
typedef struct {
    addr_t addresses[ADDRESSES];
    int64_t until_ms[ADDRESSES]; /* 0: not known */
} model_t;

static model_t model;

/* Four shapes in turn, so that addresses differ in family, prefix or one byte only. */
static void fill_model(void)
{
    static const struct {
        size_t size;
        uint32_t prefix;
    } shapes[] = {{4, 32}, {4, 30}, {16, 128}, {16, 64}};
    memset(&model, 0, sizeof model);
    for (size_t i = 0; i < ADDRESSES; i++) {
        uint8_t bytes[16] = {0x20, (uint8_t)(i / 4 / 64), 0, (uint8_t)(i / 4 % 64 * 4)};
        addr_from_bytes(bytes, shapes[i % 4].size, shapes[i % 4].prefix, &model.addresses[i]);
    }
}

static size_t model_active(int64_t now_ms)
{
    size_t active = 0;
    for (size_t i = 0; i < ADDRESSES; i++)
        active += model.until_ms[i] > now_ms;
    return active;
}

static void model_sweep(int64_t now_ms)
{
    for (size_t i = 0; i < ADDRESSES; i++)
        if (model.until_ms[i] <= now_ms)
            model.until_ms[i] = 0;
}

static void assert_same(const bans_t *bans)
{
    for (size_t i = 0; i < ADDRESSES; i++)
        assert_int_equal(bans_until(bans, &model.addresses[i]), model.until_ms[i]);
}

TEST(random_operations_agree_with_the_model)
{
    uint64_t random = support_seed();
    bans_t *bans = bans_new();
    fill_model();
    for (int i = 0; i < OPERATIONS; i++) {
        size_t at = support_random(&random) % ADDRESSES;
        int64_t time_ms = (int64_t)(support_random(&random) % 1000);
        switch (support_random(&random) % 64) {
        case 0:
            bans_sweep(bans, (wall_t){time_ms});
            model_sweep(time_ms);
            break;
        case 1:
            assert_int_equal(bans_active(bans, (wall_t){time_ms}), model_active(time_ms));
            break;
        case 2:
            assert_same(bans);
            break;
        default:
            /* Every third forgets. */
            time_ms = support_random(&random) % 3 == 0 ? 0 : time_ms;
            assert_int_equal(bans_set(bans, &model.addresses[at], time_ms), model.until_ms[at]);
            model.until_ms[at] = time_ms;
        }
    }
    assert_same(bans);
    bans_destroy(&bans);
    assert_null(bans);
}

TEST(an_unknown_address_is_not_held)
{
    bans_t *bans = bans_new();
    addr_t address = support_addr("45.154.244.193");
    assert_int_equal(bans_until(bans, &address), 0);
    assert_int_equal(bans_set(bans, &address, 0), 0);
    assert_int_equal(bans_until(bans, &address), 0);
    assert_int_equal(bans_active(bans, (wall_t){0}), 0);
    bans_destroy(&bans);
}

TEST(an_address_and_a_network_that_begins_with_it_are_two)
{
    bans_t *bans = bans_new();
    addr_t host = support_addr("2a00:1450:4001::");
    addr_t network = support_addr("2a00:1450:4001::/64");
    bans_set(bans, &host, 100);
    assert_int_equal(bans_until(bans, &network), 0);
    bans_set(bans, &network, 200);
    assert_int_equal(bans_until(bans, &host), 100);
    assert_int_equal(bans_until(bans, &network), 200);
    bans_destroy(&bans);
}

static addr_t numbered(uint32_t number)
{
    uint8_t bytes[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                        (uint8_t)number};
    addr_t address;
    addr_from_bytes(bytes, sizeof bytes, 32, &address);
    return address;
}

TEST(a_hundred_thousand_addresses_are_held_and_swept)
{
    enum { COUNT = 100000 };
    bans_t *bans = bans_new();
    for (uint32_t i = 0; i < COUNT; i++) {
        addr_t address = numbered(i);
        assert_int_equal(bans_set(bans, &address, 1 + i), 0);
    }
    assert_int_equal(bans_active(bans, (wall_t){0}), COUNT);
    bans_sweep(bans, (wall_t){COUNT - 10});
    assert_int_equal(bans_active(bans, (wall_t){0}), 10);
    for (uint32_t i = 0; i < COUNT; i++) {
        addr_t address = numbered(i);
        assert_int_equal(bans_until(bans, &address), i >= COUNT - 10 ? 1 + i : 0);
    }
    bans_destroy(&bans);
}

TEST(what_has_ended_is_known_until_it_is_swept)
{
    bans_t *bans = bans_new();
    addr_t address = support_addr("45.154.244.193");
    bans_set(bans, &address, 100);
    assert_int_equal(bans_active(bans, (wall_t){100}), 0);
    assert_int_equal(bans_until(bans, &address), 100);
    bans_sweep(bans, (wall_t){100});
    assert_int_equal(bans_until(bans, &address), 0);
    bans_destroy(&bans);
}

static int start_sodium(void **state)
{
    (void)state;
    return sodium_init() == -1 ? -1 : 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(random_operations_agree_with_the_model),
        plain(an_unknown_address_is_not_held),
        plain(an_address_and_a_network_that_begins_with_it_are_two),
        plain(a_hundred_thousand_addresses_are_held_and_swept),
        plain(what_has_ended_is_known_until_it_is_swept),
    };
    return cmocka_run_group_tests_name("bans", tests, start_sodium, NULL);
}
