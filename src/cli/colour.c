#include "colour.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_wanted(void)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0');
}

const char *colour_on(colour_t colour)
{
    static const char *const codes[] =
        {[COLOUR_GOOD] = "\033[1;32m", [COLOUR_BAD] = "\033[1;31m", [COLOUR_TITLE] = "\033[1m"};
    return is_wanted() ? codes[colour] : "";
}

const char *colour_off(void)
{
    return is_wanted() ? "\033[0m" : "";
}
