#include "addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

const char *addr_error_text(addr_error_t error)
{
    switch (error) {
    case ADDR_OK:
        return "valid";
    case ADDR_EMPTY:
        return "empty, expected an IPv4 or IPv6 address";
    case ADDR_TOO_LONG:
        return "too long for an IPv4 or IPv6 address";
    case ADDR_ZONE:
        return "has a zone id, expected an address without '%'";
    case ADDR_NOT_AN_IP:
        return "not an IPv4 or IPv6 address";
    case ADDR_BAD_PREFIX:
        return "bad prefix length, expected 0..32 (IPv4) or 0..128 (IPv6)";
    }
    return "unknown";
}

/* The bits that byte i of an address keeps under a prefix length. */
static uint8_t mask_byte(uint32_t prefix, size_t i)
{
    uint32_t kept = prefix > i * 8 ? prefix - (uint32_t)(i * 8) : 0;
    if (kept >= 8)
        return 0xff;
    return (uint8_t)(0xff00u >> kept & 0xffu);
}

addr_error_t addr_from_bytes(const uint8_t *bytes, size_t size, uint32_t prefix, addr_t *out)
{
    if (size != 4 && size != 16)
        return ADDR_NOT_AN_IP;
    if (prefix > size * 8)
        return ADDR_BAD_PREFIX;
    if (size == 16 && prefix >= 96 && memcmp(bytes, mapped_prefix, sizeof mapped_prefix) == 0) {
        bytes += 12;
        size = 4;
        prefix -= 96;
    }
    memset(out, 0, sizeof *out);
    out->family = size == 4 ? 4 : 6;
    out->prefix = (uint8_t)prefix;
    for (size_t i = 0; i < size; i++)
        out->bytes[i] = bytes[i] & mask_byte(prefix, i);
    return ADDR_OK;
}

/* Decimal digits only, no sign, no leading zero, at most max. */
static bool parse_prefix(const char *text, uint32_t max, uint32_t *out)
{
    uint32_t value = 0;
    size_t length = strlen(text);
    if (length == 0 || length > 3 || (length > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *out = value;
    return value <= max;
}

addr_error_t addr_parse(const char *text, addr_t *out)
{
    char host[ADDR_TEXT_MAX];
    uint8_t bytes[16];
    size_t length = strlen(text);
    if (length == 0)
        return ADDR_EMPTY;
    if (strchr(text, '%') != NULL)
        return ADDR_ZONE;
    if (length >= sizeof host)
        return ADDR_TOO_LONG;

    const char *slash = strchr(text, '/');
    size_t host_length = slash != NULL ? (size_t)(slash - text) : length;
    memcpy(host, text, host_length);
    host[host_length] = '\0';

    size_t size = 4;
    if (inet_pton(AF_INET, host, bytes) != 1) {
        size = 16;
        if (inet_pton(AF_INET6, host, bytes) != 1)
            return ADDR_NOT_AN_IP;
    }
    uint32_t prefix = (uint32_t)size * 8;
    if (slash != NULL && !parse_prefix(slash + 1, prefix, &prefix))
        return ADDR_BAD_PREFIX;
    return addr_from_bytes(bytes, size, prefix, out);
}

const char *addr_print(const addr_t *addr, char buffer[static ADDR_TEXT_MAX])
{
    int family = addr->family == 4 ? AF_INET : AF_INET6;
    if (inet_ntop(family, addr->bytes, buffer, ADDR_TEXT_MAX) == NULL)
        snprintf(buffer, ADDR_TEXT_MAX, "?");
    if (!addr_is_host(addr)) {
        size_t used = strlen(buffer);
        snprintf(buffer + used, ADDR_TEXT_MAX - used, "/%u", (unsigned)addr->prefix);
    }
    return buffer;
}
