#include "trust.h"

#include "bytes.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_BYTES (8 * sizeof(uint64_t))

struct trust {
    trusted_t *members;
    size_t size;
    /* Indexes into members, in order of key: 200 nodes ask at every message. */
    size_t *by_sign;
    char **left_out;
    size_t left_out_count;
    uint64_t seen;
};

static bool is_certificate(const char *file)
{
    size_t length = strlen(file);
    size_t suffix = strlen(CERT_PUBLIC_SUFFIX);
    return file[0] != '.' && length >= suffix &&
           strcmp(file + length - suffix, CERT_PUBLIC_SUFFIX) == 0;
}

/* ---- what the directory shows ---- */

/* Order does not count: that of readdir () is the file system's. */
static uint64_t look_at(int dir_fd, const char *file)
{
    uint8_t bytes[LOOK_BYTES + NAME_MAX + 1] = {0};
    uint8_t hash[crypto_generichash_BYTES_MIN];
    struct stat status;
    size_t length = strlen(file);
    if (fstatat(dir_fd, file, &status, 0) == 0) {
        put_u64(bytes, status.st_dev);
        put_u64(bytes + 8, status.st_ino);
        put_u64(bytes + 16, (uint64_t)status.st_size);
        put_u64(bytes + 24, (uint64_t)status.st_mtim.tv_sec);
        put_u64(bytes + 32, (uint64_t)status.st_mtim.tv_nsec);
        put_u64(bytes + 40, (uint64_t)status.st_ctim.tv_sec);
        put_u64(bytes + 48, (uint64_t)status.st_ctim.tv_nsec);
    } else
        put_u64(bytes + 56, (uint64_t)errno);
    memcpy(bytes + LOOK_BYTES, file, length + 1);
    crypto_generichash(hash, sizeof hash, bytes, LOOK_BYTES + length, NULL, 0);
    return get_u64(hash);
}

uint64_t trust_look(const char *directory)
{
    DIR *dir = opendir(directory);
    int dir_fd = dir != NULL ? dirfd(dir) : -1;
    uint64_t sum = 1;
    if (dir_fd == -1) {
        if (dir != NULL)
            closedir(dir);
        return 0;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (is_certificate(entry->d_name))
            sum += look_at(dir_fd, entry->d_name);
    closedir(dir);
    return sum;
}

uint64_t trust_seen(const trust_t *self)
{
    return self->seen;
}

/* ---- reading it ---- */

/* A file may have any name. */
static void leave_out(trust_t *self, fault_t *why)
{
    log_make_printable(why->text);
    self->left_out = xrealloc(self->left_out, (self->left_out_count + 1) * sizeof *self->left_out);
    self->left_out[self->left_out_count++] = xstrdup(why->text);
}

const char *trust_left_out(const trust_t *self, size_t index)
{
    return index < self->left_out_count ? self->left_out[index] : NULL;
}

static int read_member(const char *directory, const char *file, trusted_t *member, fault_t *fault)
{
    char path[PATH_MAX];
    size_t length = strlen(file) - strlen(CERT_PUBLIC_SUFFIX);
    memset(member, 0, sizeof *member);
    if (!event_name_valid(file, length))
        return fault_set(fault, "%s/%s: name of a certificate: %s", directory, file,
                         event_error_text(EVENT_BAD_JAIL));
    snprintf(path, sizeof path, "%s/%s", directory, file);
    cert_t *cert = cert_load_public(path, fault);
    if (cert == NULL)
        return -1;
    memcpy(member->name, file, length);
    member->curve_public = cert->curve_public;
    member->sign_public = cert->sign_public;
    memcpy(member->endpoint, cert->endpoint, sizeof member->endpoint);
    memcpy(member->replay, cert->replay, sizeof member->replay);
    cert_destroy(&cert);
    return 0;
}

/* What says nothing of the file, and may be over in a moment: nobody is cut off for that. */
static bool is_passing(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO || error == ESTALE;
}

static int add_file(trust_t *self, const char *directory, const char *file, fault_t *fault)
{
    trusted_t member;
    fault_t why;
    errno = 0;
    if (read_member(directory, file, &member, &why) == -1) {
        if (is_passing(errno))
            return fault_set(fault, "%s", why.text);
        leave_out(self, &why);
        return 0;
    }
    self->members = xrealloc(self->members, (self->size + 1) * sizeof *self->members);
    self->members[self->size++] = member;
    return 0;
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(((const trusted_t *)one)->name, ((const trusted_t *)other)->name);
}

static int compare_lines(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static int compare_signs(const void *one, const void *other, void *members)
{
    const trusted_t *all = members;
    return pubkey_compare(&all[*(const size_t *)one].sign_public,
                          &all[*(const size_t *)other].sign_public);
}

/* Another member with a key of this one's; NULL: none. */
static const trusted_t *twin_of(const trust_t *self, const trusted_t *member)
{
    for (size_t i = 0; i < self->size; i++) {
        const trusted_t *other = &self->members[i];
        if (other != member && (pubkey_equal(&other->curve_public, &member->curve_public) ||
                                pubkey_equal(&other->sign_public, &member->sign_public)))
            return other;
    }
    return NULL;
}

/* One key under two names would make "who was it" ambiguous, and a removed name go on under the
 * other one: neither counts. */
static void leave_out_twins(trust_t *self, const char *directory)
{
    size_t kept = 0;
    bool *is_twin = xcalloc(self->size, sizeof *is_twin);
    for (size_t i = 0; i < self->size; i++) {
        fault_t why;
        const trusted_t *twin = twin_of(self, &self->members[i]);
        is_twin[i] = twin != NULL;
        if (twin == NULL)
            continue;
        fault_set(&why,
                  "%s/%s" CERT_PUBLIC_SUFFIX ": holds the same key as %s" CERT_PUBLIC_SUFFIX
                  "; remove one",
                  directory, self->members[i].name, twin->name);
        leave_out(self, &why);
    }
    for (size_t i = 0; i < self->size; i++)
        if (!is_twin[i])
            self->members[kept++] = self->members[i];
    self->size = kept;
    free(is_twin);
}

static int read_directory(trust_t *self, const char *directory, fault_t *fault)
{
    self->seen = trust_look(directory);
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return fault_set(fault, "%s: %s", directory, strerror(errno));
    const struct dirent *entry;
    int rc = 0;
    errno = 0;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (is_certificate(entry->d_name))
            rc = add_file(self, directory, entry->d_name, fault);
        errno = 0;
    }
    if (rc == 0 && errno != 0)
        rc = fault_set(fault, "%s: %s", directory, strerror(errno));
    closedir(dir);
    return rc;
}

trust_t *trust_load(const char *directory, fault_t *fault)
{
    trust_t *self = xcalloc(1, sizeof *self);
    if (read_directory(self, directory, fault) == -1) {
        trust_destroy(&self);
        return NULL;
    }
    leave_out_twins(self, directory);
    if (self->size > 0)
        qsort(self->members, self->size, sizeof *self->members, compare_names);
    if (self->left_out_count > 0)
        qsort(self->left_out, self->left_out_count, sizeof *self->left_out, compare_lines);
    self->by_sign = xcalloc(self->size, sizeof *self->by_sign);
    for (size_t i = 0; i < self->size; i++)
        self->by_sign[i] = i;
    qsort_r(self->by_sign, self->size, sizeof *self->by_sign, compare_signs, self->members);
    return self;
}

void trust_destroy(trust_t **self_p)
{
    if (*self_p == NULL)
        return;
    for (size_t i = 0; i < (*self_p)->left_out_count; i++)
        free((*self_p)->left_out[i]);
    free((*self_p)->left_out);
    free((*self_p)->members);
    free((*self_p)->by_sign);
    free(*self_p);
    *self_p = NULL;
}

size_t trust_size(const trust_t *self)
{
    return self->size;
}

const trusted_t *trust_at(const trust_t *self, size_t index)
{
    return index < self->size ? &self->members[index] : NULL;
}

const trusted_t *trust_by_name(const trust_t *self, const char *name)
{
    for (size_t i = 0; i < self->size; i++)
        if (strcmp(self->members[i].name, name) == 0)
            return &self->members[i];
    return NULL;
}

const trusted_t *trust_by_curve(const trust_t *self, const pubkey_t *key)
{
    for (size_t i = 0; i < self->size; i++)
        if (pubkey_equal(&self->members[i].curve_public, key))
            return &self->members[i];
    return NULL;
}

const trusted_t *trust_by_sign(const trust_t *self, const pubkey_t *key)
{
    size_t low = 0;
    size_t high = self->size;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const trusted_t *member = &self->members[self->by_sign[middle]];
        int order = pubkey_compare(&member->sign_public, key);
        if (order == 0)
            return member;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
