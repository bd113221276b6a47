#include "shared_line.h"

#include <string.h>
#include <time.h>

#define STAMP_BYTES 24 /* 2026-11-21T12:00:00.123Z */
#define NID_WORD    " nid "
#define HEAD_WORDS  ": lines of before follow"
#define DAY_MS      86400000
#define NUMBER_MAX  20 /* digits of 64 bits */

/* ---- writing: by hand, since a line is written for each ban ---- */

static char *put_digits(char *out, int count, int64_t number)
{
    for (int i = count; i > 0; i--) {
        out[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    return out + count;
}

static char *put_number(char *out, int64_t number)
{
    char digits[NUMBER_MAX];
    int count = 0;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    if (number < 0)
        *out++ = '-';
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    while (count > 0)
        *out++ = digits[--count];
    return out;
}

/* The date of a day since 1970, proleptic Gregorian; years begin in March, so that a leap day is
 * the last. After H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */
static char *put_date(char *out, int64_t days)
{
    int64_t shifted = days + 719468; /* from 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* from March */
    int64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    int64_t year = year_of_era + era * 400 + (month >= 10);
    out = put_digits(out, 4, year);
    *out++ = '-';
    out = put_digits(out, 2, month < 10 ? month + 3 : month - 9);
    *out++ = '-';
    return put_digits(out, 2, day);
}

static char *put_stamp(char *out, wall_t now)
{
    int64_t days = now.ms / DAY_MS;
    int64_t ms = now.ms % DAY_MS;
    out = put_date(out, days);
    *out++ = 'T';
    out = put_digits(out, 2, ms / 3600000);
    *out++ = ':';
    out = put_digits(out, 2, ms / 60000 % 60);
    *out++ = ':';
    out = put_digits(out, 2, ms / 1000 % 60);
    *out++ = '.';
    out = put_digits(out, 3, ms % 1000);
    *out++ = 'Z';
    return out;
}

static char *put_address(char *out, const addr_t *address)
{
    char text[ADDR_TEXT_MAX];
    if (address->family != 4 || !addr_is_host(address))
        return stpcpy(out, addr_print(address, text));
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            *out++ = '.';
        out = put_number(out, address->bytes[i]);
    }
    return out;
}

size_t shared_line_format(const shared_line_t *line, wall_t now, char out[static SHARED_LINE_MAX])
{
    char *at = put_stamp(out, now);
    at = stpcpy(at, ": ");
    at = put_address(at, line->address);
    at = stpcpy(at, ": reported by ");
    at = stpcpy(at, line->origin);
    at = stpcpy(at, " in ");
    at = stpcpy(at, line->jail);
    at = stpcpy(at, " for ");
    at = put_number(at, line->duration_s);
    at = stpcpy(at, " s until ");
    at = put_number(at, line->until_ms / MS_PER_S);
    at = stpcpy(at, NID_WORD);
    at = put_number(at, line->nid);
    *at++ = '\n';
    return (size_t)(at - out);
}

size_t shared_line_format_head(wall_t now, char out[static SHARED_LINE_MAX])
{
    char *at = stpcpy(put_stamp(out, now), HEAD_WORDS);
    *at++ = '\n';
    return (size_t)(at - out);
}

/* ---- reading ---- */

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

bool shared_line_address(const char *text, size_t size, addr_t *address)
{
    static const char behind[] = ": reported by ";
    char word[ADDR_TEXT_MAX];
    const char *begin = text + STAMP_BYTES + 2;
    if (size < STAMP_BYTES + 2)
        return false;
    const char *end = memmem(begin, size - STAMP_BYTES - 2, behind, strlen(behind));
    if (end == NULL || (size_t)(end - begin) >= sizeof word)
        return false;
    memcpy(word, begin, (size_t)(end - begin));
    word[end - begin] = '\0';
    return addr_parse(word, address) == ADDR_OK;
}

bool shared_line_parse_head(const char *text, size_t size, wall_t *stamp)
{
    return size == STAMP_BYTES + strlen(HEAD_WORDS) &&
           memcmp(text + STAMP_BYTES, HEAD_WORDS, strlen(HEAD_WORDS)) == 0 &&
           parse_stamp(text, stamp);
}
