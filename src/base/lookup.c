#include "lookup.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME "tcp://"

struct lookup {
    struct gaicb query; /* the library may use this, and what follows, after we let go */
    struct addrinfo hints;
    char host[CERT_ENDPOINT_MAX + 1]; /* without brackets */
    char port[CERT_ENDPOINT_MAX + 1];
    bool is_address; /* nothing to look up */
};

/* The host between scheme and port; brackets stand around an IPv6 address. */
static int split(lookup_t *self, const char *endpoint, fault_t *fault)
{
    const char *host = endpoint + strlen(SCHEME);
    const char *colon = strrchr(endpoint, ':');
    if (cert_check_endpoint(endpoint, fault) == -1)
        return -1;
    size_t length = (size_t)(colon - host);
    if (length > 2 && host[0] == '[' && colon[-1] == ']') {
        host++;
        length -= 2;
    }
    snprintf(self->host, sizeof self->host, "%.*s", (int)length, host);
    snprintf(self->port, sizeof self->port, "%s", colon + 1);
    return 0;
}

static int begin(lookup_t *self, fault_t *fault)
{
    struct gaicb *list[] = {&self->query};
    self->hints.ai_socktype = SOCK_STREAM;
    self->query.ar_name = self->host;
    self->query.ar_request = &self->hints;
    int error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    return error == 0 ? 0 : fault_set(fault, "%s: %s", self->host, gai_strerror(error));
}

lookup_t *lookup_new(const char *endpoint, fault_t *fault)
{
    addr_t address;
    lookup_t *self = xcalloc(1, sizeof *self);
    if (split(self, endpoint, fault) == -1) {
        free(self);
        return NULL;
    }
    self->is_address = addr_parse(self->host, &address) == ADDR_OK;
    if (!self->is_address && begin(self, fault) == -1) {
        free(self);
        return NULL;
    }
    return self;
}

static bool is_over(lookup_t *self)
{
    return self->is_address || gai_error(&self->query) != EAI_INPROGRESS;
}

void lookup_destroy(lookup_t **self_p)
{
    lookup_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL)
        return;
    /* One that cannot be called off keeps its memory; one that is over may not be called off for
     * another moment. */
    if (!is_over(self) && gai_cancel(&self->query) == EAI_NOTCANCELED && !is_over(self))
        return;
    if (self->query.ar_result != NULL)
        freeaddrinfo(self->query.ar_result);
    free(self);
}

static const struct addrinfo *choose(const struct addrinfo *all, size_t turn)
{
    size_t count = 0;
    for (const struct addrinfo *one = all; one != NULL; one = one->ai_next)
        count++;
    if (count == 0)
        return NULL;
    for (size_t i = turn % count; i > 0; i--)
        all = all->ai_next;
    return all;
}

static int write_endpoint(const char *host, const char *port, char *out, fault_t *fault)
{
    bool brackets = strchr(host, ':') != NULL;
    int size = snprintf(out, CERT_ENDPOINT_MAX + 1, SCHEME "%s%s%s:%s", brackets ? "[" : "", host,
                        brackets ? "]" : "", port);
    return size <= CERT_ENDPOINT_MAX ? 1 : fault_set(fault, "%s: too long", host);
}

int lookup_result(lookup_t *self, size_t turn, char out[static CERT_ENDPOINT_MAX + 1],
                  fault_t *fault)
{
    char host[NI_MAXHOST];
    if (self->is_address)
        return write_endpoint(self->host, self->port, out, fault);
    int error = gai_error(&self->query);
    if (error == EAI_INPROGRESS)
        return 0;
    const struct addrinfo *chosen = error == 0 ? choose(self->query.ar_result, turn) : NULL;
    if (error == 0 && chosen == NULL)
        error = EAI_NONAME;
    if (error == 0)
        error = getnameinfo(chosen->ai_addr, chosen->ai_addrlen, host, sizeof host, NULL, 0,
                            NI_NUMERICHOST);
    return error == 0 ? write_endpoint(host, self->port, out, fault)
                      : fault_set(fault, "%s: %s", self->host, gai_strerror(error));
}

static void tell(const struct sockaddr *socket, void (*found)(void *arg, const addr_t *address),
                 void *arg)
{
    addr_t address;
    addr_error_t error = ADDR_NOT_AN_IP;
    if (socket->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)socket;
        error = addr_from_bytes((const uint8_t *)&v4->sin_addr, 4, 32, &address);
    } else if (socket->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)socket;
        error = addr_from_bytes((const uint8_t *)&v6->sin6_addr, 16, 128, &address);
    }
    if (error == ADDR_OK)
        found(arg, &address);
}

int lookup_each(lookup_t *self, void (*found)(void *arg, const addr_t *address), void *arg,
                fault_t *fault)
{
    addr_t address;
    if (self->is_address && addr_parse(self->host, &address) == ADDR_OK)
        found(arg, &address);
    if (self->is_address)
        return 1;
    int error = gai_error(&self->query);
    if (error == EAI_INPROGRESS)
        return 0;
    if (error != 0)
        return fault_set(fault, "%s: %s", self->host, gai_strerror(error));
    for (const struct addrinfo *one = self->query.ar_result; one != NULL; one = one->ai_next)
        tell(one->ai_addr, found, arg);
    return 1;
}
