#include "wal.h"

#include "bytes.h"
#include "log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES       32
#define FRAME_HEADER_BYTES 24
#define FRAME_BYTES        (FRAME_HEADER_BYTES + WAL_PAGE_BYTES)
#define MAGIC              0x377f0682 /* its lowest bit: checksums over big-endian words */
#define SALT_BYTES         8

typedef struct {
    uint32_t words[2];
} sum_t;

typedef struct {
    uint32_t page;
    int64_t at; /* of its image in the file */
} image_t;

struct wal {
    int fd;
    bool big_endian;
    bool damaged;
    image_t *waiting; /* of the transaction that no commit has ended yet */
    size_t waiting_count;
    size_t waiting_size;
    int64_t *newest; /* by page: where its image is; 0: nowhere */
    uint32_t last_page;
};

static uint32_t get_word(const wal_t *self, const uint8_t *in)
{
    if (self->big_endian)
        return get_u32(in);
    return (uint32_t)in[3] << 24 | (uint32_t)in[2] << 16 | (uint32_t)in[1] << 8 | in[0];
}

static sum_t add_to_sum(const wal_t *self, sum_t sum, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        sum.words[0] += get_word(self, bytes + i) + sum.words[1];
        sum.words[1] += get_word(self, bytes + i + 4) + sum.words[0];
    }
    return sum;
}

/* As it stands in a header. */
static sum_t stored_sum(const uint8_t *bytes)
{
    return (sum_t){{get_u32(bytes), get_u32(bytes + 4)}};
}

static bool is_same(sum_t one, sum_t other)
{
    return one.words[0] == other.words[0] && one.words[1] == other.words[1];
}

static void wait_for_commit(wal_t *self, uint32_t page, int64_t at)
{
    if (self->waiting_count == self->waiting_size) {
        self->waiting_size = self->waiting_size * 2 + 64;
        self->waiting = xrealloc(self->waiting, self->waiting_size * sizeof *self->waiting);
    }
    self->waiting[self->waiting_count++] = (image_t){page, at};
}

static void commit(wal_t *self)
{
    for (size_t i = 0; i < self->waiting_count; i++) {
        const image_t *image = &self->waiting[i];
        if (image->page > self->last_page) {
            self->newest = xrealloc(self->newest, ((size_t)image->page + 1) * sizeof *self->newest);
            memset(self->newest + self->last_page + 1, 0,
                   (image->page - self->last_page) * sizeof *self->newest);
            self->last_page = image->page;
        }
        self->newest[image->page] = image->at;
    }
    self->waiting_count = 0;
}

/* Each frame's sum goes on from that of the one before, as it stands there: so what stands behind a
 * broken frame can still be told from nonsense. */
static void read_frames(wal_t *self, const uint8_t *header)
{
    uint8_t frame[FRAME_BYTES];
    uint8_t salt[SALT_BYTES];
    sum_t sum = stored_sum(header + 24);
    bool header_whole = is_same(add_to_sum(self, (sum_t){0}, header, 24), sum);
    bool broken = !header_whole;
    memcpy(salt, header + 16, sizeof salt);
    for (int64_t at = HEADER_BYTES; pread(self->fd, frame, sizeof frame, at) == FRAME_BYTES;
         at += FRAME_BYTES) {
        if (at == HEADER_BYTES && !header_whole)
            memcpy(salt, frame + 8, sizeof salt);
        sum_t expected = add_to_sum(self, sum, frame, 8);
        expected = add_to_sum(self, expected, frame + FRAME_HEADER_BYTES, WAL_PAGE_BYTES);
        sum = stored_sum(frame + 16);
        if (memcmp(frame + 8, salt, sizeof salt) != 0 || !is_same(expected, sum) ||
            get_u32(frame) == 0) {
            broken = true;
            continue;
        }
        wait_for_commit(self, get_u32(frame), at + FRAME_HEADER_BYTES);
        if (get_u32(frame + 4) != 0) {
            self->damaged = self->damaged || broken;
            commit(self);
        }
    }
}

wal_t *wal_open(const char *path)
{
    wal_t *self = xcalloc(1, sizeof *self);
    char name[PATH_MAX];
    uint8_t header[HEADER_BYTES];
    self->newest = xcalloc(1, sizeof *self->newest);
    snprintf(name, sizeof name, "%s-wal", path);
    self->fd = open(name, O_RDONLY | O_CLOEXEC);
    if (self->fd != -1 && pread(self->fd, header, sizeof header, 0) == HEADER_BYTES) {
        self->big_endian = get_u32(header) == (MAGIC | 1);
        read_frames(self, header);
    }
    return self;
}

void wal_close(wal_t **self_p)
{
    wal_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->fd != -1)
        close(self->fd);
    free(self->waiting);
    free(self->newest);
    free(self);
}

bool wal_is_damaged(const wal_t *self)
{
    return self->damaged;
}

bool wal_read(const wal_t *self, uint32_t page, uint8_t out[static WAL_PAGE_BYTES])
{
    return page <= self->last_page && self->newest[page] != 0 &&
           pread(self->fd, out, WAL_PAGE_BYTES, self->newest[page]) == WAL_PAGE_BYTES;
}

uint32_t wal_last_page(const wal_t *self)
{
    return self->last_page;
}

int64_t wal_size(const char *path)
{
    char name[PATH_MAX];
    struct stat status;
    snprintf(name, sizeof name, "%s-wal", path);
    return stat(name, &status) == 0 ? status.st_size : 0;
}
