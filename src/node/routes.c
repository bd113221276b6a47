#include "routes.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <time.h>

#define MESSAGES_MAX 100000
#define BUFFER_BYTES 32768
#define SEQUENCE     1
#define TRIES_MAX    3

typedef struct {
    void (*gateway)(void *arg, const addr_t *address);
    void *arg;
    size_t which; /* of the dumps */
    size_t messages;
} reader_t;

static void tell(reader_t *self, const void *bytes, size_t size)
{
    addr_t address;
    if (addr_from_bytes(bytes, size, (uint32_t)size * 8, &address) == ADDR_OK)
        self->gateway(self->arg, &address);
}

/* An attribute that is an address. */
static void tell_attribute(reader_t *self, const struct nlattr *attribute)
{
    size_t size = mnl_attr_get_payload_len(attribute);
    if (size == 4 || size == 16)
        tell(self, mnl_attr_get_payload(attribute), size);
}

/* A gateway of the other family. */
static void tell_via(reader_t *self, const struct nlattr *attribute)
{
    const struct rtvia *via = mnl_attr_get_payload(attribute);
    size_t size = mnl_attr_get_payload_len(attribute);
    if (size >= sizeof *via && (size - sizeof *via == 4 || size - sizeof *via == 16))
        tell(self, via->rtvia_addr, size - sizeof *via);
}

static int read_hop(const struct nlattr *attribute, void *arg)
{
    if (mnl_attr_get_type(attribute) == RTA_GATEWAY)
        tell_attribute(arg, attribute);
    else if (mnl_attr_get_type(attribute) == RTA_VIA)
        tell_via(arg, attribute);
    return MNL_CB_OK;
}

/* struct rtnexthop, attributes, and again. */
static void read_multipath(reader_t *self, const struct nlattr *attribute)
{
    const uint8_t *at = mnl_attr_get_payload(attribute);
    size_t left = mnl_attr_get_payload_len(attribute);
    struct rtnexthop hop;
    while (left >= sizeof hop) {
        memcpy(&hop, at, sizeof hop);
        size_t step = (hop.rtnh_len + 3u) & ~(size_t)3; /* RTNH_ALIGN */
        if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left)
            return;
        mnl_attr_parse_payload(at + sizeof hop, hop.rtnh_len - sizeof hop, read_hop, self);
        left -= step < left ? step : left;
        at += step;
    }
}

static int read_route_attribute(const struct nlattr *attribute, void *arg)
{
    if (mnl_attr_get_type(attribute) != RTA_MULTIPATH)
        return read_hop(attribute, arg);
    read_multipath(arg, attribute);
    return MNL_CB_OK;
}

static int read_route(const struct nlmsghdr *header, void *arg)
{
    return mnl_attr_parse(header, sizeof(struct rtmsg), read_route_attribute, arg);
}

static int read_nexthop_attribute(const struct nlattr *attribute, void *arg)
{
    if (mnl_attr_get_type(attribute) == NHA_GATEWAY)
        tell_attribute(arg, attribute);
    return MNL_CB_OK;
}

static int read_nexthop(const struct nlmsghdr *header, void *arg)
{
    return mnl_attr_parse(header, sizeof(struct nhmsg), read_nexthop_attribute, arg);
}

static int read_neighbour_attribute(const struct nlattr *attribute, void *arg)
{
    if (mnl_attr_get_type(attribute) == NDA_DST)
        tell_attribute(arg, attribute);
    return MNL_CB_OK;
}

static int read_neighbour(const struct nlmsghdr *header, void *arg)
{
    const struct ndmsg *neighbour = mnl_nlmsg_get_payload(header);
    if ((neighbour->ndm_flags & NTF_ROUTER) == 0)
        return MNL_CB_OK;
    return mnl_attr_parse(header, sizeof *neighbour, read_neighbour_attribute, arg);
}

static const struct {
    uint16_t type;
    uint8_t family;
    size_t header; /* bytes, whose first is the family */
    mnl_cb_t read;
} dumps[] = {
    {RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), read_route},
    {RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), read_route},
    {RTM_GETNEXTHOP, AF_UNSPEC, sizeof(struct nhmsg), read_nexthop},
    {RTM_GETNEIGH, AF_INET6, sizeof(struct ndmsg), read_neighbour},
};

static int read_message(const struct nlmsghdr *header, void *arg)
{
    reader_t *self = arg;
    if (self->messages == MESSAGES_MAX)
        return MNL_CB_STOP;
    self->messages++;
    return dumps[self->which].read(header, self);
}

/* Returns 0, or -1 and errno. */
static int ask(struct mnl_socket *socket, reader_t *reader)
{
    _Alignas(struct nlmsghdr) char buffer[BUFFER_BYTES];
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    header->nlmsg_type = dumps[reader->which].type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header->nlmsg_seq = SEQUENCE;
    uint8_t *family = mnl_nlmsg_put_extra_header(header, dumps[reader->which].header);
    *family = dumps[reader->which].family;
    if (mnl_socket_sendto(socket, header, header->nlmsg_len) == -1)
        return -1;
    int rc = MNL_CB_OK;
    while (rc == MNL_CB_OK) {
        ssize_t got = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
        if (got == -1)
            return -1;
        rc = mnl_cb_run(buffer, (size_t)got, SEQUENCE, mnl_socket_get_portid(socket), read_message,
                        reader);
    }
    if (rc == MNL_CB_ERROR && errno == EOPNOTSUPP)
        return 0; /* a kernel without IPv6, or without nexthop objects, has none */
    return rc == MNL_CB_ERROR ? -1 : 0;
}

/* A socket each: what is left of a dump that was cut short must not answer the next. */
static int dump(reader_t *reader)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    int rc = socket == NULL || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == -1
                 ? -1
                 : ask(socket, reader);
    int saved = errno;
    if (socket != NULL)
        mnl_socket_close(socket);
    errno = saved;
    return rc;
}

int routes_each(void (*gateway)(void *arg, const addr_t *address), void *arg, fault_t *fault)
{
    int result = 0;
    for (size_t i = 0; i < sizeof dumps / sizeof dumps[0]; i++) {
        reader_t reader = {.gateway = gateway, .arg = arg, .which = i};
        int rc = dump(&reader);
        for (int tries = 1; rc == -1 && errno == EINTR && tries < TRIES_MAX; tries++)
            rc = dump(&reader); /* it changed meanwhile */
        if (rc == -1)
            result = fault_set(fault, "routes cannot be read: %s", strerror(errno));
        else if (reader.messages == MESSAGES_MAX)
            result = fault_set(fault, "more than %d routes: not all were looked at", MESSAGES_MAX);
    }
    return result;
}
