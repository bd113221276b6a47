#include "shared_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STAMP_BYTES 24 /* 2026-11-21T12:00:00.123Z */
#define NID_WORD    " nid "

static size_t format_stamp(wall_t now, char *out, size_t size)
{
    time_t seconds = (time_t)(now.ms / MS_PER_S);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return used + (size_t)snprintf(out + used, size - used, ".%03dZ", (int)(now.ms % MS_PER_S));
}

size_t shared_line_format(const shared_line_t *line, wall_t now, char out[static SHARED_LINE_MAX])
{
    char address[ADDR_TEXT_MAX];
    size_t used = format_stamp(now, out, SHARED_LINE_MAX);
    int written = snprintf(out + used, SHARED_LINE_MAX - used,
                           ": %s: reported by %s in %s for %" PRId64 " s until %" PRId64 NID_WORD
                           "%" PRId64 "\n",
                           addr_print(line->address, address), line->origin, line->jail,
                           line->duration_s, line->until_ms / MS_PER_S, line->nid);
    return used + (size_t)written;
}

/* Two to four digits at text; -1 if they are none. */
static int digits(const char *text, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + text[i] - '0';
    }
    return number;
}

static bool parse_stamp(const char *text, wall_t *stamp)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z";
    for (size_t i = 0; i < STAMP_BYTES; i++)
        if (shape[i] != '0' && text[i] != shape[i])
            return false;
    struct tm utc = {.tm_year = digits(text, 4) - 1900,
                     .tm_mon = digits(text + 5, 2) - 1,
                     .tm_mday = digits(text + 8, 2),
                     .tm_hour = digits(text + 11, 2),
                     .tm_min = digits(text + 14, 2),
                     .tm_sec = digits(text + 17, 2)};
    int ms = digits(text + 20, 3);
    if (utc.tm_year < 70 || utc.tm_mon < 0 || utc.tm_mday < 1 || utc.tm_hour < 0 ||
        utc.tm_min < 0 || utc.tm_sec < 0 || ms < 0)
        return false;
    stamp->ms = (int64_t)timegm(&utc) * MS_PER_S + ms;
    return true;
}

static bool parse_number(const char *text, size_t size, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < size; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(*out, (int64_t)10, out) ||
            __builtin_add_overflow(*out, (int64_t)(text[i] - '0'), out))
            return false;
    return size > 0;
}

bool shared_line_parse(const char *text, size_t size, wall_t *stamp, int64_t *nid)
{
    const char *word = memrchr(text, ' ', size);
    if (size < STAMP_BYTES || word == NULL || word < text + STAMP_BYTES + strlen(NID_WORD))
        return false;
    const char *number = word + 1;
    word -= strlen(NID_WORD) - 1;
    return memcmp(word, NID_WORD, strlen(NID_WORD)) == 0 && parse_stamp(text, stamp) &&
           parse_number(number, size - (size_t)(number - text), nid);
}
