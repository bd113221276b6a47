/* parts - the raw parts that the way of a ban is made of, each alone, with nothing around it.
 * What a ban costs is compared with their sum, taken in the same round on the same machine. */
#ifndef BANMESH_BENCH_PARTS_H
#define BANMESH_BENCH_PARTS_H

#include <stdint.h>

#define PARTS_MESSAGE_BYTES 250 /* a batch of one ban, in its envelope, and some */

typedef enum {
    PART_PROCESS,       /* an empty static process: spawn to its end */
    PART_COMMIT_FULL,   /* one SQLite row of 250 bytes, WAL, synchronous=FULL */
    PART_SIGN,          /* Ed25519 over 250 bytes */
    PART_CURVE,         /* PUB to SUB over TCP on loopback, CURVE, 250 bytes, one way */
    PART_VERIFY,        /* Ed25519 */
    PART_COMMIT_NORMAL, /* as above, synchronous=NORMAL */
    PART_LINE,          /* write and fdatasync of one line of 120 bytes, appended */
    PART_COUNT,
} part_t;

const char *part_name(part_t part);

typedef struct parts parts_t;

/* Files go into directory; empty is the path of the empty process. Both are borrowed for as long as
 * the parts live. Fatal on failure. */
parts_t *parts_new(const char *directory, const char *empty);
void parts_destroy(parts_t **self_p);

/* Do it once. Returns how long it took. */
int64_t parts_time(parts_t *self, part_t part);

#endif
