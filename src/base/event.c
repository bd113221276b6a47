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
    return EVENT_OK;
}

static event_error_t check_grace(const grace_t *grace)
{
    if (!address_valid(&grace->network))
        return EVENT_BAD_ADDRESS;
    if (!time_valid(grace->time_ms) || !time_valid(grace->until_ms))
        return EVENT_BAD_TIME;
    return text_valid(grace->text) ? EVENT_OK : EVENT_BAD_TEXT;
}

event_error_t event_check(const event_t *event)
{
    switch (event->kind) {
    case EVENT_BAN:
        return event_check_ban(&event->ban);
    case EVENT_PARDON:
    case EVENT_ALLOW:
        return check_grace(&event->grace);
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
