/* mesh: it starts whole or not at all, and what it has made by then goes away again. */
#include "mesh.h"
#include "world.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

static int taken = -1; /* a socket that has a port already */
static char taken_endpoint[64];
static trust_t *trust; /* handed over */

static int start(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (taken == -1 || bind(taken, (struct sockaddr *)&address, sizeof address) == -1 ||
        listen(taken, 1) == -1 || getsockname(taken, (struct sockaddr *)&address, &size) == -1)
        return -1;
    snprintf(taken_endpoint, sizeof taken_endpoint, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    trust = trust_load("trust", &fault);
    return trust != NULL ? 0 : -1;
}

static int end(void **state)
{
    close(taken);
    return world_end(state);
}

#define with_port(name) cmocka_unit_test_setup_teardown(name, start, end)

/* Endpoints for PUB and ROUTER; "" listens nowhere. */
static mesh_t *begin(char *listen_at, char *replay_at, fault_t *fault)
{
    const mesh_config_t config = {world.loop, world.feed, world.wire, world.certs[SELF],
                                  &world.settings};
    world.settings.node.name = (char[]){"self"};
    world.settings.node.trust = (char[]){"trust"};
    world.settings.mesh.listen = listen_at;
    world.settings.mesh.replay = replay_at;
    world.settings.mesh.heartbeat_ms = 100;
    mesh_t *mesh = mesh_new(&config, &trust, fault);
    assert_null(trust); /* taken over in any case */
    return mesh;
}

TEST(a_port_that_is_taken_is_named_and_nothing_stays)
{
    static char nowhere[] = "";
    fault_t fault;
    assert_null(begin(taken_endpoint, nowhere, &fault));
    assert_non_null(strstr(fault.text, taken_endpoint));
}

TEST(the_same_for_the_second_port)
{
    static char nowhere[] = "";
    fault_t fault;
    assert_null(begin(nowhere, taken_endpoint, &fault));
    assert_non_null(strstr(fault.text, taken_endpoint));
}

TEST(a_mesh_starts_again_where_one_failed)
{
    static char nowhere[] = "";
    fault_t fault;
    assert_null(begin(nowhere, taken_endpoint, &fault));
    trust = trust_load("trust", &fault);
    mesh_t *mesh = begin(nowhere, nowhere, &fault);
    assert_non_null(mesh);
    mesh_destroy(&mesh);
    assert_null(mesh);
    mesh_destroy(&mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_port(a_port_that_is_taken_is_named_and_nothing_stays),
        with_port(the_same_for_the_second_port),
        with_port(a_mesh_starts_again_where_one_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
