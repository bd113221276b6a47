#include "enrich.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

struct enrich {
    char *path;
    bool is_open;
    MMDB_s db;
    struct stat seen; /* of the file that db was copied from */
    uint64_t damaged; /* look-ups that met a damaged place */
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
    else if ((copy = memfd_create("country", MFD_CLOEXEC)) == -1 || copy_bytes(file, copy) == -1) {
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

/* The new database in place of the old one. */
static void adopt(enrich_t *self, const char *path, const MMDB_s *db, const struct stat *status)
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
    }
}

int enrich_refresh(enrich_t *self, const char *path, fault_t *fault)
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

enrich_t *enrich_new(const char *path, fault_t *fault)
{
    enrich_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup("");
    if (enrich_refresh(self, path, fault) == -1)
        enrich_destroy(&self);
    return self;
}

void enrich_destroy(enrich_t **self_p)
{
    enrich_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->is_open)
        MMDB_close(&self->db);
    free(self->path);
    free(self);
}

bool enrich_is_open(const enrich_t *self)
{
    return self->is_open;
}

/* ---- looking up ---- */

static const char *const country_paths[][3] = {
    {"country", "iso_code", NULL},
    {"registered_country", "iso_code", NULL},
    {"country_code", NULL, NULL},
    {"country", NULL, NULL},
};

#define PATH_COUNT (sizeof country_paths / sizeof country_paths[0])

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Only two letters pass: whatever else a file holds must not become the name of a key. */
static bool take_code(const MMDB_entry_data_s *data, char out[static ENRICH_COUNTRY_BYTES])
{
    if (!data->has_data || data->type != MMDB_DATA_TYPE_UTF8_STRING || data->data_size != 2 ||
        !is_letter(data->utf8_string[0]) || !is_letter(data->utf8_string[1]))
        return false;
    out[0] = (char)(data->utf8_string[0] & ~0x20);
    out[1] = (char)(data->utf8_string[1] & ~0x20);
    out[2] = '\0';
    return true;
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

void enrich_country(enrich_t *self, const addr_t *address, char out[static ENRICH_COUNTRY_BYTES])
{
    int error = MMDB_SUCCESS;
    memcpy(out, ENRICH_UNKNOWN, ENRICH_COUNTRY_BYTES);
    if (!self->is_open)
        return;
    MMDB_lookup_result_s found = look_up(&self->db, address, &error);
    for (size_t i = 0; error == MMDB_SUCCESS && found.found_entry && i < PATH_COUNT; i++) {
        MMDB_entry_data_s data;
        error = MMDB_aget_value(&found.entry, &data, country_paths[i]);
        if (error == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR)
            error = MMDB_SUCCESS;
        else if (error == MMDB_SUCCESS && take_code(&data, out))
            return;
    }
    if (error != MMDB_SUCCESS && error != MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR)
        self->damaged++;
}

json_t *enrich_status(const enrich_t *self)
{
    if (!self->is_open)
        return json_pack("{s:s, s:b}", "path", self->path, "loaded", false);
    return json_pack("{s:s, s:b, s:s, s:I, s:I}", "path", self->path, "loaded", true, "type",
                     self->db.metadata.database_type, "built",
                     (json_int_t)self->db.metadata.build_epoch, "damaged",
                     (json_int_t)self->damaged);
}
