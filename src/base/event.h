/* event - what travels through the mesh: bans, pardons, allowances.
 * Shapes and checks only. Pure; libc only. Knows neither the wire nor any policy. */
#ifndef BANMESH_BASE_EVENT_H
#define BANMESH_BASE_EVENT_H

#include "addr.h"
#include "bytes.h"
#include "pubkey.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EVENT_NAME_MAX     64              /* bytes of a jail's or node's name */
#define EVENT_PORT_MAX     64              /* "ssh", "80,443", "0:65535" */
#define EVENT_PROTOCOL_MAX 16              /* "tcp" */
#define EVENT_TEXT_MAX     200             /* a reason or comment */
#define EVENT_BY_HAND      "by-hand"       /* in place of a jail: an operator banned */
#define EVENT_TIME_MAX_MS  253402300799999 /* 9999-12-31: anything later is nonsense */
#define EVENT_FOREVER      INT64_MAX

/* Bounds of an event's place in its origin's feeds. */
#define EVENT_SEQ_MAX   ((1ULL << 40) - 1)
#define EVENT_INDEX_MAX 511

/* Pardons and allowances: bans that one may name; the shortest prefixes, unless it names bans;
 * until when at most. */
#define EVENT_PARDON_BANS_MAX 8
#define EVENT_GRACE_V4_MIN    16
#define EVENT_GRACE_V6_MIN    32
#define EVENT_GRACE_MAX_MS    (3650LL * 24 * 3600 * 1000) /* behind its time */

typedef enum {
    EVENT_UNKNOWN = 0, /* of a newer version: kept, passed on, counted, not acted on */
    EVENT_BAN,
    EVENT_PARDON,
    EVENT_ALLOW,
} event_kind_t;

typedef struct {
    addr_t address;
    char jail[EVENT_NAME_MAX + 1];
    int64_t time_ms;    /* UTC, by the origin's clock */
    int64_t duration_s; /* -1: for ever */
    uint32_t failures;
    uint32_t bancount;
    char port[EVENT_PORT_MAX + 1];         /* may be empty */
    char protocol[EVENT_PROTOCOL_MAX + 1]; /* may be empty */
    char reason[EVENT_TEXT_MAX + 1];       /* of a ban by hand; may be empty */
} ban_t;

/* A feed: all batches of one origin under one numbering. */
typedef struct {
    pubkey_t origin; /* the key that signs them */
    uint64_t epoch;  /* a run of numbering: from the start of a daemon */
    uint32_t channel;
} feed_id_t;

/* As a byte string, for whatever is hashed with it: origin, epoch, channel, in network order. */
#define FEED_ID_BYTES (PUBKEY_BYTES + 8 + 4)
static inline void feed_id_put(uint8_t out[static FEED_ID_BYTES], const feed_id_t *id)
{
    memcpy(out, id->origin.bytes, PUBKEY_BYTES);
    put_u64(out + PUBKEY_BYTES, id->epoch);
    put_u32(out + PUBKEY_BYTES + 8, id->channel);
}

/* Less than, equal to or greater than 0: by origin, epoch and channel. */
static inline int feed_id_compare(const feed_id_t *one, const feed_id_t *other)
{
    int order = pubkey_compare(&one->origin, &other->origin);
    if (order == 0)
        order = (one->epoch > other->epoch) - (one->epoch < other->epoch);
    if (order == 0)
        order = (one->channel > other->channel) - (one->channel < other->channel);
    return order;
}

/* Where in its origin's feeds an event stands. */
typedef struct {
    uint64_t epoch;
    uint64_t seq;
    uint32_t channel;
    uint32_t index; /* in its batch, from 0 */
} event_position_t;

bool event_position_equal(const event_position_t *one, const event_position_t *other);

/* A pardon and an allowance have the same shape: a network, from when, until when, and why. Of one
 * origin, network and kind the one with the latest time counts; `until_ms == time_ms` says only
 * that those before it do not. A pardon that names bans is about these alone: it replaces no other
 * one, and none replaces it. */
typedef struct {
    addr_t network;
    int64_t time_ms;
    int64_t until_ms; /* 0 in a pardon: only bans up to time_ms. See grace_until_ms */
    char text[EVENT_TEXT_MAX + 1];
    /* Of a pardon: these bans of its own origin, by their identity, and no others; network is
     * their address. */
    event_position_t bans[EVENT_PARDON_BANS_MAX];
    size_t ban_count; /* 0: all that network and times cover */
} grace_t;

/* Until when at the latest one is judged by: more than ten years are cut off. */
static inline int64_t grace_until_ms(const grace_t *grace)
{
    int64_t latest_ms = grace->time_ms + EVENT_GRACE_MAX_MS;
    return grace->until_ms < latest_ms ? grace->until_ms : latest_ms;
}

typedef struct {
    event_kind_t kind;
    bool has_original;         /* a copy or a prolongation */
    event_position_t original; /* its true identity; of any other event that was read: its place */
    union {
        ban_t ban;
        grace_t grace;
    };
} event_t;

typedef enum {
    EVENT_OK = 0,
    EVENT_BAD_ADDRESS,
    EVENT_BAD_JAIL,
    EVENT_BAD_TIME,
    EVENT_BAD_DURATION,
    EVENT_BAD_PORT,
    EVENT_BAD_PROTOCOL,
    EVENT_BAD_TEXT,
    EVENT_TOO_WIDE,
    EVENT_BAD_POSITION,
    EVENT_TOO_MANY_BANS,
    EVENT_ERROR_COUNT,
} event_error_t;

/* One word for a counter ("bad-jail") and one sentence on what was expected. */
const char *event_error_name(event_error_t error);
const char *event_error_text(event_error_t error);

/* The name of a node or a jail: [A-Za-z0-9_.-]{1,64}. text need not end with NUL. */
bool event_name_valid(const char *text, size_t length);

/* Whether that stands in place of a jail: EVENT_BY_HAND, alone or with ".NAME" behind it. No jail
 * of fail2ban has such a name in the mesh. */
bool event_is_by_hand(const char *jail);

/* A port list or a protocol as fail2ban's jails write them; may be empty. */
bool event_port_valid(const char *text);
bool event_protocol_valid(const char *text);

/* Check every field of an event against what this header says. Unknown kinds are valid. */
event_error_t event_check(const event_t *event);
event_error_t event_check_ban(const ban_t *ban);

/* Whether one duration is longer than another; -1 is for ever. */
static inline bool ban_is_longer(int64_t duration_s, int64_t than_s)
{
    return than_s >= 0 && (duration_s < 0 || duration_s > than_s);
}

/* When a ban ends, ms since 1970; EVENT_FOREVER if it never does. */
static inline int64_t ban_end_ms(const ban_t *ban)
{
    return ban->duration_s < 0 ? EVENT_FOREVER : ban->time_ms + ban->duration_s * 1000;
}

#endif
