/* request - one ban on its way from the hook into the local node, as a line of text.
 * The same line, with a checksum behind it, is a record of the spool. Pure; libc only.
 *
 *   ban jail=sshd ip=192.0.2.7 time=1795288025.123 bantime=3600 failures=5 bancount=1 port=ssh
 *   protocol=tcp
 *
 * (on one line). jail, ip and time are required; values hold no spaces. Fields of a newer version
 * are ignored, as long as they look like fields. docs/protocol.md has it for others. */
#ifndef BANMESH_BASE_REQUEST_H
#define BANMESH_BASE_REQUEST_H

#include "event.h"
#include "log.h"

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_LINE_MAX   512 /* bytes with the NUL, or with the newline on the socket */
#define REQUEST_RECORD_MAX (REQUEST_LINE_MAX + 16)

#define REQUEST_DURATION_DEFAULT_S 600 /* when nothing is said: fail2ban's own default bantime */

/* The first word of the node's answer. */
#define REQUEST_ANSWER_OK        "ok"        /* on disk, or it was already */
#define REQUEST_ANSWER_SKIPPED   "skipped"   /* well-formed, not to be published; do not repeat */
#define REQUEST_ANSWER_MALFORMED "malformed" /* repeating it cannot help */
#define REQUEST_ANSWER_FAILED    "failed"    /* not stored: keep it and try later */

/* Exit statuses of the hook. */
enum { REQUEST_EXIT_STORED = 0, REQUEST_EXIT_NOT_STORED = 1, REQUEST_EXIT_MALFORMED = 2 };

/* Set one field of a ban from its name and text, as the hook's options and the line's fields do.
 * Returns 0; 1 if no field has that name; -1 with the fault naming the value. */
int request_set(ban_t *ban, const char *name, const char *value, fault_t *fault);

/* A ban with nothing set but the defaults; its time is -1, not yet set. */
void request_init(ban_t *ban);

/* Parse a line (no newline, need not end with NUL). Returns 0, or -1 with the fault. */
int request_parse(const char *line, size_t length, ban_t *ban, fault_t *fault);

/* Write the line, no newline. Returns its length. */
size_t request_format(const ban_t *ban, char line[static REQUEST_LINE_MAX]);

/* Write a spool record: the line, " crc=" with 8 hex digits, newline. Returns its length. */
size_t request_record_format(const ban_t *ban, char record[static REQUEST_RECORD_MAX]);

/* Parse a spool record (without its newline). Returns 0, or -1 with the fault: a torn or altered
 * record fails its checksum. */
int request_record_parse(const char *record, size_t length, ban_t *ban, fault_t *fault);

#endif
