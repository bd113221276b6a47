#include "shared_tail.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 65536

/* A piece of the file, and where it is. */
typedef struct {
    char text[BLOCK_BYTES];
    off_t at;
    size_t size;
} block_t;

static int read_block(int fd, block_t *block, off_t at, size_t size)
{
    block->at = at;
    block->size = 0;
    while (block->size < size) {
        ssize_t got =
            pread(fd, block->text + block->size, size - block->size, at + (off_t)block->size);
        if (got == -1 && errno != EINTR)
            return -1;
        if (got == 0)
            break;
        block->size += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* The whole line at *start, without its newline; *start moves behind it. NULL: there is none. */
static const char *next_line(const block_t *block, size_t *start, size_t *length)
{
    const char *line = block->text + *start;
    const char *end = memchr(line, '\n', block->size - *start);
    if (end == NULL)
        return NULL;
    *length = (size_t)(end - line);
    *start += *length + 1;
    return line;
}

int shared_tail_each(int fd, off_t from, shared_tail_fn *tell, void *arg)
{
    block_t block;
    do {
        size_t start = 0;
        size_t length;
        const char *line;
        wall_t stamp;
        int64_t nid;
        if (read_block(fd, &block, from, BLOCK_BYTES) == -1)
            return -1;
        while ((line = next_line(&block, &start, &length)) != NULL)
            if (shared_line_parse(line, length, &stamp, &nid))
                tell(arg, stamp, nid);
        /* Go on where the last line began, or behind what cannot be one of ours. */
        from += (off_t)(start > 0 ? start : block.size);
    } while (block.size == BLOCK_BYTES);
    return 0;
}

/* In a block: where the lines after that time begin, behind the last one that is not. *goes_on:
 * there is none, so those before this block may be after that time, too. -1: none of ours is here.
 */
static off_t look_in(const block_t *block, wall_t since, bool *goes_on)
{
    size_t start = 0;
    size_t length;
    const char *line;
    wall_t stamp;
    int64_t nid;
    off_t found = -1;
    *goes_on = true;
    while ((line = next_line(block, &start, &length)) != NULL) {
        if (!shared_line_parse(line, length, &stamp, &nid))
            continue;
        if (stamp.ms <= since.ms) {
            found = block->at + (off_t)start;
            *goes_on = false;
        } else if (found == -1)
            found = block->at + (line - block->text);
    }
    return found;
}

off_t shared_tail_since(int fd, wall_t since)
{
    block_t block;
    struct stat file;
    if (fstat(fd, &file) == -1)
        return -1;
    off_t found = file.st_size;
    bool goes_on = true;
    for (off_t end = file.st_size; end > 0 && goes_on;) {
        off_t at = end > BLOCK_BYTES ? end - BLOCK_BYTES : 0;
        if (read_block(fd, &block, at, (size_t)(end - at)) == -1)
            return -1;
        off_t here = look_in(&block, since, &goes_on);
        if (here != -1)
            found = here;
        /* The line that this block begins in the middle of belongs to the one before. */
        size_t start = 0;
        size_t length;
        bool whole = at == 0 || next_line(&block, &start, &length) == NULL;
        end = whole || at + (off_t)start >= end ? at : at + (off_t)start;
    }
    return found;
}
