#include "screen.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ROWS_USUAL    24
#define COLUMNS_USUAL 80

/* What a line needs, but for colours. */
static size_t rows_of(const char *line, size_t length, size_t columns)
{
    size_t shown = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '\033')
            while (i < length && line[i] != 'm')
                i++;
        else
            shown++;
    }
    return shown == 0 ? 1 : (shown + columns - 1) / columns;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* Each line goes over the old one, whose rest is wiped: nothing flickers. */
void screen_draw(const char *text)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    size_t columns = size.ws_col > 0 ? size.ws_col : COLUMNS_USUAL;
    size_t left = (size.ws_row > 0 ? size.ws_row : ROWS_USUAL) - 1U; /* one for the cursor */
    printf("\033[H");
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        size_t rows = rows_of(text, length, columns);
        if (rows > left || (rows == left && count_lines(text) > 1))
            break;
        printf("%.*s\033[K\n", (int)length, text);
        text += length + (text[length] == '\n');
        left -= rows;
    }
    printf("\033[J");
    if (*text != '\0')
        printf("(%zu more lines)\r", count_lines(text));
}
