#include "geo_db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

struct geo_db {
    const geo_db_use_t *use;
    char *path;
    bool is_open;
    MMDB_s db;
    struct stat seen; /* of the file that db was copied from */
    fault_t gap;      /* what the file lacks as a whole; "": nothing */
    uint64_t unknown; /* look-ups that found nothing */
    uint64_t damaged; /* places that were met */
};

/* ---- reading the file ---- */

static int copy_bytes(int from, int to)
{
    ssize_t moved;
    do
        moved = sendfile(to, from, NULL, 1 << 20);
    while (moved > 0 || (moved == -1 && errno == EINTR));
    return (int)moved;
}

/* A copy that lives in memory only. Returns its descriptor; -1 with the fault; -2 if there is no
 * such file. */
static int copy_file(const char *path, struct stat *status, fault_t *fault)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file == -1 && errno == ENOENT)
        return -2;
    if (file == -1)
        return fault_set(fault, "%s: %s", path, strerror(errno));
    int copy = -1;
    if (fstat(file, status) == -1 || !S_ISREG(status->st_mode))
        fault_set(fault, "%s: expected a file", path);
    else if ((copy = memfd_create("geo_db", MFD_CLOEXEC)) == -1 || copy_bytes(file, copy) == -1) {
        fault_set(fault, "%s: cannot be read: %s", path, strerror(errno));
        if (copy != -1)
            close(copy);
        copy = -1;
    }
    close(file);
    return copy;
}

/* Returns 1 with *db, 0 if there is no file, -1 with the fault. */
static int read_db(const char *path, MMDB_s *db, struct stat *status, fault_t *fault)
{
    char name[64];
    if (*path == '\0')
        return 0;
    int copy = copy_file(path, status, fault);
    if (copy < 0)
        return copy == -2 ? 0 : -1;
    snprintf(name, sizeof name, "/proc/self/fd/%d", copy);
    int error = MMDB_open(name, MMDB_MODE_MMAP, db);
    close(copy);
    if (error != MMDB_SUCCESS)
        return fault_set(fault, "%s: not a MaxMind DB file: %s", path, MMDB_strerror(error));
    return 1;
}

static bool is_same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino &&
           one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
           one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

/* ---- one record ---- */

bool geo_db_value(geo_db_t *self, MMDB_entry_s *entry, const char *const *path,
                  MMDB_entry_data_s *out)
{
    int error = MMDB_aget_value(entry, out, path);
    if (error == MMDB_SUCCESS)
        return out->has_data;
    if (error != MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
        self->damaged++;
    return false;
}

static MMDB_lookup_result_s look_up(const MMDB_s *db, const addr_t *address, int *error)
{
    if (address->family == 4) {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        memcpy(&v4.sin_addr, address->bytes, sizeof v4.sin_addr);
        return MMDB_lookup_sockaddr(db, (const struct sockaddr *)&v4, error);
    }
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v6.sin6_addr, address->bytes, sizeof v6.sin6_addr);
    return MMDB_lookup_sockaddr(db, (const struct sockaddr *)&v6, error);
}

/* IPv4 lies 96 bits deep in a tree for both. One record above that may stand for all of IPv4. */
static bool network_of(const MMDB_s *db, const addr_t *address, uint16_t depth, addr_t *out)
{
    uint32_t prefix = depth;
    if (address->family == 4 && db->metadata.ip_version == 6)
        prefix = depth > 96 ? depth - 96u : 0;
    return addr_from_bytes(address->bytes, addr_size(address), prefix, out) == ADDR_OK;
}

bool geo_db_find(geo_db_t *self, const addr_t *address, MMDB_entry_s *entry, addr_t *network)
{
    int error = MMDB_SUCCESS;
    if (!self->is_open)
        return false;
    MMDB_lookup_result_s found = look_up(&self->db, address, &error);
    if (error != MMDB_SUCCESS && error != MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR)
        self->damaged++;
    if (error == MMDB_SUCCESS && found.found_entry &&
        network_of(&self->db, address, found.netmask, network)) {
        *entry = found.entry;
        return true;
    }
    self->unknown++;
    return false;
}

void geo_db_count_unknown(geo_db_t *self)
{
    self->unknown++;
}

/* ---- what it is good for ---- */

#define SAMPLE_RECORDS 1000
#define SAMPLE_NODES   200000 /* a tree may be damaged */

typedef struct {
    geo_db_t *of;
    MMDB_s *db;
    uint64_t alias; /* a part of the tree that stands for another one */
    size_t records;
    size_t nodes;
} sample_t;

static bool holds_below(sample_t *self, uint64_t node, int depth);

static bool record_holds(sample_t *self, uint64_t record, uint8_t type, MMDB_entry_s *entry,
                         int depth)
{
    if (type == MMDB_RECORD_TYPE_SEARCH_NODE)
        return record != self->alias && holds_below(self, record, depth + 1);
    if (type != MMDB_RECORD_TYPE_DATA || self->records == 0)
        return false;
    self->records--;
    return self->of->use->holds(self->of, entry);
}

/* Whether any of the first records below a node has one. */
static bool holds_below(sample_t *self, uint64_t node, int depth)
{
    MMDB_search_node_s found;
    if (depth > 128 || self->records == 0 || self->nodes == 0)
        return false;
    self->nodes--;
    if (MMDB_read_node(self->db, (uint32_t)node, &found) != MMDB_SUCCESS)
        return false;
    return record_holds(self, found.left_record, found.left_record_type, &found.left_record_entry,
                        depth) ||
           record_holds(self, found.right_record, found.right_record_type,
                        &found.right_record_entry, depth);
}

static bool has_v4(geo_db_t *self)
{
    MMDB_s *db = &self->db;
    sample_t sample = {self, db, UINT64_MAX, SAMPLE_RECORDS, SAMPLE_NODES};
    uint64_t start = db->metadata.ip_version == 4 ? 0 : db->ipv4_start_node.node_value;
    /* Otherwise one record stands for all of IPv4. */
    return start < db->metadata.node_count && holds_below(&sample, start, 0);
}

/* Of ordinary addresses, 2000::/3: bits 0, 0, 1. */
static bool has_v6(geo_db_t *self)
{
    MMDB_s *db = &self->db;
    sample_t sample = {self, db, db->ipv4_start_node.node_value, SAMPLE_RECORDS, SAMPLE_NODES};
    MMDB_search_node_s found;
    uint64_t node = 0;
    for (int bit = 0; bit < 3; bit++) {
        if (db->metadata.ip_version == 4 ||
            MMDB_read_node(db, (uint32_t)node, &found) != MMDB_SUCCESS)
            return false;
        uint8_t type = bit < 2 ? found.left_record_type : found.right_record_type;
        node = bit < 2 ? found.left_record : found.right_record;
        if (type != MMDB_RECORD_TYPE_SEARCH_NODE)
            return false;
    }
    return holds_below(&sample, node, 3);
}

static void look_for_gap(geo_db_t *self)
{
    bool v4 = has_v4(self);
    bool v6 = has_v6(self);
    self->gap.text[0] = '\0';
    if (!v4 || !v6)
        fault_set(&self->gap, "%s (%s) holds no %s%s: all %s be %s", self->path,
                  self->db.metadata.database_type, self->use->things,
                  v4   ? " of IPv6 addresses"
                  : v6 ? " of IPv4 addresses"
                       : "",
                  v4 || v6 ? "these will" : "will", self->use->without);
    self->damaged = 0; /* of what is looked up from now on */
}

const char *geo_db_gap(const geo_db_t *self)
{
    return self->is_open && self->gap.text[0] != '\0' ? self->gap.text : NULL;
}

/* The new database in place of the old one. */
static void adopt(geo_db_t *self, const char *path, const MMDB_s *db, const struct stat *status)
{
    char *copy = xstrdup(path);
    if (self->is_open)
        MMDB_close(&self->db);
    free(self->path);
    self->path = copy;
    self->is_open = db != NULL;
    if (db != NULL) {
        self->db = *db;
        self->seen = *status;
        look_for_gap(self);
    }
}

int geo_db_refresh(geo_db_t *self, const char *path, fault_t *fault)
{
    MMDB_s db;
    struct stat status;
    bool same_path = strcmp(self->path, path) == 0;
    if (same_path &&
        (stat(path, &status) == -1 || (self->is_open && is_same_file(&status, &self->seen))))
        return 0;
    int rc = read_db(path, &db, &status, fault);
    if (rc == 1)
        adopt(self, path, &db, &status);
    else if (rc == 0 && !same_path)
        adopt(self, path, NULL, NULL);
    return rc;
}

geo_db_t *geo_db_new(const geo_db_use_t *use, const char *path, fault_t *fault)
{
    geo_db_t *self = xcalloc(1, sizeof *self);
    self->use = use;
    self->path = xstrdup("");
    if (geo_db_refresh(self, path, fault) == -1)
        geo_db_destroy(&self);
    return self;
}

void geo_db_destroy(geo_db_t **self_p)
{
    geo_db_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->is_open)
        MMDB_close(&self->db);
    free(self->path);
    free(self);
}

bool geo_db_is_open(const geo_db_t *self)
{
    return self->is_open;
}

const char *geo_db_path(const geo_db_t *self)
{
    return self->path;
}

int64_t geo_db_built_s(const geo_db_t *self)
{
    return self->is_open ? (int64_t)self->db.metadata.build_epoch : 0;
}

json_t *geo_db_status(const geo_db_t *self)
{
    if (!self->is_open)
        return json_pack("{s:s, s:b}", "path", self->path, "loaded", false);
    return json_pack("{s:s, s:b, s:s, s:I, s:I, s:I}", "path", self->path, "loaded", true, "type",
                     self->db.metadata.database_type, "built",
                     (json_int_t)self->db.metadata.build_epoch, "damaged",
                     (json_int_t)self->damaged, "unknown", (json_int_t)self->unknown);
}
