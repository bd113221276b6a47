#include "request.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRC_FIELD        " crc="
#define CRC_FIELD_LENGTH 5
#define CRC_DIGITS       8
#define SHOWN_MAX        80 /* bytes of a value in a fault */

/* CRC-32 (IEEE 802.3, reflected), bit by bit: records are short and rare. */
static uint32_t crc32_of(const char *bytes, size_t length)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= (uint8_t)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
    }
    return ~crc;
}

/* fail2ban's <time> may be 1795288025, 1795288025.0 or 1795291587.3604846; <bantime> may be -1. In
 * thousandths; digits behind the third are dropped. */
static bool parse_thousandths(const char *text, int64_t max, int64_t *out)
{
    bool negative = text[0] == '-';
    const char *p = text + (negative ? 1 : 0);
    if (*p < '0' || *p > '9')
        return false;
    int64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
        if (value > max / 1000)
            return false;
    }
    value *= 1000;
    if (*p == '.') {
        int64_t unit = 100;
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
            value += (*p - '0') * unit;
    }
    *out = negative ? -value : value;
    return *p == '\0';
}

static bool parse_count(const char *text, uint32_t *out)
{
    int64_t thousandths;
    if (!parse_thousandths(text, (int64_t)UINT32_MAX * 1000, &thousandths) || thousandths < 0)
        return false;
    *out = (uint32_t)(thousandths / 1000);
    return true;
}

/* Faults end in logs and on terminals: no value may write there what it likes. */
static int bad(fault_t *fault, const char *name, const char *value, const char *expected)
{
    char shown[SHOWN_MAX + 1];
    snprintf(shown, sizeof shown, "%s", value);
    log_make_printable(shown);
    return fault_set(fault, "%s \"%s\": %s", name, shown, expected);
}

static int set_address(request_t *request, const char *value, fault_t *fault)
{
    addr_error_t error = addr_parse(value, &request->ban.address);
    return error == ADDR_OK ? 0 : bad(fault, "ip", value, addr_error_text(error));
}

/* Any name that fail2ban takes; what it is called in the mesh is decided where it is taken in. */
static int set_jail(request_t *request, const char *value, fault_t *fault)
{
    if (*value == '\0')
        return bad(fault, "jail", value, "expected the name of a jail");
    snprintf(request->jail, sizeof request->jail, "%s", value);
    return 0;
}

static int parse_time(const char *name, const char *value, int64_t *time_ms, fault_t *fault)
{
    if (!parse_thousandths(value, EVENT_TIME_MAX_MS, time_ms) || *time_ms < 0)
        return bad(fault, name, value, event_error_text(EVENT_BAD_TIME));
    return 0;
}

static int set_time(request_t *request, const char *value, fault_t *fault)
{
    return parse_time("time", value, &request->ban.time_ms, fault);
}

static int set_at(request_t *request, const char *value, fault_t *fault)
{
    return parse_time("at", value, &request->at_ms, fault);
}

/* 9999 years, as some write who mean for ever, end later than any time that there is. */
static bool is_beyond_all(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    return digits > 0 && strspn(value + digits, ".0123456789") == strlen(value + digits);
}

static int set_duration(request_t *request, const char *value, fault_t *fault)
{
    int64_t thousandths;
    if (!parse_thousandths(value, EVENT_TIME_MAX_MS, &thousandths))
        thousandths = is_beyond_all(value) ? -1000 : -1;
    if (thousandths < 0 && thousandths != -1000)
        return bad(fault, "bantime", value, event_error_text(EVENT_BAD_DURATION));
    request->ban.duration_s = thousandths / 1000;
    return 0;
}

/* ---- what only informs never costs a ban: it is tidied, shortened or left out ---- */

static int set_failures(request_t *request, const char *value, fault_t *fault)
{
    (void)fault;
    if (!parse_count(value, &request->ban.failures))
        request->ban.failures = 0;
    return 0;
}

static int set_bancount(request_t *request, const char *value, fault_t *fault)
{
    (void)fault;
    if (!parse_count(value, &request->ban.bancount))
        request->ban.bancount = 0;
    return 0;
}

/* Between the words of a list, as fail2ban's jails and nftables have it. */
#define BETWEEN ", \t{}"

/* Takes the words of a list that are valid, as many as fit. The last word of a value that was cut
 * off may be a part of another one. */
static void set_list(char *out, size_t size, const char *value, bool (*is_valid)(const char *))
{
    char word[EVENT_PORT_MAX + 1];
    size_t used = 0;
    bool was_cut = strlen(value) == REQUEST_VALUE_MAX;
    *out = '\0';
    for (const char *at = value; *(at += strspn(at, BETWEEN)) != '\0';) {
        size_t length = strcspn(at, BETWEEN);
        bool fits = length < sizeof word && used + (used > 0) + length < size &&
                    !(was_cut && at[length] == '\0');
        snprintf(word, sizeof word, "%.*s", fits ? (int)length : 0, at);
        if (fits && is_valid(word))
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? "," : "", word);
        at += length;
    }
}

static int set_port(request_t *request, const char *value, fault_t *fault)
{
    (void)fault;
    set_list(request->ban.port, sizeof request->ban.port, value, event_port_valid);
    return 0;
}

static int set_protocol(request_t *request, const char *value, fault_t *fault)
{
    (void)fault;
    set_list(request->ban.protocol, sizeof request->ban.protocol, value, event_protocol_valid);
    return 0;
}

static int set_import(request_t *request, const char *value, fault_t *fault)
{
    (void)fault;
    request->is_import = strcmp(value, "1") == 0;
    return 0;
}

/* What the hook was given beside its options: a call that was written wrong is counted, too. */
static int set_stray(request_t *request, const char *value, fault_t *fault)
{
    (void)request;
    return bad(fault, "argument", value, "not known, see banmesh-publish --help");
}

static const struct {
    const char *name;
    int (*set)(request_t *request, const char *value, fault_t *fault);
} fields[] = {
    {"jail", set_jail},         {"ip", set_address},
    {"time", set_time},         {"bantime", set_duration},
    {"failures", set_failures}, {"bancount", set_bancount},
    {"port", set_port},         {"protocol", set_protocol},
    {"stray", set_stray},       {"at", set_at},
    {"import", set_import},
};

#define FIELD_COUNT (sizeof fields / sizeof fields[0])

/* FIELD_COUNT: there is none of that name. */
static size_t find_field(const char *name)
{
    size_t i = 0;
    while (i < FIELD_COUNT && (*fields[i].name != *name || strcmp(fields[i].name, name) != 0))
        i++;
    return i;
}

/* ---- lines ---- */

static const char *const verbs[] = {[REQUEST_BAN] = "ban", [REQUEST_UNBAN] = "unban"};

void request_quote(const char *value, char *out, size_t size)
{
    size_t used = 0;
    for (const char *p = value; *p != '\0'; p++) {
        bool plain = *p > ' ' && *p <= '~' && *p != '%';
        if (used + (plain ? 1 : 3) >= size)
            break;
        if (plain)
            out[used++] = *p;
        else
            used += (size_t)snprintf(out + used, size - used, "%%%02x", (unsigned char)*p);
    }
    out[used] = '\0';
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* In place. Returns false for what no request_quote writes. */
static bool unquote(char *value)
{
    char *out = value;
    for (const char *p = value; *p != '\0'; p++) {
        int high = *p == '%' ? hex_digit(p[1]) : 0;
        int low = *p == '%' && high >= 0 ? hex_digit(p[2]) : 0;
        if (high < 0 || low < 0 || (*p == '%' && high == 0 && low == 0))
            return false;
        if (*p == '%') {
            *out++ = (char)(high << 4 | low);
            p += 2;
        } else
            *out++ = *p;
    }
    *out = '\0';
    return true;
}

void request_begin(char line[static REQUEST_LINE_MAX], request_verb_t verb)
{
    snprintf(line, REQUEST_LINE_MAX, "%s", verbs[verb]);
}

void request_add(char line[static REQUEST_LINE_MAX], const char *name, const char *value)
{
    char cut[REQUEST_VALUE_MAX + 1];
    size_t used = strlen(line);
    snprintf(cut, sizeof cut, "%s", value);
    used += (size_t)snprintf(line + used, REQUEST_LINE_MAX - used, " %s=", name);
    request_quote(cut, line + used, REQUEST_LINE_MAX - used);
}

size_t request_format(const ban_t *ban, char line[static REQUEST_LINE_MAX])
{
    char ip[ADDR_TEXT_MAX];
    int used = snprintf(line, REQUEST_LINE_MAX,
                        "ban jail=%s ip=%s time=%" PRId64 ".%03d bantime=%" PRId64
                        " failures=%" PRIu32 " bancount=%" PRIu32 " port=%s protocol=%s",
                        ban->jail, addr_print(&ban->address, ip), ban->time_ms / 1000,
                        (int)(ban->time_ms % 1000), ban->duration_s, ban->failures, ban->bancount,
                        ban->port, ban->protocol);
    return (size_t)used;
}

static int missing(request_t *request, const char *name, fault_t *fault)
{
    request->bad = name;
    return fault_set(fault, "%s is missing", name);
}

static int check_required(request_t *request, fault_t *fault)
{
    if (request->jail[0] == '\0')
        return missing(request, "jail", fault);
    if (request->ban.address.family == 0)
        return missing(request, "ip", fault);
    if (request->ban.time_ms < 0)
        return missing(request, "time", fault);
    return 0;
}

static int parse_fields(request_t *request, char *rest, fault_t *fault)
{
    unsigned seen = 0;
    for (char *field = strsep(&rest, " "); field != NULL; field = strsep(&rest, " ")) {
        char *value = strchr(field, '=');
        if (value == NULL)
            return bad(fault, "field", field, "expected name=value");
        *value++ = '\0';
        size_t i = find_field(field);
        if (i == FIELD_COUNT)
            continue;
        if ((seen & 1u << i) != 0)
            return fault_set(fault, "field \"%s\" stands twice", field);
        seen |= 1u << i;
        if (!unquote(value))
            return bad(fault, field, value, "expected two hex digits behind each '%'");
        request->bad = fields[i].name;
        if (fields[i].set(request, value, fault) != 0)
            return -1;
        request->bad = "request";
    }
    return check_required(request, fault);
}

int request_parse(const char *line, size_t length, request_t *request, fault_t *fault)
{
    char copy[REQUEST_LINE_MAX];
    memset(request, 0, sizeof *request);
    request->ban.duration_s = REQUEST_DURATION_DEFAULT_S;
    request->ban.time_ms = request->at_ms = -1; /* not set */
    request->bad = "request";
    if (length >= sizeof copy)
        return fault_set(fault, "request of %zu bytes: expected at most %d", length,
                         REQUEST_LINE_MAX - 1);
    memcpy(copy, line, length);
    copy[length] = '\0';
    if (strlen(copy) != length)
        return fault_set(fault, "request has a NUL byte");
    char *rest = copy;
    const char *verb = strsep(&rest, " ");
    if (strcmp(verb, verbs[REQUEST_UNBAN]) == 0)
        request->verb = REQUEST_UNBAN;
    else if (strcmp(verb, verbs[REQUEST_BAN]) != 0)
        return bad(fault, "request", verb, "expected \"ban\" or \"unban\"");
    return parse_fields(request, rest, fault);
}

/* ---- records ---- */

size_t request_record_format(const char *line, char record[static REQUEST_RECORD_MAX])
{
    size_t used = strlen(line);
    memcpy(record, line, used);
    used += (size_t)snprintf(record + used, REQUEST_RECORD_MAX - used, CRC_FIELD "%08" PRIx32 "\n",
                             crc32_of(record, used));
    return used;
}

int request_record_parse(const char *record, size_t length, request_t *request, fault_t *fault)
{
    if (length <= CRC_FIELD_LENGTH + CRC_DIGITS)
        return fault_set(fault, "record of %zu bytes is cut short", length);
    size_t line_length = length - CRC_FIELD_LENGTH - CRC_DIGITS;
    char digits[CRC_DIGITS + 1];
    char expected[CRC_DIGITS + 1];
    memcpy(digits, record + length - CRC_DIGITS, CRC_DIGITS);
    digits[CRC_DIGITS] = '\0';
    snprintf(expected, sizeof expected, "%08" PRIx32, crc32_of(record, line_length));
    if (memcmp(record + line_length, CRC_FIELD, CRC_FIELD_LENGTH) != 0 ||
        strcmp(digits, expected) != 0)
        return fault_set(fault, "record of %zu bytes fails its checksum", length);
    return request_parse(record, line_length, request, fault);
}
