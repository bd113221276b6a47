/* allowed - the file that says which addresses are allowed on this host: banmeshd writes it,
 * banmesh-allowed reads it for fail2ban. A line for each allowance: the network, a blank, and when
 * it ends, in seconds since 1970; whoever reads it lets it end. Lines that are none of these (such
 * as the first one, a comment) are passed over. Pure; libc only. */
#ifndef BANMESH_BASE_ALLOWED_H
#define BANMESH_BASE_ALLOWED_H

#include "addr.h"

#define ALLOWED_LINE_MAX  (ADDR_TEXT_MAX + 24)
#define ALLOWED_HEAD      "# banmesh: allowed here, and until when (written by banmeshd)\n"
#define ALLOWED_FILE_PATH "/run/banmesh/allowed" /* unless the settings say otherwise */

/* A line with its newline. Returns its length. */
size_t allowed_write_line(char out[static ALLOWED_LINE_MAX], const addr_t *network,
                          int64_t until_s);

/* Whether a line of a text, or its rest, says that an address or network is allowed now. */
bool allowed_has(const char *text, size_t size, const addr_t *address, int64_t now_s);

#endif
