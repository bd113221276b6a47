#include "allowed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

size_t allowed_write_line(char out[static ALLOWED_LINE_MAX], const addr_t *network, int64_t until_s)
{
    char text[ADDR_TEXT_MAX];
    return (size_t)snprintf(out, ALLOWED_LINE_MAX, "%s %" PRId64 "\n", addr_print(network, text),
                            until_s);
}

/* line ends with NUL. */
static bool covers(char *line, const addr_t *address, int64_t now_s)
{
    addr_t network;
    char *end;
    char *blank = strchr(line, ' ');
    if (blank == NULL)
        return false;
    *blank = '\0';
    long long until_s = strtoll(blank + 1, &end, 10);
    return end != blank + 1 && *end == '\0' && until_s > now_s &&
           addr_parse(line, &network) == ADDR_OK && addr_contains(&network, address);
}

bool allowed_has(const char *text, size_t size, const addr_t *address, int64_t now_s)
{
    while (size > 0) {
        char line[ALLOWED_LINE_MAX];
        const char *end = memchr(text, '\n', size);
        size_t length = end != NULL ? (size_t)(end - text) : size;
        if (length < sizeof line) {
            memcpy(line, text, length);
            line[length] = '\0';
            if (covers(line, address, now_s))
                return true;
        }
        length += end != NULL;
        text += length;
        size -= length;
    }
    return false;
}
