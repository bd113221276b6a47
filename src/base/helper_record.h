/* helper_record - what banmeshd asks banmesh-helper, and what that answers: records of fixed shape
 * on a SOCK_SEQPACKET socket, each one packet. All numbers in network order.
 *
 *   request   offset  size                      answer    offset  size
 *                  0     1  version, 1                         0     1  version, 1
 *                  1     1  what                               1     1  what, as asked
 *                  2     2  count                              2     1  status
 *                  4     4  tag                                3     1  1: the last one
 *                  8        count addresses,                   4     4  tag, as asked
 *                           or a jail: 64 bytes,               8     2  count
 *                           zeros behind its name             10        count items, or if status
 *                                                                       is not ok a text
 *
 * An address is family (4, 6), prefix length, 16 bytes. Items of answers: to a lift a byte for each
 * address, 1 if it was held, or in how many jails; to a list address, 8 bytes begin, 8 bytes ban
 * time (s, -1 for ever); to jails 64 bytes name, 1 byte kind of the source, 255 bytes source. Pure;
 * libc only. */
#ifndef BANMESH_BASE_HELPER_RECORD_H
#define BANMESH_BASE_HELPER_RECORD_H

#include "addr.h"
#include "event.h"

#define HELPER_VERSION     1
#define HELPER_LIFT_MAX    100 /* addresses of a request */
#define HELPER_TICKETS_MAX 500 /* of one answer */
#define HELPER_SOURCE_MAX  255
#define HELPER_TEXT_MAX    200

#define HELPER_REQUEST_HEADER 8
#define HELPER_ANSWER_HEADER  10
#define HELPER_ADDRESS_BYTES  18
#define HELPER_TICKET_BYTES   (HELPER_ADDRESS_BYTES + 8 + 8)
#define HELPER_JAIL_BYTES     64
#define HELPER_SOURCE_BYTES   (HELPER_JAIL_BYTES + 1 + HELPER_SOURCE_MAX)
#define HELPER_RECORD_MAX     (HELPER_ANSWER_HEADER + HELPER_TICKETS_MAX * HELPER_TICKET_BYTES)

typedef enum {
    HELPER_UNKNOWN = 0,  /* of a record that is not one */
    HELPER_LIFT = 1,     /* in the shared jail */
    HELPER_LIFT_ALL = 2, /* in all jails; no networks */
    HELPER_LIST = 3,     /* what a jail holds */
    HELPER_JAILS = 4,    /* which jails there are, what they read, and what they do */
} helper_what_t;

typedef enum {
    HELPER_OK = 0,
    HELPER_NO_FAIL2BAN, /* its socket is not there, nobody listens, or it is about to end */
    HELPER_REFUSED,     /* fail2ban says no: its words are the text */
    HELPER_NONSENSE,    /* an answer that is not fail2ban's */
    HELPER_TIMED_OUT,
    HELPER_MALFORMED, /* the request is */
    HELPER_STATUS_COUNT,
} helper_status_t;

/* What a source of a jail is. */
typedef enum {
    HELPER_LOG = 0,     /* path of a log */
    HELPER_JOURNAL = 1, /* a journal match */
    HELPER_ACTION = 2,  /* name of an action */
    HELPER_NOTHING = 3, /* the jail has nothing of all that */
    HELPER_TARGET = 4,  /* of no jail, before all others: where fail2ban's own log goes */
} helper_source_t;

typedef struct {
    helper_what_t what;
    uint32_t tag;
    size_t count; /* of addresses */
    addr_t addresses[HELPER_LIFT_MAX];
    char jail[EVENT_NAME_MAX + 1]; /* of HELPER_LIST */
} helper_request_t;

typedef struct {
    addr_t address;
    int64_t start_s;
    int64_t bantime_s; /* -1: for ever */
} helper_ticket_t;

/* The header of an answer, and where its items are. */
typedef struct {
    helper_what_t what;
    helper_status_t status;
    bool last;
    uint32_t tag;
    size_t count;
    const uint8_t *items; /* borrowed from the record */
    char text[HELPER_TEXT_MAX + 1];
} helper_answer_t;

/* A jail that can be asked for: of 1 to 64 bytes, without backslash and newline. */
bool helper_jail_valid(const char *name);

const char *helper_status_name(helper_status_t status);

/* Returns the size. */
size_t helper_request_write(const helper_request_t *request,
                            uint8_t record[static HELPER_RECORD_MAX]);

/* Returns 0; -1: it is not one. What could be read of tag and what is filled in all the same. */
int helper_request_read(const uint8_t *record, size_t size, helper_request_t *request);

/* The header of an answer whose items are written behind it already; a text for all but HELPER_OK.
 * Returns the size. */
size_t helper_answer_write(const helper_answer_t *answer, uint8_t record[static HELPER_RECORD_MAX]);

/* Returns 0; -1: it is not one. */
int helper_answer_read(const uint8_t *record, size_t size, helper_answer_t *answer);

void helper_address_put(uint8_t out[static HELPER_ADDRESS_BYTES], const addr_t *address);
bool helper_address_get(const uint8_t in[static HELPER_ADDRESS_BYTES], addr_t *address);
void helper_ticket_put(uint8_t out[static HELPER_TICKET_BYTES], const helper_ticket_t *ticket);
bool helper_ticket_get(const uint8_t in[static HELPER_TICKET_BYTES], helper_ticket_t *ticket);

#endif
