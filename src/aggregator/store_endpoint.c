#include "store_endpoint.h"

#include "addr.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define HOST_MAX    255
#define UNIX_PREFIX "unix:"

/* On its own, since the library may still use it when we no longer want the answer. */
typedef struct {
    struct gaicb query;
    struct addrinfo hints;
    char host[HOST_MAX + 1];
} lookup_t;

struct store_endpoint {
    char *text;
    const char *path; /* NULL: TCP */
    char host[HOST_MAX + 1];
    int port;
    char address[NI_MAXHOST]; /* found for the host */
    lookup_t *lookup;         /* one that is under way */
};

static int parse_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && port >= 1 && port <= 65535 ? (int)port
                                                                                      : -1;
}

static int parse_tcp(store_endpoint_t *self, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return -1;
    size_t length = (size_t)(colon - text);
    if (length >= 2 && text[0] == '[' && colon[-1] == ']') {
        text++;
        length -= 2;
    } else if (memchr(text, ':', length) != NULL)
        return -1; /* an IPv6 address without brackets */
    if (length == 0 || length > HOST_MAX)
        return -1;
    memcpy(self->host, text, length);
    self->host[length] = '\0';
    self->port = parse_port(colon + 1);
    return self->port;
}

static int parse_unix(store_endpoint_t *self)
{
    self->path = self->text + strlen(UNIX_PREFIX);
    return *self->path == '/' && strlen(self->path) < sizeof((struct sockaddr_un *)NULL)->sun_path
               ? 0
               : -1;
}

store_endpoint_t *store_endpoint_new(const char *text, fault_t *fault)
{
    store_endpoint_t *self = xcalloc(1, sizeof *self);
    self->text = xstrdup(text);
    bool is_unix = strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
    if ((is_unix ? parse_unix(self) : parse_tcp(self, text)) == -1) {
        fault_set(fault, "store / endpoints: \"%.200s\": expected unix:/PATH or HOST:PORT", text);
        store_endpoint_destroy(&self);
    }
    return self;
}

/* A look-up that cannot be called off goes on by itself; its memory is left to it. */
static void drop_lookup(store_endpoint_t *self)
{
    lookup_t *lookup = self->lookup;
    self->lookup = NULL;
    if (lookup == NULL || gai_cancel(&lookup->query) == EAI_NOTCANCELED)
        return;
    if (lookup->query.ar_result != NULL)
        freeaddrinfo(lookup->query.ar_result);
    free(lookup);
}

void store_endpoint_destroy(store_endpoint_t **self_p)
{
    store_endpoint_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    drop_lookup(self);
    free(self->text);
    free(self);
}

const char *store_endpoint_text(const store_endpoint_t *self)
{
    return self->text;
}

/* ---- names ---- */

static int begin_lookup(store_endpoint_t *self, fault_t *fault)
{
    lookup_t *lookup = xcalloc(1, sizeof *lookup);
    struct gaicb *list[] = {&lookup->query};
    memcpy(lookup->host, self->host, sizeof lookup->host);
    lookup->hints.ai_socktype = SOCK_STREAM;
    lookup->query.ar_name = lookup->host;
    lookup->query.ar_request = &lookup->hints;
    int error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    if (error != 0) {
        free(lookup);
        return fault_set(fault, "%s: %s", self->host, gai_strerror(error));
    }
    self->lookup = lookup;
    return 0;
}

/* IPv4 first, as hiredis itself does: "localhost" is both, and stores mostly listen on 127.0.0.1.
 */
static int take_address(store_endpoint_t *self, fault_t *fault)
{
    const struct addrinfo *chosen = self->lookup->query.ar_result;
    if (chosen == NULL) {
        drop_lookup(self);
        return fault_set(fault, "%s: has no address", self->host);
    }
    for (const struct addrinfo *one = chosen; one != NULL; one = one->ai_next)
        if (one->ai_family == AF_INET) {
            chosen = one;
            break;
        }
    int error = getnameinfo(chosen->ai_addr, chosen->ai_addrlen, self->address,
                            sizeof self->address, NULL, 0, NI_NUMERICHOST);
    drop_lookup(self);
    return error == 0 ? 1 : fault_set(fault, "%s: %s", self->host, gai_strerror(error));
}

int store_endpoint_resolve(store_endpoint_t *self, fault_t *fault)
{
    addr_t numeric;
    if (self->path != NULL)
        return 1;
    if (addr_parse(self->host, &numeric) == ADDR_OK) {
        memcpy(self->address, self->host, sizeof self->host);
        return 1;
    }
    if (self->lookup == NULL)
        return begin_lookup(self, fault);
    int error = gai_error(&self->lookup->query);
    if (error == EAI_INPROGRESS)
        return 0;
    if (error == 0)
        return take_address(self, fault);
    drop_lookup(self);
    return fault_set(fault, "%s: %s", self->host, gai_strerror(error));
}

redisContext *store_endpoint_connect(const store_endpoint_t *self, fault_t *fault)
{
    redisContext *context = self->path != NULL ? redisConnectUnixNonBlock(self->path)
                                               : redisConnectNonBlock(self->address, self->port);
    if (context == NULL)
        fatalx("out of memory");
    if (context->err != 0) {
        fault_set(fault, "%s", context->errstr);
        redisFree(context);
        return NULL;
    }
    fcntl(context->fd, F_SETFD, FD_CLOEXEC);
    return context;
}
