/* shared_line - a line of the shared log, written and read back.
 *
 *   2026-11-21T12:00:00.123Z: 192.0.2.7: reported by mx1 in sshd for 3600 s until 1795266000 nid 46
 *
 * The stamp is this host's clock at writing: fail2ban takes a line that is off by more than a
 * minute for one of now, and passes over old ones when it starts. A file that begins with lines of
 * an earlier one has a head before them:
 *
 *   2026-11-21T12:00:00.123Z: lines of before follow
 *
 * fail2ban knows a file by its first line alone, and would go on at its place in the earlier one.
 * Every part is checked before it
 * comes here; nothing that a peer chose freely is in a line. Pure. */
#ifndef BANMESH_SHARED_SHARED_LINE_H
#define BANMESH_SHARED_SHARED_LINE_H

#include "addr.h"
#include "clock.h"

#define SHARED_LINE_MAX 320 /* bytes, its newline included */

typedef struct {
    const addr_t *address;
    const char *origin; /* our name for it */
    const char *jail;
    int64_t duration_s; /* from the ban's time to until_ms */
    int64_t until_ms;
    int64_t nid;
} shared_line_t;

/* Names of at most 64 bytes, a stamp from 1970 on. Returns the bytes written, the newline among
 * them.
 */
size_t shared_line_format(const shared_line_t *line, wall_t now, char out[static SHARED_LINE_MAX]);

/* The head of a file, as above. */
size_t shared_line_format_head(wall_t now, char out[static SHARED_LINE_MAX]);
bool shared_line_parse_head(const char *text, size_t size, wall_t *stamp);

/* What is needed of a line that stands there; text need not end with NUL and has no newline. False
 * if it is not one of ours. */
bool shared_line_parse(const char *text, size_t size, wall_t *stamp, int64_t *nid);

/* The address of a line that shared_line_parse takes. */
bool shared_line_address(const char *text, size_t size, addr_t *address);

#endif
