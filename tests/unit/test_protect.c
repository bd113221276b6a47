/* protect: what this host has is found, and what cannot be read is said. (Routes, resolvers and
 * names of all kinds: tests/system/test_protect.py.) */
#include "protect.h"
#include "support.h"

#include <czmq.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static zloop_t *loop;
static protect_t *protect;
static cert_t *own;
static trust_t *trust;
static settings_t settings;

static int start(void **state)
{
    if (sodium_init() == -1 || support_enter(state) == -1)
        return -1;
    zsys_handler_set(NULL);
    memset(&settings, 0, sizeof settings);
    loop = zloop_new();
    protect = protect_new(loop);
    own = support_cert("mx1");
    trust = support_trust("trust", &own, 1);
    return 0;
}

static int end(void **state)
{
    protect_destroy(&protect);
    trust_destroy(&trust);
    cert_destroy(&own);
    zloop_destroy(&loop);
    return support_leave(state);
}

#define with_protect(name) cmocka_unit_test_setup_teardown(name, start, end)

static const char *reason(const char *text)
{
    addr_t address = support_addr(text);
    const char *why = protect_reason(protect, &address);
    return why != NULL ? why : "nothing";
}

static void refresh(void)
{
    protect_refresh(protect, own, trust, &settings);
}

static void gather(void *arg, const fault_t *fault)
{
    char *text = arg;
    strncat(text, fault->text, 4096 - strlen(text) - 1);
    strncat(text, "\n", 4096 - strlen(text) - 1);
}

TEST(own_addresses_and_the_list_are_protected_and_networks_that_touch_them)
{
    static const char in_line_31[] = "guard / protect in line 31 of the settings";
    addr_t list = support_addr("45.154.0.0/16");
    settings.guard.protect.items = &list;
    settings.guard.protect.size = 1;
    settings.guard.protect.line = 31;
    refresh();
    assert_string_equal(reason("127.0.0.1"), "own address");
    assert_string_equal(reason("127.0.0.0/8"), "own address");
    assert_string_equal(reason("45.154.3.4"), in_line_31);
    assert_string_equal(reason("45.0.0.0/8"), in_line_31);
    assert_string_equal(reason("46.154.3.4"), "nothing");
}

TEST(the_endpoint_of_our_certificate_is_our_address)
{
    snprintf(own->endpoint, sizeof own->endpoint, "tcp://45.154.12.10:7341");
    snprintf(own->replay, sizeof own->replay, "tcp://[2a02:4780::1]:7342");
    refresh();
    assert_string_equal(reason("45.154.12.10"), "own address");
    assert_string_equal(reason("2a02:4780::/32"), "own address");
    own->endpoint[0] = own->replay[0] = '\0';
    refresh();
    assert_string_equal(reason("45.154.12.10"), "nothing");
}

TEST(both_addresses_of_a_peer_that_is_overridden_are_protected)
{
    char endpoint[] = "tcp://45.154.12.11:7341";
    char replay[] = "tcp://45.154.12.12:7341";
    char name[] = "mx2";
    peer_setting_t peer = {name, endpoint, replay};
    cert_t *cert = support_cert("mx2");
    snprintf(cert->endpoint, sizeof cert->endpoint, "tcp://45.154.12.10:7341");
    settings.mesh.peers = &peer;
    settings.mesh.peer_count = 1;
    trust_destroy(&trust);
    trust = support_trust("trust2", &cert, 1);
    refresh();
    for (int i = 10; i < 13; i++) {
        char text[ADDR_TEXT_MAX];
        snprintf(text, sizeof text, "45.154.12.%d", i);
        assert_string_equal(reason(text), "peer");
    }
    cert_destroy(&cert);
}

/* Without descriptors nothing can be read: gateways used to be unprotected then, in silence. */
static int refresh_without_descriptors(void *arg)
{
    static const struct rlimit none = {3, 3};
    char text[4096] = "";
    (void)arg;
    refresh();
    if (setrlimit(RLIMIT_NOFILE, &none) == -1)
        return 1;
    refresh();
    if (strcmp(reason("127.0.0.1"), "own address") != 0)
        return 3; /* what was known stays known */
    protect_complain(protect, gather, text);
    return strstr(text, "routes cannot be read: Too many open files") != NULL &&
                   strstr(text, "addresses of interfaces cannot be read") != NULL &&
                   strstr(text, "/etc/resolv.conf: Too many open files") != NULL
               ? 0
               : 2;
}

TEST(what_cannot_be_read_is_said)
{
    char text[4096] = "";
    refresh();
    protect_complain(protect, gather, text);
    assert_string_equal(text, "");
    assert_int_equal(support_exit_status(refresh_without_descriptors, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_protect(own_addresses_and_the_list_are_protected_and_networks_that_touch_them),
        with_protect(the_endpoint_of_our_certificate_is_our_address),
        with_protect(both_addresses_of_a_peer_that_is_overridden_are_protected),
        with_protect(what_cannot_be_read_is_said),
    };
    return cmocka_run_group_tests_name("protect", tests, NULL, NULL);
}
