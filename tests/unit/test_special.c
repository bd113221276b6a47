/* special: which addresses nobody may ban, and that no network around one slips through. */
#include "special.h"
#include "support.h"

#include <stdio.h>

static void name_one(char *input, char *out, size_t size)
{
    addr_t addr = support_addr(input);
    const char *name = special_name(&addr);
    snprintf(out, size, "%s", name != NULL ? name : "-");
}

TEST(addresses_are_special_as_the_table_says)
{
    support_table("special.txt", name_one);
}

/* Every network around a special host is special, whatever its width. */
static void widen_one(char *input, char *out, size_t size)
{
    addr_t host = support_addr(input);
    name_one(input, out, size);
    if (special_name(&host) == NULL)
        return;
    for (uint32_t prefix = host.prefix; prefix > 0; prefix--) {
        addr_t network;
        char text[ADDR_TEXT_MAX];
        addr_from_bytes(host.bytes, addr_size(&host), prefix - 1, &network);
        if (special_name(&network) == NULL)
            snprintf(out, size, "%s contains it and is not special", addr_print(&network, text));
    }
}

TEST(a_network_around_a_special_address_is_special)
{
    support_table("special.txt", widen_one);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        plain(addresses_are_special_as_the_table_says),
        plain(a_network_around_a_special_address_is_special),
    };
    return cmocka_run_group_tests_name("special", tests, NULL, NULL);
}
