/* screen - one page on a terminal, drawn over the one before. */
#ifndef BANMESH_CLI_SCREEN_H
#define BANMESH_CLI_SCREEN_H

/* Lines that find no place below are left out, and counted; the first ones are what matters. */
void screen_draw(const char *text);

#endif
