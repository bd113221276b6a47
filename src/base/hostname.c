#include "hostname.h"

#include <stddef.h>
#include <string.h>

#define LABEL_MAX 63
#define LOWER     "abcdefghijklmnopqrstuvwxyz"
#define UPPER     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool hostname_valid(const char *text)
{
    size_t length = 0;
    if (strlen(text) > HOSTNAME_MAX)
        return false;
    do {
        text += length;
        length = strspn(text, LOWER UPPER "0123456789_-");
        if (length == 0 || length > LABEL_MAX || *text == '-')
            return false;
        bool is_last = text[length] == '\0' || strcmp(text + length, ".") == 0;
        if (is_last)
            return strchr(LOWER UPPER, *text) != NULL;
    } while (text[length++] == '.');
    return false;
}

void hostname_fold(const char *text, char out[static HOSTNAME_MAX + 1])
{
    size_t length = 0;
    for (; *text != '\0' && length < HOSTNAME_MAX; text++) {
        const char *upper = strchr(UPPER, *text);
        out[length] = *text;
        if (upper != NULL)
            out[length] = LOWER[upper - UPPER];
        length++;
    }
    out[length] = '\0';
    if (length > 0 && out[length - 1] == '.')
        out[length - 1] = '\0';
}
