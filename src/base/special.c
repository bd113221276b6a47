#include "special.h"

typedef struct {
    addr_t block;
    const char *name;
} special_block_t;

#define V4(a, b, c, d, bits, name)                                                                 \
    {                                                                                              \
        {4, bits, {a, b, c, d}}, name                                                              \
    }
#define V6(a, b, c, d, e, f, bits, name)                                                           \
    {                                                                                              \
        {6, bits, {a, b, c, d, e, f}}, name                                                        \
    }

static const special_block_t special_blocks[] = {
    V4(0, 0, 0, 0, 8, "this network"),
    V4(10, 0, 0, 0, 8, "private"),
    V4(100, 64, 0, 0, 10, "carrier-grade NAT"),
    V4(127, 0, 0, 0, 8, "loopback"),
    V4(169, 254, 0, 0, 16, "link-local"),
    V4(172, 16, 0, 0, 12, "private"),
    V4(192, 0, 0, 0, 24, "IETF protocol assignments"),
    V4(192, 0, 2, 0, 24, "documentation"),
    V4(192, 31, 196, 0, 24, "AS112"),
    V4(192, 52, 193, 0, 24, "AMT"),
    V4(192, 88, 99, 0, 24, "6to4 relay anycast"),
    V4(192, 168, 0, 0, 16, "private"),
    V4(192, 175, 48, 0, 24, "AS112"),
    V4(198, 18, 0, 0, 15, "benchmarking"),
    V4(198, 51, 100, 0, 24, "documentation"),
    V4(203, 0, 113, 0, 24, "documentation"),
    V4(224, 0, 0, 0, 4, "multicast"),
    V4(240, 0, 0, 0, 4, "reserved"),
    V6(0x20, 0x01, 0x00, 0, 0, 0, 23, "IETF protocol assignments"),
    V6(0x20, 0x01, 0x0d, 0xb8, 0, 0, 32, "documentation"),
    V6(0x20, 0x02, 0, 0, 0, 0, 16, "6to4"),
    V6(0x26, 0x20, 0x00, 0x4f, 0x80, 0, 48, "AS112"),
    V6(0x3f, 0xff, 0, 0, 0, 0, 20, "documentation"),
};

/* All that IANA has given out as global unicast; the rest of IPv6 is never bannable. */
static const addr_t v6_global_unicast = {6, 3, {0x20}};

const char *special_name(const addr_t *addr)
{
    for (size_t i = 0; i < sizeof special_blocks / sizeof special_blocks[0]; i++)
        if (addr_overlaps(&special_blocks[i].block, addr))
            return special_blocks[i].name;
    if (addr->family == 6 && !addr_contains(&v6_global_unicast, addr))
        return "not global unicast";
    return NULL;
}
