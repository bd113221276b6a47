#include "store_access.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_MAX 512

struct store_access {
    store_endpoint_t **endpoints;
    char **failures; /* of each endpoint, the last one; NULL: none */
    size_t count;
    char *user;
    char password[PASSWORD_MAX];
};

static int check_password_file(const char *path, int fd, fault_t *fault)
{
    struct stat status;
    if (fd == -1 || fstat(fd, &status) == -1)
        return fault_set(fault, "store / password-file: %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return fault_set(fault, "store / password-file: %s: expected a file", path);
    if ((status.st_mode & 077) != 0)
        return fault_set(fault,
                         "store / password-file: %s: mode %04o lets others read it, expected 0600",
                         path, (unsigned)status.st_mode & 07777);
    return 0;
}

/* Its first line. */
static int read_password(const char *path, char password[static PASSWORD_MAX], fault_t *fault)
{
    ssize_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = check_password_file(path, fd, fault);
    if (rc == 0)
        size = read(fd, password, PASSWORD_MAX - 1);
    if (fd != -1)
        close(fd);
    password[size > 0 ? size : 0] = '\0';
    password[strcspn(password, "\r\n")] = '\0';
    if (rc == 0 && (*password == '\0' || size == PASSWORD_MAX - 1))
        return fault_set(fault, "store / password-file: %s: expected a line of at most %d bytes",
                         path, PASSWORD_MAX - 2);
    return rc;
}

static int read_endpoints(store_access_t *self, const text_list_t *texts, fault_t *fault)
{
    if (texts->size == 0)
        return fault_set(fault, "store / endpoints: expected at least one");
    self->endpoints = xcalloc(texts->size, sizeof(store_endpoint_t *));
    self->failures = xcalloc(texts->size, sizeof(char *));
    for (size_t i = 0; i < texts->size; i++) {
        self->endpoints[i] = store_endpoint_new(texts->items[i], fault);
        if (self->endpoints[i] == NULL)
            return -1;
        self->count++;
    }
    return 0;
}

store_access_t *store_access_new(const settings_t *settings, fault_t *fault)
{
    store_access_t *self = xcalloc(1, sizeof *self);
    const char *password_file = settings->store.password_file;
    self->user = xstrdup(settings->store.user);
    int rc = read_endpoints(self, &settings->store.endpoints, fault);
    if (rc == 0 && *password_file != '\0')
        rc = read_password(password_file, self->password, fault);
    else if (rc == 0 && *self->user != '\0')
        rc = fault_set(fault, "store / user is set, so store / password-file is needed, too");
    if (rc == -1)
        store_access_destroy(&self);
    return self;
}

void store_access_destroy(store_access_t **self_p)
{
    store_access_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++) {
        store_endpoint_destroy(&self->endpoints[i]);
        free(self->failures[i]);
    }
    free(self->endpoints);
    free(self->failures);
    free(self->user);
    sodium_memzero(self->password, sizeof self->password);
    free(self);
}

bool store_access_equal(const store_access_t *one, const store_access_t *other)
{
    bool equal = one->count == other->count && strcmp(one->user, other->user) == 0 &&
                 strcmp(one->password, other->password) == 0;
    for (size_t i = 0; equal && i < one->count; i++)
        equal = strcmp(store_endpoint_text(one->endpoints[i]),
                       store_endpoint_text(other->endpoints[i])) == 0;
    return equal;
}

size_t store_access_count(const store_access_t *self)
{
    return self->count;
}

store_endpoint_t *store_access_endpoint(const store_access_t *self, size_t index)
{
    return self->endpoints[index];
}

const char *store_access_user(const store_access_t *self)
{
    return self->user;
}

const char *store_access_password(const store_access_t *self)
{
    return self->password;
}

bool store_access_failed(store_access_t *self, size_t index, const char *why)
{
    char **last = &self->failures[index];
    if (*last != NULL && strcmp(*last, why) == 0)
        return false;
    free(*last);
    *last = xstrdup(why);
    return true;
}

bool store_access_worked(store_access_t *self, size_t index)
{
    bool failed = self->failures[index] != NULL;
    free(self->failures[index]);
    self->failures[index] = NULL;
    return failed;
}
