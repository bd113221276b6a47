#include "codec.h"

#include <string.h>

/* The cast drops const: protobuf-c has no const fields, and packing writes nothing into them. */
static ProtobufCBinaryData borrow(const void *bytes, size_t size)
{
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)bytes};
}

static void fill_address(codec_event_t *out, const addr_t *addr)
{
    banmesh__address__init(&out->address);
    out->address.ip = borrow(addr->bytes, addr_size(addr));
    out->address.prefix = addr->prefix;
}

static void fill_ban(codec_event_t *out, const ban_t *ban)
{
    fill_address(out, &ban->address);
    banmesh__ban__init(&out->ban);
    out->ban.address = &out->address;
    out->ban.jail = borrow(ban->jail, strlen(ban->jail));
    out->ban.time_ms = (uint64_t)ban->time_ms;
    out->ban.duration_s = ban->duration_s;
    out->ban.failures = ban->failures;
    out->ban.bancount = ban->bancount;
    out->ban.port = borrow(ban->port, strlen(ban->port));
    out->ban.protocol = borrow(ban->protocol, strlen(ban->protocol));
    out->ban.reason = borrow(ban->reason, strlen(ban->reason));
    out->event.kind_case = BANMESH__EVENT__KIND_BAN;
    out->event.ban = &out->ban;
}

static void fill_position(Banmesh__Position *out, const event_position_t *position)
{
    banmesh__position__init(out);
    out->epoch = position->epoch;
    out->channel = position->channel;
    out->seq = position->seq;
    out->index = position->index;
}

static void fill_pardon(codec_event_t *out, const grace_t *grace)
{
    fill_address(out, &grace->network);
    banmesh__pardon__init(&out->pardon);
    out->pardon.network = &out->address;
    out->pardon.time_ms = (uint64_t)grace->time_ms;
    out->pardon.until_ms = (uint64_t)grace->until_ms;
    out->pardon.reason = borrow(grace->text, strlen(grace->text));
    for (size_t i = 0; i < grace->ban_count; i++) {
        fill_position(&out->bans[i], &grace->bans[i]);
        out->ban_list[i] = &out->bans[i];
    }
    out->pardon.n_bans = grace->ban_count;
    out->pardon.bans = grace->ban_count > 0 ? out->ban_list : NULL;
    out->event.kind_case = BANMESH__EVENT__KIND_PARDON;
    out->event.pardon = &out->pardon;
}

static void fill_allow(codec_event_t *out, const grace_t *grace)
{
    fill_address(out, &grace->network);
    banmesh__allow__init(&out->allow);
    out->allow.network = &out->address;
    out->allow.time_ms = (uint64_t)grace->time_ms;
    out->allow.until_ms = (uint64_t)grace->until_ms;
    out->allow.comment = borrow(grace->text, strlen(grace->text));
    out->event.kind_case = BANMESH__EVENT__KIND_ALLOW;
    out->event.allow = &out->allow;
}

void codec_fill(codec_event_t *out, const event_t *event)
{
    banmesh__event__init(&out->event);
    switch (event->kind) {
    case EVENT_BAN:
        fill_ban(out, &event->ban);
        break;
    case EVENT_PARDON:
        fill_pardon(out, &event->grace);
        break;
    case EVENT_ALLOW:
        fill_allow(out, &event->grace);
        break;
    case EVENT_UNKNOWN:
        break;
    }
    if (event->has_original) {
        fill_position(&out->original, &event->original);
        out->event.original = &out->original;
    }
}

static bool read_address(const Banmesh__Address *in, addr_t *out)
{
    return in != NULL && addr_from_bytes(in->ip.data, in->ip.len, in->prefix, out) == ADDR_OK &&
           addr_size(out) == in->ip.len;
}

/* Text with a NUL inside would pass the checks of the part before it. */
static bool read_text(const ProtobufCBinaryData *in, char *out, size_t max)
{
    if (in->len > max || (in->len > 0 && memchr(in->data, '\0', in->len) != NULL))
        return false;
    if (in->len > 0)
        memcpy(out, in->data, in->len);
    out[in->len] = '\0';
    return true;
}

static event_error_t read_ban(const Banmesh__Ban *in, ban_t *out)
{
    if (!read_address(in->address, &out->address))
        return EVENT_BAD_ADDRESS;
    if (!read_text(&in->jail, out->jail, EVENT_NAME_MAX))
        return EVENT_BAD_JAIL;
    if (in->time_ms > EVENT_TIME_MAX_MS)
        return EVENT_BAD_TIME;
    if (!read_text(&in->port, out->port, EVENT_PORT_MAX))
        return EVENT_BAD_PORT;
    if (!read_text(&in->protocol, out->protocol, EVENT_PROTOCOL_MAX))
        return EVENT_BAD_PROTOCOL;
    if (!read_text(&in->reason, out->reason, EVENT_TEXT_MAX))
        return EVENT_BAD_TEXT;
    out->time_ms = (int64_t)in->time_ms;
    out->duration_s = in->duration_s;
    out->failures = in->failures;
    out->bancount = in->bancount;
    return event_check_ban(out);
}

static event_position_t read_position(const Banmesh__Position *in)
{
    return (event_position_t){in->epoch, in->seq, in->channel, in->index};
}

static event_error_t read_bans(const Banmesh__Pardon *in, grace_t *out)
{
    if (in->n_bans > EVENT_PARDON_BANS_MAX)
        return EVENT_TOO_MANY_BANS;
    for (size_t i = 0; i < in->n_bans; i++)
        out->bans[i] = read_position(in->bans[i]);
    out->ban_count = in->n_bans;
    return EVENT_OK;
}

static event_error_t read_grace(const Banmesh__Address *network, uint64_t time_ms,
                                uint64_t until_ms, const ProtobufCBinaryData *text, event_t *out)
{
    if (!read_address(network, &out->grace.network))
        return EVENT_BAD_ADDRESS;
    if (time_ms > EVENT_TIME_MAX_MS || until_ms > EVENT_TIME_MAX_MS)
        return EVENT_BAD_TIME;
    if (!read_text(text, out->grace.text, EVENT_TEXT_MAX))
        return EVENT_BAD_TEXT;
    out->grace.time_ms = (int64_t)time_ms;
    out->grace.until_ms = (int64_t)until_ms;
    return event_check(out);
}

static event_error_t read_pardon(const Banmesh__Pardon *in, event_t *out)
{
    event_error_t error = read_bans(in, &out->grace);
    if (error != EVENT_OK)
        return error;
    return read_grace(in->network, in->time_ms, in->until_ms, &in->reason, out);
}

static event_error_t read_allow(const Banmesh__Allow *in, event_t *out)
{
    out->grace.ban_count = 0;
    return read_grace(in->network, in->time_ms, in->until_ms, &in->comment, out);
}

event_error_t codec_read(const Banmesh__Event *in, event_t *out)
{
    out->has_original = in->original != NULL;
    if (in->original != NULL)
        out->original = read_position(in->original);
    switch (in->kind_case) {
    case BANMESH__EVENT__KIND_BAN:
        out->kind = EVENT_BAN;
        return read_ban(in->ban, &out->ban);
    case BANMESH__EVENT__KIND_PARDON:
        out->kind = EVENT_PARDON;
        return read_pardon(in->pardon, out);
    case BANMESH__EVENT__KIND_ALLOW:
        out->kind = EVENT_ALLOW;
        return read_allow(in->allow, out);
    default:
        out->kind = EVENT_UNKNOWN;
        return EVENT_OK;
    }
}
