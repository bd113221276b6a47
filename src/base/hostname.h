/* hostname - whether a text is the name of a host, and no address. Pure; libc only. */
#ifndef BANMESH_BASE_HOSTNAME_H
#define BANMESH_BASE_HOSTNAME_H

#include <stdbool.h>

#define HOSTNAME_MAX 128 /* bytes; a reason or comment has room for one */

/* Labels of [A-Za-z0-9_-]{1,63} with dots between. The last one begins with a letter: whatever
 * looks like an address, and is none, is no name either. */
bool hostname_valid(const char *text);

/* One that is valid in one form: lower case, without a dot at the end. */
void hostname_fold(const char *text, char out[static HOSTNAME_MAX + 1]);

#endif
