/* colour - words in colour, on a terminal only, and not if NO_COLOR is set. */
#ifndef BANMESH_CLI_COLOUR_H
#define BANMESH_CLI_COLOUR_H

typedef enum {
    COLOUR_GOOD,
    COLOUR_BAD,
    COLOUR_TITLE,
} colour_t;

/* What to print before such a word, and behind it; "" where there are no colours. */
const char *colour_on(colour_t colour);
const char *colour_off(void);

#endif
