/* addr: what an address may look like, and its one canonical form. */
#include "support.h"

#include <stdio.h>
#include <string.h>

static void parse_one(char *input, char *out, size_t size)
{
    addr_t addr;
    char text[ADDR_TEXT_MAX];
    addr_error_t error = addr_parse(input, &addr);
    if (error != ADDR_OK)
        snprintf(out, size, "error: %s", addr_error_text(error));
    else
        snprintf(out, size, "%s", addr_print(&addr, text));
}

TEST(addresses_parse_as_the_table_says)
{
    support_table("addresses.txt", parse_one);
}

/* Print and parse again: the same bytes. */
static void print_and_parse(char *input, char *out, size_t size)
{
    addr_t addr;
    parse_one(input, out, size);
    if (addr_parse(input, &addr) != ADDR_OK)
        return;
    addr_t again = support_addr(out);
    if (memcmp(&addr, &again, sizeof addr) != 0)
        snprintf(out, size, "other bytes after printing");
}

TEST(printed_addresses_parse_to_the_same_bytes)
{
    support_table("addresses.txt", print_and_parse);
}

TEST(bytes_need_a_size_of_4_or_16)
{
    static const uint8_t bytes[17];
    addr_t addr;
    for (size_t size = 0; size <= sizeof bytes; size++)
        assert_int_equal(addr_from_bytes(bytes, size, 0, &addr),
                         size == 4 || size == 16 ? ADDR_OK : ADDR_NOT_AN_IP);
}

TEST(bytes_need_a_prefix_no_longer_than_they_are)
{
    static const uint8_t bytes[16];
    addr_t addr;
    assert_int_equal(addr_from_bytes(bytes, 4, 32, &addr), ADDR_OK);
    assert_int_equal(addr_from_bytes(bytes, 4, 33, &addr), ADDR_BAD_PREFIX);
    assert_int_equal(addr_from_bytes(bytes, 16, 128, &addr), ADDR_OK);
    assert_int_equal(addr_from_bytes(bytes, 16, 129, &addr), ADDR_BAD_PREFIX);
    assert_int_equal(addr_from_bytes(bytes, 16, UINT32_MAX, &addr), ADDR_BAD_PREFIX);
}

TEST(every_prefix_keeps_exactly_its_bits)
{
    uint8_t ones[16];
    memset(ones, 0xff, sizeof ones);
    for (uint32_t prefix = 0; prefix <= 128; prefix++) {
        addr_t addr;
        assert_int_equal(addr_from_bytes(ones, 16, prefix, &addr), ADDR_OK);
        for (uint32_t bit = 0; bit < 128; bit++)
            assert_int_equal(addr.bytes[bit / 8] >> (7 - bit % 8) & 1, bit < prefix);
    }
}

TEST(an_ipv4_address_leaves_twelve_zero_bytes)
{
    static const uint8_t zero[12];
    addr_t addr = support_addr("255.255.255.255");
    assert_int_equal(addr_size(&addr), 4);
    assert_memory_equal(addr.bytes + 4, zero, sizeof zero);
    addr = support_addr("::ffff:255.255.255.255");
    assert_int_equal(addr_size(&addr), 4);
    assert_memory_equal(addr.bytes + 4, zero, sizeof zero);
}

static bool contains(const char *outer, const char *inner)
{
    addr_t one = support_addr(outer);
    addr_t other = support_addr(inner);
    return addr_contains(&one, &other);
}

TEST(a_network_contains_itself_and_what_is_narrower)
{
    assert_true(contains("192.0.2.0/24", "192.0.2.7"));
    assert_true(contains("192.0.2.0/24", "192.0.2.0/24"));
    assert_true(contains("0.0.0.0/0", "255.255.255.255"));
    assert_true(contains("192.0.2.7", "192.0.2.7"));
    assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
    assert_true(contains("192.0.2.0/24", "::ffff:192.0.2.7"));
    assert_false(contains("192.0.2.0/24", "192.0.0.0/16"));
    assert_false(contains("10.0.0.0/24", "10.0.0.0/8"));
    assert_false(contains("192.0.2.0/24", "192.0.3.0"));
    assert_false(contains("192.0.2.128/25", "192.0.2.127"));
    assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
}

TEST(families_do_not_contain_each_other)
{
    assert_false(contains("::/0", "192.0.2.7"));
    assert_false(contains("0.0.0.0/0", "::1"));
}

TEST(overlap_is_containment_in_either_direction)
{
    addr_t wide = support_addr("10.0.0.0/8");
    addr_t narrow = support_addr("10.1.2.3");
    addr_t other = support_addr("11.0.0.0/8");
    assert_true(addr_overlaps(&wide, &narrow));
    assert_true(addr_overlaps(&narrow, &wide));
    assert_false(addr_overlaps(&wide, &other));
}

TEST(equal_means_family_bytes_and_prefix)
{
    addr_t host = support_addr("192.0.2.0");
    addr_t network = support_addr("192.0.2.0/24");
    addr_t mapped = support_addr("::ffff:192.0.2.0");
    addr_t v4_zero = support_addr("0.0.0.0/0");
    addr_t v6_zero = support_addr("::/0");
    assert_false(addr_equal(&host, &network));
    assert_true(addr_equal(&host, &mapped));
    assert_false(addr_equal(&v4_zero, &v6_zero));
}

TEST(a_host_is_a_full_prefix)
{
    addr_t v4 = support_addr("192.0.2.7");
    addr_t v4_network = support_addr("192.0.2.0/31");
    addr_t v6 = support_addr("2001:db8::1");
    addr_t v6_network = support_addr("2001:db8::/32");
    assert_true(addr_is_host(&v4));
    assert_false(addr_is_host(&v4_network));
    assert_true(addr_is_host(&v6));
    assert_false(addr_is_host(&v6_network));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(addresses_parse_as_the_table_says),
        plain(printed_addresses_parse_to_the_same_bytes),
        plain(bytes_need_a_size_of_4_or_16),
        plain(bytes_need_a_prefix_no_longer_than_they_are),
        plain(every_prefix_keeps_exactly_its_bits),
        plain(an_ipv4_address_leaves_twelve_zero_bytes),
        plain(a_network_contains_itself_and_what_is_narrower),
        plain(families_do_not_contain_each_other),
        plain(overlap_is_containment_in_either_direction),
        plain(equal_means_family_bytes_and_prefix),
        plain(a_host_is_a_full_prefix),
    };
    return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
