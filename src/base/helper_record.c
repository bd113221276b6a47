#include "helper_record.h"

#include "bytes.h"
#include "log.h"

static const char *const status_names[HELPER_STATUS_COUNT] = {
    [HELPER_OK] = "ok",
    [HELPER_NO_FAIL2BAN] = "fail2ban is not there",
    [HELPER_REFUSED] = "fail2ban says no",
    [HELPER_NONSENSE] = "the answer is not fail2ban's",
    [HELPER_TIMED_OUT] = "fail2ban does not answer",
    [HELPER_MALFORMED] = "malformed request",
};

const char *helper_status_name(helper_status_t status)
{
    return status_names[status];
}

/* ---- items ---- */

void helper_address_put(uint8_t out[static HELPER_ADDRESS_BYTES], const addr_t *address)
{
    out[0] = address->family;
    out[1] = address->prefix;
    memcpy(out + 2, address->bytes, 16);
}

bool helper_address_get(const uint8_t in[static HELPER_ADDRESS_BYTES], addr_t *address)
{
    size_t size = in[0] == 4 ? 4 : 16;
    addr_t as_given = {.family = in[0], .prefix = in[1]};
    memcpy(as_given.bytes, in + 2, 16);
    return (in[0] == 4 || in[0] == 6) && addr_from_bytes(in + 2, size, in[1], address) == ADDR_OK &&
           addr_equal(address, &as_given);
}

void helper_ticket_put(uint8_t out[static HELPER_TICKET_BYTES], const helper_ticket_t *ticket)
{
    helper_address_put(out, &ticket->address);
    put_u64(out + HELPER_ADDRESS_BYTES, (uint64_t)ticket->start_s);
    put_u64(out + HELPER_ADDRESS_BYTES + 8, (uint64_t)ticket->bantime_s);
}

bool helper_ticket_get(const uint8_t in[static HELPER_TICKET_BYTES], helper_ticket_t *ticket)
{
    ticket->start_s = (int64_t)get_u64(in + HELPER_ADDRESS_BYTES);
    ticket->bantime_s = (int64_t)get_u64(in + HELPER_ADDRESS_BYTES + 8);
    return helper_address_get(in, &ticket->address);
}

/* ---- requests ---- */

bool helper_jail_valid(const char *name)
{
    return *name != '\0' && strnlen(name, HELPER_JAIL_BYTES + 1) <= HELPER_JAIL_BYTES &&
           strpbrk(name, "\\\n\r") == NULL;
}

static bool has_addresses(helper_what_t what)
{
    return what == HELPER_LIFT || what == HELPER_LIFT_ALL;
}

size_t helper_request_write(const helper_request_t *request,
                            uint8_t record[static HELPER_RECORD_MAX])
{
    uint8_t *at = record + HELPER_REQUEST_HEADER;
    size_t count = has_addresses(request->what) ? request->count : 0;
    record[0] = HELPER_VERSION;
    record[1] = (uint8_t)request->what;
    put_u16(record + 2, (uint16_t)count);
    put_u32(record + 4, request->tag);
    for (size_t i = 0; i < count; i++, at += HELPER_ADDRESS_BYTES)
        helper_address_put(at, &request->addresses[i]);
    if (request->what == HELPER_LIST) {
        memset(at, 0, HELPER_JAIL_BYTES);
        memcpy(at, request->jail, strnlen(request->jail, HELPER_JAIL_BYTES));
        at += HELPER_JAIL_BYTES;
    }
    return (size_t)(at - record);
}

static int read_addresses(const uint8_t *at, size_t size, helper_request_t *request)
{
    if (request->count < 1 || request->count > HELPER_LIFT_MAX ||
        size != request->count * HELPER_ADDRESS_BYTES)
        return -1;
    for (size_t i = 0; i < request->count; i++)
        if (!helper_address_get(at + i * HELPER_ADDRESS_BYTES, &request->addresses[i]))
            return -1;
    return 0;
}

static int read_jail(const uint8_t *at, size_t size, helper_request_t *request)
{
    if (size != HELPER_JAIL_BYTES || request->count != 0)
        return -1;
    memcpy(request->jail, at, HELPER_JAIL_BYTES);
    size_t length = strnlen(request->jail, HELPER_JAIL_BYTES);
    for (size_t i = length; i < HELPER_JAIL_BYTES; i++)
        if (at[i] != 0)
            return -1;
    return helper_jail_valid(request->jail) ? 0 : -1;
}

int helper_request_read(const uint8_t *record, size_t size, helper_request_t *request)
{
    *request = (helper_request_t){0};
    if (size < HELPER_REQUEST_HEADER)
        return -1;
    request->what = (helper_what_t)record[1];
    request->count = get_u16(record + 2);
    request->tag = get_u32(record + 4);
    const uint8_t *at = record + HELPER_REQUEST_HEADER;
    size_t rest = size - HELPER_REQUEST_HEADER;
    if (record[0] != HELPER_VERSION)
        return -1;
    switch (request->what) {
    case HELPER_LIFT:
    case HELPER_LIFT_ALL:
        return read_addresses(at, rest, request);
    case HELPER_LIST:
        return read_jail(at, rest, request);
    case HELPER_JAILS:
        return rest == 0 && request->count == 0 ? 0 : -1;
    case HELPER_UNKNOWN:
        break;
    }
    return -1;
}

/* ---- answers ---- */

static size_t item_bytes(helper_what_t what)
{
    switch (what) {
    case HELPER_LIFT:
    case HELPER_LIFT_ALL:
        return 1;
    case HELPER_LIST:
        return HELPER_TICKET_BYTES;
    case HELPER_JAILS:
        return HELPER_SOURCE_BYTES;
    case HELPER_UNKNOWN:
        break;
    }
    return 0;
}

size_t helper_answer_write(const helper_answer_t *answer, uint8_t record[static HELPER_RECORD_MAX])
{
    record[0] = HELPER_VERSION;
    record[1] = (uint8_t)answer->what;
    record[2] = (uint8_t)answer->status;
    record[3] = answer->last;
    put_u32(record + 4, answer->tag);
    put_u16(record + 8, answer->status == HELPER_OK ? (uint16_t)answer->count : 0);
    if (answer->status == HELPER_OK)
        return HELPER_ANSWER_HEADER + answer->count * item_bytes(answer->what);
    size_t length = strnlen(answer->text, HELPER_TEXT_MAX);
    memcpy(record + HELPER_ANSWER_HEADER, answer->text, length);
    return HELPER_ANSWER_HEADER + length;
}

int helper_answer_read(const uint8_t *record, size_t size, helper_answer_t *answer)
{
    *answer = (helper_answer_t){0};
    if (size < HELPER_ANSWER_HEADER || record[0] != HELPER_VERSION ||
        item_bytes((helper_what_t)record[1]) == 0 || record[2] >= HELPER_STATUS_COUNT ||
        record[3] > 1)
        return -1;
    answer->what = (helper_what_t)record[1];
    answer->status = (helper_status_t)record[2];
    answer->last = record[3] == 1;
    answer->tag = get_u32(record + 4);
    answer->count = get_u16(record + 8);
    answer->items = record + HELPER_ANSWER_HEADER;
    size_t rest = size - HELPER_ANSWER_HEADER;
    if (answer->status == HELPER_OK)
        return rest == answer->count * item_bytes(answer->what) ? 0 : -1;
    if (rest > HELPER_TEXT_MAX || answer->count != 0)
        return -1;
    memcpy(answer->text, answer->items, rest);
    log_make_printable(answer->text);
    return 0;
}
