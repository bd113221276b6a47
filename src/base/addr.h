/* addr - an IP address or network in one canonical binary form.
 * Pure; libc only. Does not know which addresses may be banned (special.h). */
#ifndef BANMESH_BASE_ADDR_H
#define BANMESH_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ADDR_TEXT_MAX 48 /* "ffff:...:ffff/128" and its NUL */

/* Canonical: IPv4-mapped IPv6 is folded to IPv4, bits behind the prefix are zero, an IPv4 address
 * stands in the first 4 bytes and the other 12 are zero. So two equal addresses are equal bytes. */
typedef struct {
    uint8_t family; /* 4 or 6 */
    uint8_t prefix; /* bits: 0..32 or 0..128 */
    uint8_t bytes[16];
} addr_t;

typedef enum {
    ADDR_OK = 0,
    ADDR_EMPTY,
    ADDR_TOO_LONG,
    ADDR_ZONE,       /* a zone id: "fe80::1%eth0" */
    ADDR_NOT_AN_IP,  /* neither dotted quad nor IPv6 */
    ADDR_BAD_PREFIX, /* not 0..32 or 0..128 */
} addr_error_t;

/* What an operator reads, e.g. "not an IPv4 or IPv6 address". */
const char *addr_error_text(addr_error_t error);

/* Parse "192.0.2.7", "2001:db8::1", each with or without "/prefix". No names, no zone ids. */
addr_error_t addr_parse(const char *text, addr_t *out);

/* From 4 or 16 bytes in network order and a prefix length in bits, e.g. off the wire. */
addr_error_t addr_from_bytes(const uint8_t *bytes, size_t size, uint32_t prefix, addr_t *out);

/* 4 or 16: how many of bytes[] belong to the address. */
static inline size_t addr_size(const addr_t *addr)
{
    return addr->family == 4 ? 4 : 16;
}

/* True for a /32 or /128: one host. */
static inline bool addr_is_host(const addr_t *addr)
{
    return addr->prefix == addr_size(addr) * 8;
}

static inline bool addr_equal(const addr_t *one, const addr_t *other)
{
    return memcmp(one, other, sizeof *one) == 0;
}

/* Every address of inner lies in outer. */
static inline bool addr_contains(const addr_t *outer, const addr_t *inner)
{
    size_t whole = outer->prefix / 8;
    unsigned rest = outer->prefix % 8;
    if (outer->family != inner->family || outer->prefix > inner->prefix ||
        memcmp(outer->bytes, inner->bytes, whole) != 0)
        return false;
    return rest == 0 || (outer->bytes[whole] ^ inner->bytes[whole]) >> (8 - rest) == 0;
}

/* Some address lies in both. */
static inline bool addr_overlaps(const addr_t *one, const addr_t *other)
{
    return addr_contains(one, other) || addr_contains(other, one);
}

/* The text, with "/prefix" unless it is one host. Returns buffer. */
const char *addr_print(const addr_t *addr, char buffer[static ADDR_TEXT_MAX]);

#endif
