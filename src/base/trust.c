#include "trust.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trust {
    trusted_t *members;
    size_t size;
    /* Indexes into members, in order of key: 200 nodes ask at every message. */
    size_t *by_sign;
};

/* A certificate's name from its file's: -1 if it is none, with the fault only where it looks like
 * one. */
static int name_of_file(const char *file, char name[static EVENT_NAME_MAX + 1], fault_t *fault)
{
    size_t length = strlen(file);
    size_t suffix = strlen(CERT_PUBLIC_SUFFIX);
    fault->text[0] = '\0';
    if (file[0] == '.' || length < suffix ||
        strcmp(file + length - suffix, CERT_PUBLIC_SUFFIX) != 0)
        return -1;
    if (!event_name_valid(file, length - suffix))
        return fault_set(fault, "%s: name of a certificate: %s", file,
                         event_error_text(EVENT_BAD_JAIL));
    memcpy(name, file, length - suffix);
    name[length - suffix] = '\0';
    return 0;
}

static int add_member(trust_t *self, const char *directory, const char *file, const char *name,
                      fault_t *fault)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    cert_t *cert = cert_load_public(path, fault);
    if (cert == NULL)
        return -1;
    self->members = xrealloc(self->members, (self->size + 1) * sizeof *self->members);
    trusted_t *member = &self->members[self->size++];
    memset(member, 0, sizeof *member);
    snprintf(member->name, sizeof member->name, "%s", name);
    member->curve_public = cert->curve_public;
    member->sign_public = cert->sign_public;
    memcpy(member->endpoint, cert->endpoint, sizeof member->endpoint);
    memcpy(member->replay, cert->replay, sizeof member->replay);
    cert_destroy(&cert);
    return 0;
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(((const trusted_t *)one)->name, ((const trusted_t *)other)->name);
}

static int compare_signs(const void *one, const void *other, void *members)
{
    const trusted_t *all = members;
    return pubkey_compare(&all[*(const size_t *)one].sign_public,
                          &all[*(const size_t *)other].sign_public);
}

/* One key under two names would make "who was it" ambiguous. */
static int check_keys(const trust_t *self, const char *directory, fault_t *fault)
{
    for (size_t i = 0; i < self->size; i++)
        for (size_t j = 0; j < i; j++) {
            const trusted_t *one = &self->members[j];
            const trusted_t *other = &self->members[i];
            if (pubkey_equal(&one->curve_public, &other->curve_public) ||
                pubkey_equal(&one->sign_public, &other->sign_public))
                return fault_set(fault, "%s: %s.cert and %s.cert hold the same key; remove one",
                                 directory, one->name, other->name);
        }
    return 0;
}

static int read_directory(trust_t *self, const char *directory, fault_t *fault)
{
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return fault_set(fault, "%s: %s", directory, strerror(errno));
    int rc = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL && rc == 0; entry = readdir(dir)) {
        char name[EVENT_NAME_MAX + 1];
        if (name_of_file(entry->d_name, name, fault) == 0)
            rc = add_member(self, directory, entry->d_name, name, fault);
        else if (fault->text[0] != '\0')
            rc = -1;
    }
    closedir(dir);
    return rc;
}

trust_t *trust_load(const char *directory, fault_t *fault)
{
    trust_t *self = xcalloc(1, sizeof *self);
    if (read_directory(self, directory, fault) == -1 || check_keys(self, directory, fault) == -1) {
        trust_destroy(&self);
        return NULL;
    }
    if (self->size > 0)
        qsort(self->members, self->size, sizeof *self->members, compare_names);
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
