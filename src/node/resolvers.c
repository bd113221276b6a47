#include "resolvers.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* resolv.conf (5); the others are what the programs behind a stub ask themselves. */
static const char *const resolv_confs[] = {
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/NetworkManager/resolv.conf",
    "/run/dnsmasq/resolv.conf",
    "/run/resolvconf/resolv.conf",
};

static const char *const dnsmasq_confs[] = {"/etc/dnsmasq.conf", "/etc/dnsmasq.d/*"};

typedef struct {
    void (*server)(void *arg, const addr_t *address);
    void (*complain)(void *arg, const fault_t *fault);
    void *arg;
    bool has_stub;
    bool has_other;
} reader_t;

static bool is_loopback(const addr_t *address)
{
    static const addr_t v4 = {.family = 4, .bytes = {127}, .prefix = 8};
    static const addr_t v6 = {.family = 6, .bytes = {[15] = 1}, .prefix = 128};
    return addr_overlaps(&v4, address) || addr_overlaps(&v6, address);
}

static void take(reader_t *self, const char *text)
{
    char cut[ADDR_TEXT_MAX];
    addr_t address;
    snprintf(cut, sizeof cut, "%.*s", (int)strcspn(text, "%#@ \t\r\n"), text);
    if (addr_parse(cut, &address) != ADDR_OK)
        return;
    self->has_stub = self->has_stub || is_loopback(&address);
    self->has_other = self->has_other || !is_loopback(&address);
    self->server(self->arg, &address);
}

/* "nameserver 192.0.2.1" */
static void read_resolv(reader_t *self, const char *line)
{
    static const char word[] = "nameserver";
    line += strspn(line, " \t");
    size_t blanks =
        strncmp(line, word, sizeof word - 1) == 0 ? strspn(line + sizeof word - 1, " \t") : 0;
    if (blanks > 0)
        take(self, line + sizeof word - 1 + blanks);
}

/* "server=192.0.2.1#53@eth0" or "server=/example.org/192.0.2.1" */
static void read_dnsmasq(reader_t *self, const char *line)
{
    static const char word[] = "server=";
    line += strspn(line, " \t");
    if (strncmp(line, word, sizeof word - 1) != 0)
        return;
    const char *value = line + sizeof word - 1;
    const char *slash = strrchr(value, '/');
    take(self, slash != NULL ? slash + 1 : value);
}

static void read_file(reader_t *self, const char *path, void (*read)(reader_t *, const char *))
{
    char line[1024];
    fault_t fault;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fault_set(&fault, "%s: %s", path, strerror(errno));
        if (errno != ENOENT && errno != ENOTDIR)
            self->complain(self->arg, &fault);
        return;
    }
    while (fgets(line, sizeof line, file) != NULL)
        read(self, line);
    fclose(file);
}

static void read_pattern(reader_t *self, const char *pattern)
{
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            read_file(self, found.gl_pathv[i], read_dnsmasq);
    globfree(&found);
}

bool resolvers_each(void (*server)(void *arg, const addr_t *address),
                    void (*complain)(void *arg, const fault_t *fault), void *arg)
{
    reader_t reader = {.server = server, .complain = complain, .arg = arg};
    for (size_t i = 0; i < sizeof resolv_confs / sizeof resolv_confs[0]; i++)
        read_file(&reader, resolv_confs[i], read_resolv);
    /* dnsmasq may run for others, too: only where somebody here asks a stub. */
    for (size_t i = 0; reader.has_stub && i < sizeof dnsmasq_confs / sizeof dnsmasq_confs[0]; i++)
        read_pattern(&reader, dnsmasq_confs[i]);
    return reader.has_other || !reader.has_stub;
}
