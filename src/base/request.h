/* request - one ban, or unban, on its way from the hook into the local node, as a line of text.
 * The same line, with a checksum behind it, is a record of the spool. Pure; libc only.
 *
 *   ban jail=sshd ip=192.0.2.7 time=1795288025.123 bantime=3600 failures=5 bancount=1 port=ssh
 *   protocol=tcp
 *
 * (on one line), and for the unban of it, with its jail, ip and time:
 *
 *   unban jail=sshd ip=192.0.2.7 time=1795288025.123 bantime=3600 at=1795288080.5
 *
 * import=1 in a ban: it is one that fail2ban held already, whose time is but its second. jail, ip
 * and time are required. Values are what the hook was told, quoted: a byte that is not printable
 * ASCII, a blank and '%' are '%' with two hex digits. Fields of a newer version are ignored, as
 * long as they look like fields. docs/protocol.md has it for others. */
#ifndef BANMESH_BASE_REQUEST_H
#define BANMESH_BASE_REQUEST_H

#include "event.h"
#include "log.h"

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_VALUE_MAX  255  /* bytes of a value, before it is quoted; more are cut off */
#define REQUEST_LINE_MAX   8192 /* bytes with the NUL, or with the newline on the socket */
#define REQUEST_RECORD_MAX (REQUEST_LINE_MAX + 16)

#define REQUEST_DURATION_DEFAULT_S 600 /* when nothing is said: fail2ban's own default bantime */

/* The first word of a line. */
typedef enum {
    REQUEST_BAN,
    REQUEST_UNBAN, /* of the ban of that jail, address and time */
} request_verb_t;

/* The first word of the node's answer. */
#define REQUEST_ANSWER_OK        "ok"        /* on disk, or it was already */
#define REQUEST_ANSWER_SKIPPED   "skipped"   /* well-formed, not to be published; do not repeat */
#define REQUEST_ANSWER_MALFORMED "malformed" /* repeating it cannot help */
#define REQUEST_ANSWER_FAILED    "failed"    /* not stored: keep it and try later */
#define REQUEST_ANSWER_REFUSED   "refused"   /* this user may not: do not keep it either */

/* Exit statuses of the hook. */
enum { REQUEST_EXIT_STORED = 0, REQUEST_EXIT_NOT_STORED = 1, REQUEST_EXIT_MALFORMED = 2 };

/* What a line says. */
typedef struct {
    request_verb_t verb;
    int64_t at_ms;                    /* when it was lifted; -1: not said, by now */
    bool is_import;                   /* fail2ban held it already: its time is but a second */
    ban_t ban;                        /* but for its jail, which is "" */
    char jail[REQUEST_VALUE_MAX + 1]; /* as fail2ban calls it: any bytes, at least one */
    const char *bad;                  /* the field that could not be read, or "request" */
} request_t;

/* Begin a line, and add a field to it. There is room for one of each name. */
void request_begin(char line[static REQUEST_LINE_MAX], request_verb_t verb);
void request_add(char line[static REQUEST_LINE_MAX], const char *name, const char *value);

/* The line of a ban that is known already: an import, a test. Returns its length. */
size_t request_format(const ban_t *ban, char line[static REQUEST_LINE_MAX]);

/* Parse a line (no newline, need not end with NUL). Returns 0, or -1 with the fault. */
int request_parse(const char *line, size_t length, request_t *request, fault_t *fault);

/* Write a value as it stands in a line; cut off if there is no room. */
void request_quote(const char *value, char *out, size_t size);

/* Write a spool record: the line, " crc=" with 8 hex digits, newline. Returns its length. */
size_t request_record_format(const char *line, char record[static REQUEST_RECORD_MAX]);

/* Parse a spool record (without its newline). Returns 0, or -1 with the fault: a torn or altered
 * record fails its checksum. */
int request_record_parse(const char *record, size_t length, request_t *request, fault_t *fault);

#endif
