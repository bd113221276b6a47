#include "wreck.h"

#include "bytes.h"
#include "wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES     WAL_PAGE_BYTES
#define HEADER_BYTES   100  /* of the file, on the first page */
#define TABLE_LEAF     0x0d /* the page type */
#define CELLS_AT       8    /* the pointers to the cells, behind the page's header */
#define LOCAL_MAX      (PAGE_BYTES - 35)
#define LOCAL_MIN      ((PAGE_BYTES - 12) * 32 / 255 - 23)
#define OVERFLOW_BYTES (PAGE_BYTES - 4)
#define VARINT_MAX     9

/* A place is page << 17 | whether the log comes first << 16 | cell. */
#define PLACE_LOG (1U << 16)

struct wreck {
    int fd;
    wal_t *log;
    uint32_t last_page;
    uint8_t page[PAGE_BYTES];
    uint8_t row[WRECK_ROW_BYTES];
};

wreck_t *wreck_open(const char *path, fault_t *fault)
{
    struct stat status;
    int64_t log_size = wal_size(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1 && (errno != ENOENT || log_size == 0)) {
        fault_set(fault, "%s: %s", path, strerror(errno));
        return NULL;
    }
    wreck_t *self = xcalloc(1, sizeof *self);
    self->fd = fd;
    self->log = wal_open(path);
    self->last_page = wal_last_page(self->log);
    if (fd != -1 && fstat(fd, &status) == 0 && status.st_size / PAGE_BYTES > self->last_page)
        self->last_page = (uint32_t)(status.st_size / PAGE_BYTES);
    return self;
}

void wreck_close(wreck_t **self_p)
{
    wreck_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->fd != -1)
        close(self->fd);
    wal_close(&self->log);
    free(self);
}

static bool read_page(const wreck_t *self, uint32_t page, bool log_first, uint8_t *out)
{
    if (page == 0 || page > self->last_page)
        return false;
    return (log_first && wal_read(self->log, page, out)) ||
           (self->fd != -1 &&
            pread(self->fd, out, PAGE_BYTES, (off_t)(page - 1) * PAGE_BYTES) == PAGE_BYTES);
}

/* Returns the bytes that it takes, 0 if it does not end before `end`. */
static size_t get_varint(const uint8_t *in, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < VARINT_MAX && in + i < end; i++) {
        if (i == VARINT_MAX - 1) {
            *out = value << 8 | in[i];
            return VARINT_MAX;
        }
        value = value << 7 | (in[i] & 0x7f);
        if (in[i] < 0x80) {
            *out = value;
            return i + 1;
        }
    }
    return 0;
}

/* Collect what a cell has on its own page and on the chain behind it. */
static bool collect(wreck_t *self, const uint8_t *at, size_t left, size_t size, bool log_first)
{
    uint8_t page[PAGE_BYTES];
    size_t local = size;
    if (size > LOCAL_MAX) {
        local = LOCAL_MIN + (size - LOCAL_MIN) % OVERFLOW_BYTES;
        if (local > LOCAL_MAX)
            local = LOCAL_MIN;
    }
    if (local + (local < size ? 4 : 0) > left)
        return false;
    memcpy(self->row, at, local);
    uint32_t next = local < size ? get_u32(at + local) : 0;
    for (size_t used = local; used < size;) {
        size_t part = size - used < OVERFLOW_BYTES ? size - used : OVERFLOW_BYTES;
        if (!read_page(self, next, log_first, page))
            return false;
        memcpy(self->row + used, page + 4, part);
        used += part;
        next = get_u32(page);
    }
    return true;
}

static const size_t number_bytes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};

static size_t value_bytes(uint64_t type)
{
    return type < 10 ? number_bytes[type] : (size_t)(type - 12) / 2;
}

static void take_value(uint64_t type, const uint8_t *at, wreck_value_t *out)
{
    size_t size = value_bytes(type);
    *out = (wreck_value_t){0};
    if (type >= 12) {
        out->bytes = at;
        out->size = size;
    } else if (type == 9)
        out->number = 1;
    else if (type >= 1 && type <= 6) {
        uint64_t value = at[0] & 0x80 ? UINT64_MAX : 0;
        for (size_t i = 0; i < size; i++)
            value = value << 8 | at[i];
        out->number = (int64_t)value;
    }
}

/* Take the record in self->row apart: a header of types, then the values. */
static bool take_apart(const wreck_t *self, size_t size, wreck_row_t *row)
{
    const uint8_t *end = self->row + size;
    uint64_t header;
    const uint8_t *type_at = self->row + get_varint(self->row, end, &header);
    if (type_at == self->row || header > size)
        return false;
    const uint8_t *types_end = self->row + header;
    const uint8_t *value_at = types_end;
    row->count = 0;
    while (type_at < types_end && row->count < WRECK_COLUMNS_MAX) {
        uint64_t type;
        size_t used = get_varint(type_at, types_end, &type);
        if (used == 0 || type == 10 || type == 11 || type > 2 * WRECK_ROW_BYTES + 13 ||
            value_bytes(type) > (size_t)(end - value_at))
            return false;
        take_value(type, value_at, &row->columns[row->count++]);
        type_at += used;
        value_at += value_bytes(type);
    }
    return type_at == types_end;
}

/* The cells of the page in self->page; 0 if it is no leaf of a table. */
static size_t count_cells(const wreck_t *self, uint32_t page)
{
    const uint8_t *header = self->page + (page == 1 ? HEADER_BYTES : 0);
    size_t count = (size_t)header[3] << 8 | header[4];
    return header[0] == TABLE_LEAF && count <= PAGE_BYTES / 4 ? count : 0;
}

static bool read_cell(wreck_t *self, uint32_t page, size_t cell, bool log_first, wreck_row_t *row)
{
    size_t pointer = (page == 1 ? (size_t)HEADER_BYTES : 0) + CELLS_AT + 2 * cell;
    const uint8_t *end = self->page + PAGE_BYTES;
    const uint8_t *at = self->page + ((size_t)self->page[pointer] << 8 | self->page[pointer + 1]);
    uint64_t size;
    uint64_t id;
    size_t used = at < end ? get_varint(at, end, &size) : 0;
    size_t more = used > 0 ? get_varint(at + used, end, &id) : 0;
    if (more == 0 || size > WRECK_ROW_BYTES)
        return false;
    at += used + more;
    row->place = (uint64_t)page << 17 | (log_first ? PLACE_LOG : 0U) | cell;
    return collect(self, at, (size_t)(end - at), (size_t)size, log_first) &&
           take_apart(self, (size_t)size, row);
}

/* The log's images are newer, but if it is the log that is damaged, the file's may be the whole
 * ones: both are looked at. */
void wreck_each(wreck_t *self, void (*found)(void *arg, const wreck_row_t *row), void *arg)
{
    wreck_row_t row;
    int from = wal_last_page(self->log) > 0 ? 1 : 0;
    for (int log_first = from; log_first >= 0; log_first--)
        for (uint32_t page = 1; page <= self->last_page; page++) {
            if (!read_page(self, page, log_first == 1, self->page))
                continue;
            size_t cells = count_cells(self, page);
            for (size_t cell = 0; cell < cells; cell++)
                if (read_cell(self, page, cell, log_first == 1, &row))
                    found(arg, &row);
        }
}

bool wreck_again(wreck_t *self, uint64_t place, wreck_row_t *row)
{
    uint32_t page = (uint32_t)(place >> 17);
    size_t cell = place & (PLACE_LOG - 1);
    bool log_first = (place & PLACE_LOG) != 0;
    return read_page(self, page, log_first, self->page) && cell < count_cells(self, page) &&
           read_cell(self, page, cell, log_first, row);
}
