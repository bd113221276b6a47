#include "shared_carry.h"

#include "log.h"
#include "shared_tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

/* Bans seen, open addressing. A nid is a hash already, but its origin chooses what is hashed: at
 * worst this is slow. Free: -1, which no nid is. */
typedef struct {
    int64_t *nids;
    size_t size;
} seen_t;

typedef struct {
    seen_t seen;
    char kept[BLOCK_BYTES];
    shared_piece_t piece;
} carry_t;

static void count(void *arg, wall_t stamp, int64_t nid)
{
    (void)stamp;
    (void)nid;
    ++*(size_t *)arg;
}

static seen_t seen_of(size_t lines)
{
    seen_t seen = {.size = lines * 2 + 1};
    seen.nids = xmalloc(seen.size * sizeof *seen.nids);
    memset(seen.nids, 0xff, seen.size * sizeof *seen.nids);
    return seen;
}

/* Returns false if it was there. */
static bool note(seen_t *seen, int64_t nid)
{
    size_t at = (size_t)nid % seen->size;
    while (seen->nids[at] != -1) {
        if (seen->nids[at] == nid)
            return false;
        at = at + 1 == seen->size ? 0 : at + 1;
    }
    seen->nids[at] = nid;
    return true;
}

/* Take the lines of a block that come for the first time. Returns the bytes of whole lines in it.
 */
static size_t sift(carry_t *self, const char *block, size_t size)
{
    const char *line = block;
    const char *end;
    self->piece = (shared_piece_t){.text = self->kept};
    while ((end = memchr(line, '\n', size - (size_t)(line - block))) != NULL) {
        wall_t stamp;
        int64_t nid;
        if (shared_line_parse(line, (size_t)(end - line), &stamp, &nid) && note(&self->seen, nid)) {
            memcpy(self->kept + self->piece.size, line, (size_t)(end + 1 - line));
            self->piece.size += (size_t)(end + 1 - line);
            self->piece.lines++;
            self->piece.stamp = stamp;
        }
        line = end + 1;
    }
    return (size_t)(line - block);
}

int shared_carry(int fd, off_t from, off_t until, shared_carry_fn *give, void *arg)
{
    char block[BLOCK_BYTES];
    size_t lines = 0;
    if (from >= until)
        return 0;
    if (shared_tail_each(fd, from, count, &lines) == -1)
        return -1;
    carry_t self;
    self.seen = seen_of(lines);
    self.piece.lines = 0;
    int rc = 0;
    while (from < until && rc == 0) {
        size_t wanted = until - from < BLOCK_BYTES ? (size_t)(until - from) : BLOCK_BYTES;
        ssize_t got = pread(fd, block, wanted, from);
        size_t whole = got > 0 ? sift(&self, block, (size_t)got) : 0;
        if (got == -1)
            rc = -1;
        else if (self.piece.lines > 0)
            rc = give(arg, &self.piece);
        if (got <= 0 || (whole == 0 && got < BLOCK_BYTES))
            break;
        from += (off_t)(whole > 0 ? whole : (size_t)got);
    }
    int saved = errno;
    free(self.seen.nids);
    errno = saved;
    return rc;
}
