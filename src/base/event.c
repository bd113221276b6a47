#include "event.h"

#include <string.h>

typedef struct {
    const char *name;
    const char *text;
} error_words_t;

static const error_words_t error_words[] = {
    [EVENT_OK] = {"ok", "valid"},
    [EVENT_BAD_ADDRESS] = {"bad-address", "expected a canonical IPv4 or IPv6 address"},
    [EVENT_BAD_JAIL] = {"bad-jail", "expected 1 to 64 of A-Z a-z 0-9 _ . -"},
    [EVENT_BAD_TIME] = {"bad-time", "expected seconds since 1970, up to the year 9999"},
    [EVENT_BAD_DURATION] = {"bad-duration", "expected seconds, or -1 for ever"},
    [EVENT_BAD_PORT] = {"bad-port", "expected at most 64 of A-Z a-z 0-9 _ , : -"},
    [EVENT_BAD_PROTOCOL] = {"bad-protocol", "expected at most 16 of A-Z a-z 0-9 , -"},
    [EVENT_BAD_TEXT] = {"bad-text", "expected at most 200 bytes without control characters"},
    [EVENT_TOO_WIDE] = {"too-wide-network", "expected a prefix of at least /16, IPv6 /32"},
    [EVENT_BAD_POSITION] = {"bad-position", "expected epoch, seq and index of an event"},
    [EVENT_TOO_MANY_BANS] = {"too-many-bans", "expected at most 8 bans in one pardon"},
};

const char *event_error_name(event_error_t error)
{
    return error_words[error].name;
}

const char *event_error_text(event_error_t error)
{
    return error_words[error].text;
}

/* Not isalnum (): that depends on the locale. */
static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(const char *text, size_t length, const char *besides_alnum)
{
    for (size_t i = 0; i < length; i++)
        if (!is_alnum(text[i]) && (text[i] == '\0' || strchr(besides_alnum, text[i]) == NULL))
            return false;
    return true;
}

bool event_name_valid(const char *text, size_t length)
{
    return length >= 1 && length <= EVENT_NAME_MAX && all_of(text, length, "_.-");
}

bool event_is_by_hand(const char *jail)
{
    size_t length = sizeof EVENT_BY_HAND - 1;
    return strncmp(jail, EVENT_BY_HAND, length) == 0 &&
           (jail[length] == '\0' || jail[length] == '.');
}

bool event_port_valid(const char *text)
{
    size_t length = strnlen(text, EVENT_PORT_MAX + 1);
    return length <= EVENT_PORT_MAX && all_of(text, length, "_,:-");
}

bool event_protocol_valid(const char *text)
{
    size_t length = strnlen(text, EVENT_PROTOCOL_MAX + 1);
    return length <= EVENT_PROTOCOL_MAX && all_of(text, length, ",-");
}

static bool text_valid(const char *text)
{
    size_t length = strnlen(text, EVENT_TEXT_MAX + 1);
    if (length > EVENT_TEXT_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

static bool time_valid(int64_t time_ms)
{
    return time_ms >= 0 && time_ms <= EVENT_TIME_MAX_MS;
}

static bool address_valid(const addr_t *addr)
{
    addr_t canonical;
    return (addr->family == 4 || addr->family == 6) &&
           addr_from_bytes(addr->bytes, addr_size(addr), addr->prefix, &canonical) == ADDR_OK &&
           addr_equal(&canonical, addr);
}

event_error_t event_check_ban(const ban_t *ban)
{
    if (!address_valid(&ban->address))
        return EVENT_BAD_ADDRESS;
    if (!event_name_valid(ban->jail, strnlen(ban->jail, sizeof ban->jail)))
        return EVENT_BAD_JAIL;
    if (!time_valid(ban->time_ms))
        return EVENT_BAD_TIME;
    if (ban->duration_s < -1 || ban->duration_s > EVENT_TIME_MAX_MS / 1000)
        return EVENT_BAD_DURATION;
    if (!event_port_valid(ban->port))
        return EVENT_BAD_PORT;
    if (!event_protocol_valid(ban->protocol))
        return EVENT_BAD_PROTOCOL;
    if (!text_valid(ban->reason))
        return EVENT_BAD_TEXT;
    return EVENT_OK;
}

static bool position_valid(const event_position_t *position)
{
    return position->epoch >= 1 && position->epoch <= EVENT_TIME_MAX_MS && position->seq >= 1 &&
           position->seq <= EVENT_SEQ_MAX && position->index <= EVENT_INDEX_MAX;
}

/* An allowance names no bans. */
static event_error_t check_bans(event_kind_t kind, const grace_t *grace)
{
    if (grace->ban_count > (kind == EVENT_PARDON ? EVENT_PARDON_BANS_MAX : 0))
        return EVENT_TOO_MANY_BANS;
    for (size_t i = 0; i < grace->ban_count; i++)
        if (!position_valid(&grace->bans[i]))
            return EVENT_BAD_POSITION;
    return EVENT_OK;
}

static bool is_too_wide(const addr_t *network)
{
    return network->prefix < (network->family == 4 ? EVENT_GRACE_V4_MIN : EVENT_GRACE_V6_MIN);
}

static event_error_t check_grace(event_kind_t kind, const grace_t *grace)
{
    if (!address_valid(&grace->network))
        return EVENT_BAD_ADDRESS;
    if (grace->ban_count == 0 && is_too_wide(&grace->network))
        return EVENT_TOO_WIDE;
    if (!time_valid(grace->time_ms) || !time_valid(grace->until_ms))
        return EVENT_BAD_TIME;
    if (!text_valid(grace->text))
        return EVENT_BAD_TEXT;
    return check_bans(kind, grace);
}

event_error_t event_check(const event_t *event)
{
    switch (event->kind) {
    case EVENT_BAN:
        return event_check_ban(&event->ban);
    case EVENT_PARDON:
    case EVENT_ALLOW:
        return check_grace(event->kind, &event->grace);
    case EVENT_UNKNOWN:
        break;
    }
    return EVENT_OK;
}

bool event_position_equal(const event_position_t *one, const event_position_t *other)
{
    return one->epoch == other->epoch && one->channel == other->channel && one->seq == other->seq &&
           one->index == other->index;
}
