/* nid: the numbers that every host and every version must compute alike. Written down here once:
 * a change of any of them would split histories. */
#include "nid.h"
#include "support.h"

#include <string.h>

static int64_t nid(uint8_t fill, uint64_t epoch, uint32_t channel, uint64_t seq, uint32_t index)
{
    pubkey_t origin;
    event_position_t position = {.epoch = epoch, .channel = channel, .seq = seq, .index = index};
    memset(origin.bytes, fill, PUBKEY_BYTES);
    return nid_of(&origin, &position);
}

TEST(nids_are_the_golden_numbers)
{
    /* Made with Python's hashlib.blake2b (digest_size=16), not with our code. */
    assert_int_equal(nid(0, 0, 0, 0, 0), 5641229100441369750);
    assert_int_equal(nid(1, 1795288000000, 0, 1, 0), 6015976237849414011);
    assert_int_equal(nid(1, 1795288000000, 0, 1, 1), 3617589071034061017);
    assert_int_equal(nid(255, UINT64_MAX, UINT32_MAX, UINT64_MAX, UINT32_MAX), 24160254315618142);
    assert_int_equal(nid(171, 1795288000000, 1, 1099511627775, 511), 702322282016345390);
}

TEST(nids_are_never_negative)
{
    for (uint64_t seq = 1; seq <= 2000; seq++)
        assert_true(nid(7, 1795288000000, 0, seq, 0) >= 0);
}

TEST(every_part_of_a_position_makes_another_nid)
{
    int64_t base = nid(1, 2, 3, 4, 5);
    assert_int_equal(nid(1, 2, 3, 4, 5), base);
    assert_int_not_equal(nid(2, 2, 3, 4, 5), base);
    assert_int_not_equal(nid(1, 3, 3, 4, 5), base);
    assert_int_not_equal(nid(1, 2, 4, 4, 5), base);
    assert_int_not_equal(nid(1, 2, 3, 5, 5), base);
    assert_int_not_equal(nid(1, 2, 3, 4, 6), base);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(nids_are_the_golden_numbers),
        plain(nids_are_never_negative),
        plain(every_part_of_a_position_makes_another_nid),
    };
    return cmocka_run_group_tests_name("nid", tests, NULL, NULL);
}
