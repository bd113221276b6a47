/* socket: what comes in is whole and single, and what cannot be had is said. */
#include "descriptors.h"
#include "gate.h"
#include "listener.h"
#include "socket.h"
#include "support.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAIT_MS 30000 /* for what must happen; never waited out */

typedef struct {
    cert_t *cert;
    trust_t *trust;
    zloop_t *loop;
    crowd_t *crowd;
    readers_t *readers;
    gate_t *gate;
    socket_t *server;
    socket_t *client;
    bool readable;
} world_t;

static world_t world;

static int note_readable(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)socket;
    (void)arg;
    world.readable = true;
    return -1;
}

static int note_time(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    (void)arg;
    return -1;
}

static int start(void **state)
{
    fault_t fault;
    if (support_enter(state) == -1)
        return -1;
    memset(&world, 0, sizeof world);
    world.cert = support_cert("mx1");
    world.trust = support_trust("trust", &world.cert, 1);
    world.loop = zloop_new();
    world.readers = readers_new(world.loop);
    world.crowd = crowd_new();
    world.gate = gate_new(world.readers, world.trust, world.crowd);
    world.server = socket_server(ZMQ_ROUTER, world.cert, &fault);
    if (socket_bind(world.server, "tcp://127.0.0.1:*", &fault) == -1)
        return -1;
    char *endpoint = zsock_last_endpoint(world.server);
    world.client =
        socket_client(ZMQ_DEALER, world.cert, &world.cert->curve_public, endpoint, &fault);
    zstr_free(&endpoint);
    zloop_reader(world.loop, (zsock_t *)world.server, note_readable, NULL);
    return world.client != NULL ? 0 : -1;
}

static int end(void **state)
{
    zloop_reader_end(world.loop, (zsock_t *)world.server);
    socket_destroy(&world.client, 0);
    socket_destroy(&world.server, 0);
    gate_destroy(&world.gate);
    readers_destroy(&world.readers);
    crowd_destroy(&world.crowd);
    zloop_destroy(&world.loop);
    trust_destroy(&world.trust);
    cert_destroy(&world.cert);
    return support_leave(state);
}

/* Run the loop, and with it the gate, until the server can read. */
static void wait_for_message(void)
{
    int timer = zloop_timer(world.loop, WAIT_MS, 1, note_time, NULL);
    world.readable = false;
    zloop_start(world.loop);
    zloop_timer_end(world.loop, timer);
    assert_true(world.readable);
}

/* Receive routing id and message as the ROUTER's readers do. */
static int receive(zmq_msg_t *message)
{
    zmq_msg_t routing_id;
    zmq_msg_init(&routing_id);
    assert_true(zmq_msg_recv(&routing_id, world.server, ZMQ_DONTWAIT) != -1);
    assert_true(zmq_msg_more(&routing_id));
    zmq_msg_close(&routing_id);
    return socket_receive(world.server, message);
}

TEST(a_message_of_several_frames_is_thrown_away_whole)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    zstr_sendx(world.client, "one", "two", "three", NULL);
    assert_int_equal(socket_send(world.client, "single", 6), 0);
    wait_for_message();
    assert_int_equal(receive(&message), -1);
    wait_for_message();
    assert_int_equal(receive(&message), 1);
    assert_int_equal(zmq_msg_size(&message), 6);
    assert_memory_equal(zmq_msg_data(&message), "single", 6);
    assert_int_equal(socket_receive(world.server, &message), 0);
    zmq_msg_close(&message);
}

TEST(a_message_larger_than_an_envelope_never_arrives)
{
    static uint8_t large[70 * 1024];
    zmq_msg_t message;
    zmq_msg_init(&message);
    assert_int_equal(socket_send(world.client, large, sizeof large), 0);
    assert_int_equal(socket_send(world.client, "small", 5), 0);
    wait_for_message();
    assert_int_equal(receive(&message), 1);
    assert_int_equal(zmq_msg_size(&message), 5);
    zmq_msg_close(&message);
}

TEST(an_address_in_use_is_named)
{
    fault_t fault;
    char expected[128];
    char *endpoint = zsock_last_endpoint(world.server);
    socket_t *second = socket_server(ZMQ_PUB, world.cert, &fault);
    assert_int_equal(socket_bind(second, endpoint, &fault), -1);
    snprintf(expected, sizeof expected, "cannot listen on %s: Address already in use", endpoint);
    assert_string_equal(fault.text, expected);
    socket_destroy(&second, 0);
    zstr_free(&endpoint);
}

/* CZMQ's own constructor aborts then: any trusted node could end this one by many connections. */
TEST(without_a_file_descriptor_there_is_no_socket_and_it_is_said)
{
    fault_t fault;
    struct rlimit limit;
    char *endpoint = zsock_last_endpoint(world.server);
    zmq_msg_t message;
    zmq_msg_init(&message);
    /* Once the connection stands, libzmq opens nothing by itself. */
    assert_int_equal(socket_send(world.client, "x", 1), 0);
    wait_for_message();
    assert_int_equal(receive(&message), 1);
    zmq_msg_close(&message);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    /* Not 0: libzmq's threads go on, and poll () takes no more than that many. */
    int next = open("/", O_RDONLY | O_DIRECTORY);
    assert_true(next > 0);
    close(next);
    struct rlimit none = {(rlim_t)next, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    socket_t *client =
        socket_client(ZMQ_SUB, world.cert, &world.cert->curve_public, endpoint, &fault);
    char first[sizeof fault.text];
    snprintf(first, sizeof first, "%s", fault.text);
    socket_t *server = socket_server(ZMQ_PUB, world.cert, &fault);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    zstr_free(&endpoint);
    assert_null(client);
    assert_null(server);
    assert_string_equal(first, "cannot create a ZeroMQ socket: Too many open files");
    assert_string_equal(fault.text, first);
}

TEST(an_address_that_is_none_is_named)
{
    fault_t fault;
    assert_null(socket_client(ZMQ_SUB, world.cert, &world.cert->curve_public, "nonsense", &fault));
    assert_string_equal(fault.text, "cannot connect to nonsense: Invalid argument");
}

/* libzmq would abort: it asks for the interfaces first, and needs a descriptor for that. */
TEST(with_hardly_a_file_descriptor_left_nobody_listens_and_it_is_said)
{
    fault_t fault;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit few = {descriptors_open() + 8, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    listener_t *listener =
        listener_new(world.readers, ZMQ_PUB, world.cert, "tcp://127.0.0.1:*", NULL, NULL, &fault);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_null(listener);
    assert_string_equal(fault.text, "cannot listen on tcp://127.0.0.1:*: Too many open files");
}

static int start_sockets(void **state)
{
    (void)state;
    if (sodium_init() == -1)
        return -1;
    socket_setup();
    return 0;
}

static int end_sockets(void **state)
{
    (void)state;
    socket_teardown();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_of_several_frames_is_thrown_away_whole, start,
                                        end),
        cmocka_unit_test_setup_teardown(a_message_larger_than_an_envelope_never_arrives, start,
                                        end),
        cmocka_unit_test_setup_teardown(an_address_in_use_is_named, start, end),
        cmocka_unit_test_setup_teardown(without_a_file_descriptor_there_is_no_socket_and_it_is_said,
                                        start, end),
        cmocka_unit_test_setup_teardown(
            with_hardly_a_file_descriptor_left_nobody_listens_and_it_is_said, start, end),
        cmocka_unit_test_setup_teardown(an_address_that_is_none_is_named, start, end),
    };
    return cmocka_run_group_tests_name("socket", tests, start_sockets, end_sockets);
}
