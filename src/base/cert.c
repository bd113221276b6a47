#include "cert.h"

#include "zpl.h"

#include <fcntl.h>
#include <sodium.h>

#define CERT_FILE_MAX 2048

/* What zcert would write; in ours for the eye only. */
#define CERT_SECRET_HEADER "#   banmesh SECRET certificate: keep it on this host, mode 0600\n"
#define CERT_PUBLIC_HEADER "#   banmesh public certificate: goes into every trust directory\n"

const char *cert_z85(const pubkey_t *key, char out[static CERT_Z85_BYTES])
{
    return zmq_z85_encode(out, key->bytes, PUBKEY_BYTES);
}

bool cert_from_z85(const char *text, uint8_t key[static PUBKEY_BYTES])
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   ".-:+=^!/*?&<>()[]{}@%$#";
    char again[CERT_Z85_BYTES];
    if (strlen(text) != CERT_Z85_BYTES - 1 || strspn(text, alphabet) != CERT_Z85_BYTES - 1)
        return false;
    /* Five characters can say more than 32 bits: only what encodes back to itself is a key. */
    return zmq_z85_decode(key, text) != NULL &&
           streq(zmq_z85_encode(again, key, PUBKEY_BYTES), text);
}

int cert_check_endpoint(const char *endpoint, fault_t *fault)
{
    static const char expected[] = "expected \"tcp://HOST:PORT\"";
    const char *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, "tcp://", 6) != 0 || colon == NULL || colon <= endpoint + 6)
        return fault_set(fault, "address \"%.80s\": %s", endpoint, expected);
    if (strlen(endpoint) > CERT_ENDPOINT_MAX)
        return fault_set(fault, "address \"%.40s...\": longer than %d bytes", endpoint,
                         CERT_ENDPOINT_MAX);
    size_t digits = strspn(colon + 1, "0123456789");
    long port = strtol(colon + 1, NULL, 10);
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || port < 1 || port > 65535)
        return fault_set(fault, "address \"%.80s\": port \"%.20s\", expected 1..65535", endpoint,
                         colon + 1);
    for (const char *p = endpoint + 6; p < colon; p++)
        if (!event_name_valid(p, 1) && strchr("[]:*", *p) == NULL)
            return fault_set(fault, "address \"%.80s\": bad character in the host, %s", endpoint,
                             expected);
    return 0;
}

cert_t *cert_new(const char *name, const char *endpoint, const char *replay, fault_t *fault)
{
    if (!event_name_valid(name, strlen(name)) || name[0] == '.') {
        fault_set(fault, "name \"%.80s\": %s, not starting with a dot", name,
                  event_error_text(EVENT_BAD_JAIL));
        return NULL;
    }
    if ((*endpoint != '\0' && cert_check_endpoint(endpoint, fault) == -1) ||
        (*replay != '\0' && cert_check_endpoint(replay, fault) == -1))
        return NULL;
    cert_t *self = xcalloc(1, sizeof *self);
    snprintf(self->name, sizeof self->name, "%s", name);
    snprintf(self->endpoint, sizeof self->endpoint, "%s", endpoint);
    snprintf(self->replay, sizeof self->replay, "%s", replay);
    uint8_t sign_secret[crypto_sign_SECRETKEYBYTES];
    crypto_box_keypair(self->curve_public.bytes, self->curve_secret);
    randombytes_buf(self->sign_seed, sizeof self->sign_seed);
    crypto_sign_seed_keypair(self->sign_public.bytes, sign_secret, self->sign_seed);
    sodium_memzero(sign_secret, sizeof sign_secret);
    self->has_secret = true;
    return self;
}

void cert_destroy(cert_t **self_p)
{
    if (*self_p == NULL)
        return;
    sodium_memzero(*self_p, sizeof **self_p);
    free(*self_p);
    *self_p = NULL;
}

static int load_key(zpl_t *file, const char *path, uint8_t key[static PUBKEY_BYTES], fault_t *fault)
{
    zconfig_t *node = zconfig_locate(zpl_root(file), path);
    if (node == NULL)
        return zpl_fault(file, NULL, fault, "%s is missing: not a banmesh certificate?", path);
    /* The value may be a secret: it is not shown. */
    if (!cert_from_z85(zconfig_value(node), key))
        return zpl_fault(file, node, fault, "%s is not a key, expected 40 characters of Z85", path);
    return 0;
}

static int load_metadata(zpl_t *file, const char *path, char *out, size_t size, fault_t *fault)
{
    zconfig_t *node = zconfig_locate(zpl_root(file), path);
    const char *value = node != NULL ? zconfig_value(node) : "";
    fault_t inner;
    if (strlen(value) >= size)
        return zpl_fault(file, node, fault, "%s is longer than %zu bytes", path, size - 1);
    if (*value != '\0' && !streq(path, "metadata/name") && cert_check_endpoint(value, &inner) == -1)
        return zpl_fault(file, node, fault, "%s: %.300s", path, inner.text);
    snprintf(out, size, "%s", value);
    return 0;
}

static int load_public_part(cert_t *self, zpl_t *file, fault_t *fault)
{
    if (load_key(file, "curve/public-key", self->curve_public.bytes, fault) == -1 ||
        load_key(file, "sign/public-key", self->sign_public.bytes, fault) == -1 ||
        load_metadata(file, "metadata/name", self->name, sizeof self->name, fault) == -1 ||
        load_metadata(file, "metadata/endpoint", self->endpoint, sizeof self->endpoint, fault) ==
            -1 ||
        load_metadata(file, "metadata/replay", self->replay, sizeof self->replay, fault) == -1)
        return -1;
    if (!event_name_valid(self->name, strlen(self->name)))
        return zpl_fault(file, zconfig_locate(zpl_root(file), "metadata/name"), fault,
                         "name \"%.80s\": %s", self->name, event_error_text(EVENT_BAD_JAIL));
    return 0;
}

/* A secret that does not make the public key beside it would fail much later, and in silence. */
static int check_halves(const cert_t *self, zpl_t *file, fault_t *fault)
{
    pubkey_t curve_public;
    pubkey_t sign_public;
    uint8_t sign_secret[crypto_sign_SECRETKEYBYTES];
    crypto_scalarmult_base(curve_public.bytes, self->curve_secret);
    crypto_sign_seed_keypair(sign_public.bytes, sign_secret, self->sign_seed);
    sodium_memzero(sign_secret, sizeof sign_secret);
    if (!pubkey_equal(&curve_public, &self->curve_public))
        return zpl_fault(file, NULL, fault, "curve keys do not belong together");
    if (!pubkey_equal(&sign_public, &self->sign_public))
        return zpl_fault(file, NULL, fault, "sign keys do not belong together");
    return 0;
}

cert_t *cert_load_public(const char *path, fault_t *fault)
{
    zpl_t *file = zpl_load(path, NULL, fault);
    if (file == NULL)
        return NULL;
    cert_t *self = xcalloc(1, sizeof *self);
    int rc = load_public_part(self, file, fault);
    if (rc == 0 && (zconfig_locate(zpl_root(file), "curve/secret-key") != NULL ||
                    zconfig_locate(zpl_root(file), "sign/seed") != NULL))
        rc = zpl_fault(file, NULL, fault,
                       "holds a secret key; expected a public certificate (NAME.cert)");
    zpl_destroy(&file);
    if (rc == -1)
        cert_destroy(&self);
    return self;
}

cert_t *cert_load_secret(const char *path, fault_t *fault)
{
    struct stat status;
    zpl_t *file = zpl_load(path, &status, fault);
    if (file == NULL)
        return NULL;
    cert_t *self = xcalloc(1, sizeof *self);
    int rc = 0;
    if ((status.st_mode & 077) != 0)
        rc = fault_set(fault, "%s: mode %04o lets others read a secret key, expected 0600", path,
                       (unsigned)status.st_mode & 07777);
    else if (geteuid() != 0 && status.st_uid != geteuid() && status.st_uid != 0)
        rc = fault_set(fault, "%s: belongs to user %u, expected %u, who runs this", path,
                       (unsigned)status.st_uid, (unsigned)geteuid());
    else if (load_public_part(self, file, fault) == -1 ||
             load_key(file, "curve/secret-key", self->curve_secret, fault) == -1 ||
             load_key(file, "sign/seed", self->sign_seed, fault) == -1 ||
             check_halves(self, file, fault) == -1)
        rc = -1;
    self->has_secret = true;
    zpl_destroy(&file);
    if (rc == -1)
        cert_destroy(&self);
    return self;
}

static void append(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, CERT_FILE_MAX - used, format, args);
    va_end(args);
}

static void append_key(char *text, const char *name, const uint8_t key[static PUBKEY_BYTES])
{
    char z85[CERT_Z85_BYTES];
    append(text, "    %s = \"%s\"\n", name, zmq_z85_encode(z85, key, PUBKEY_BYTES));
    sodium_memzero(z85, sizeof z85);
}

static void format_cert(const cert_t *self, bool secret, char text[static CERT_FILE_MAX])
{
    text[0] = '\0';
    append(text, "%smetadata\n    name = \"%s\"\n",
           secret ? CERT_SECRET_HEADER : CERT_PUBLIC_HEADER, self->name);
    if (self->endpoint[0] != '\0')
        append(text, "    endpoint = \"%s\"\n", self->endpoint);
    if (self->replay[0] != '\0')
        append(text, "    replay = \"%s\"\n", self->replay);
    append(text, "curve\n");
    append_key(text, "public-key", self->curve_public.bytes);
    if (secret)
        append_key(text, "secret-key", self->curve_secret);
    append(text, "sign\n");
    append_key(text, "public-key", self->sign_public.bytes);
    if (secret)
        append_key(text, "seed", self->sign_seed);
}

/* Temporary file, write, fsync, then link: link fails where rename would overwrite. The temporary
 * name starts with a dot, so that a trust store being read meanwhile passes it over. */
static int write_new_file(const char *directory, const char *file, const char *text, mode_t mode,
                          fault_t *fault)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    snprintf(temporary, sizeof temporary, "%s/.%s.%ld", directory, file, (long)getpid());
    size_t length = strlen(text);
    int rc = -1;
    int dir_fd = -1;
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd == -1)
        return fault_set(fault, "%s: %s", temporary, strerror(errno));
    /* The service must be able to read what it is to trust, whatever the umask is. */
    if (fchmod(fd, mode) == -1 || write(fd, text, length) != (ssize_t)length || fsync(fd) == -1) {
        fault_set(fault, "%s: %s", temporary, strerror(errno));
        goto out;
    }
    if (link(temporary, path) == -1) {
        if (errno == EEXIST)
            fault_set(fault, "%s exists already and is not overwritten", path);
        else
            fault_set(fault, "%s: %s", path, strerror(errno));
        goto out;
    }
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd == -1 || fsync(dir_fd) == -1) {
        fault_set(fault, "%s: %s", directory, strerror(errno));
        goto out;
    }
    rc = 0;
out:
    unlink(temporary);
    close(fd);
    if (dir_fd != -1)
        close(dir_fd);
    return rc;
}

int cert_save_public(const cert_t *self, const char *directory, const char *name, fault_t *fault)
{
    char text[CERT_FILE_MAX];
    char file[EVENT_NAME_MAX + sizeof CERT_SECRET_SUFFIX];
    format_cert(self, false, text);
    snprintf(file, sizeof file, "%s" CERT_PUBLIC_SUFFIX, name);
    return write_new_file(directory, file, text, 0644, fault);
}

int cert_save_pair(const cert_t *self, const char *directory, fault_t *fault)
{
    char text[CERT_FILE_MAX];
    char file[EVENT_NAME_MAX + sizeof CERT_SECRET_SUFFIX];
    char path[PATH_MAX];
    /* A pair is new or not made at all: a new secret beside an old public half helps nobody. */
    snprintf(path, sizeof path, "%s/%s" CERT_PUBLIC_SUFFIX, directory, self->name);
    if (access(path, F_OK) == 0)
        return fault_set(fault, "%s exists already and is not overwritten", path);
    format_cert(self, true, text);
    snprintf(file, sizeof file, "%s" CERT_SECRET_SUFFIX, self->name);
    int rc = write_new_file(directory, file, text, 0600, fault);
    sodium_memzero(text, sizeof text);
    return rc == 0 ? cert_save_public(self, directory, self->name, fault) : -1;
}
