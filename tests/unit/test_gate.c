/* gate: who gets in, with real sockets over loopback; and that nobody does when it is gone. */
#include "gate.h"
#include "socket.h"
#include "support.h"

#include <sodium.h>

#define WAIT_MS 30000 /* for what must happen; never waited out */

typedef struct {
    cert_t *server_cert;
    cert_t *friend_cert;
    cert_t *stranger_cert;
    trust_t *trust; /* of server and friend */
    zloop_t *loop;
    crowd_t *crowd;
    readers_t *readers;
    gate_t *gate;
    socket_t *server;
    zactor_t *monitor; /* of the server's handshakes */
    char endpoint[64];
    char event[64];   /* the last handshake's outcome */
    char message[64]; /* the last received, and from whom */
    char user[80];
    bool timed_out;
} world_t;

static world_t world;

static int note_handshake(zloop_t *loop, zsock_t *monitor, void *arg)
{
    (void)loop;
    (void)arg;
    zmsg_t *message = zmsg_recv(monitor);
    char *name = zmsg_popstr(message);
    snprintf(world.event, sizeof world.event, "%s", name);
    zstr_free(&name);
    zmsg_destroy(&message);
    return -1;
}

static int note_message(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)arg;
    zmsg_t *message = zmsg_recv(socket);
    zframe_t *last = zmsg_last(message);
    const char *user = zframe_meta(last, "User-Id");
    snprintf(world.message, sizeof world.message, "%.*s", (int)zframe_size(last),
             (const char *)zframe_data(last));
    snprintf(world.user, sizeof world.user, "%s", user != NULL ? user : "nobody");
    zmsg_destroy(&message);
    return -1;
}

static int note_time(zloop_t *loop, int timer, void *arg)
{
    (void)loop;
    (void)timer;
    (void)arg;
    world.timed_out = true;
    return -1;
}

/* Run the loop until a text is there. */
static void wait_for(const char *text, const char *expected)
{
    int timer = zloop_timer(world.loop, WAIT_MS, 1, note_time, NULL);
    world.timed_out = false;
    while (!streq(text, expected) && !world.timed_out)
        zloop_start(world.loop);
    zloop_timer_end(world.loop, timer);
    if (!streq(text, expected))
        fail_msg("waited for \"%s\", but it is \"%s\"", expected, text);
}

static void wait_for_handshake(const char *expected)
{
    world.event[0] = '\0';
    wait_for(world.event, expected);
}

static void wait_for_message(const char *expected)
{
    world.message[0] = '\0';
    wait_for(world.message, expected);
}

static int start(void **state)
{
    cert_t *trusted[2];
    fault_t fault;
    if (support_enter(state) == -1)
        return -1;
    memset(&world, 0, sizeof world);
    world.server_cert = trusted[0] = support_cert("server");
    world.friend_cert = trusted[1] = support_cert("friend");
    world.stranger_cert = support_cert("stranger");
    world.trust = support_trust("trust", trusted, 2);
    world.loop = zloop_new();
    world.readers = readers_new(world.loop);
    world.crowd = crowd_new();
    world.gate = gate_new(world.readers, world.trust, world.crowd);
    world.server = socket_server(ZMQ_ROUTER, world.server_cert, &fault);
    world.monitor = zactor_new(zmonitor, world.server);
    zstr_sendx(world.monitor, "LISTEN", "HANDSHAKE_SUCCEEDED", "HANDSHAKE_FAILED_AUTH",
               "HANDSHAKE_FAILED_PROTOCOL", "HANDSHAKE_FAILED_NO_DETAIL", NULL);
    zstr_sendx(world.monitor, "START", NULL);
    zsock_wait(world.monitor);
    if (socket_bind(world.server, "tcp://127.0.0.1:*", &fault) == -1)
        return -1;
    char *endpoint = zsock_last_endpoint(world.server);
    snprintf(world.endpoint, sizeof world.endpoint, "%s", endpoint);
    zstr_free(&endpoint);
    zloop_reader(world.loop, (zsock_t *)world.server, note_message, NULL);
    zloop_reader(world.loop, zactor_sock(world.monitor), note_handshake, NULL);
    return 0;
}

static int end(void **state)
{
    zloop_reader_end(world.loop, (zsock_t *)world.server);
    zloop_reader_end(world.loop, zactor_sock(world.monitor));
    zactor_destroy(&world.monitor);
    socket_destroy(&world.server, 0);
    gate_destroy(&world.gate);
    readers_destroy(&world.readers);
    crowd_destroy(&world.crowd);
    zloop_destroy(&world.loop);
    trust_destroy(&world.trust);
    cert_destroy(&world.server_cert);
    cert_destroy(&world.friend_cert);
    cert_destroy(&world.stranger_cert);
    return support_leave(state);
}

#define in_world(name) cmocka_unit_test_setup_teardown(name, start, end)

static socket_t *connect_as(const cert_t *cert)
{
    fault_t fault;
    socket_t *client =
        socket_client(ZMQ_DEALER, cert, &world.server_cert->curve_public, world.endpoint, &fault);
    if (client == NULL)
        fail_msg("%s", fault.text);
    assert_int_equal(socket_send(client, "hello", 5), 0);
    return client;
}

TEST(a_trusted_key_gets_in_under_the_name_of_its_file)
{
    socket_t *client = connect_as(world.friend_cert);
    wait_for_message("hello");
    assert_string_equal(world.user, "friend");
    assert_int_equal(gate_counters(world.gate)->admitted, 1);
    assert_int_equal(gate_counters(world.gate)->refused, 0);
    socket_destroy(&client, 0);
}

TEST(a_stranger_is_refused_and_counted)
{
    char z85[CERT_Z85_BYTES];
    socket_t *client = connect_as(world.stranger_cert);
    wait_for_handshake("HANDSHAKE_FAILED_AUTH");
    const gate_counters_t *counters = gate_counters(world.gate);
    assert_int_equal(counters->admitted, 0);
    assert_true(counters->refused >= 1);
    assert_string_equal(counters->refused_key, cert_z85(&world.stranger_cert->curve_public, z85));
    assert_non_null(strstr(counters->refused_address, "127.0.0.1"));
    assert_string_equal(world.message, "");
    socket_destroy(&client, 0);
}

TEST(an_empty_set_refuses_everybody)
{
    trust_t *nobody = support_trust("nobody", NULL, 0);
    gate_set_trust(world.gate, nobody);
    socket_t *client = connect_as(world.friend_cert);
    wait_for_handshake("HANDSHAKE_FAILED_AUTH");
    assert_string_equal(world.message, "");
    socket_destroy(&client, 0);
    gate_set_trust(world.gate, world.trust);
    trust_destroy(&nobody);
}

/* CURVE fails open where nobody answers the ZAP request, unless both options are set. */
TEST(without_a_handler_everybody_is_refused)
{
    gate_destroy(&world.gate);
    readers_destroy(&world.readers);
    socket_t *client = connect_as(world.friend_cert);
    wait_for_handshake("HANDSHAKE_FAILED_NO_DETAIL");
    assert_string_equal(world.message, "");
    socket_destroy(&client, 0);
}

TEST(a_handler_that_dies_lets_nobody_new_in)
{
    socket_t *client = connect_as(world.friend_cert);
    wait_for_message("hello");
    world.message[0] = '\0';
    gate_destroy(&world.gate);
    readers_destroy(&world.readers);
    socket_t *second = connect_as(world.friend_cert);
    wait_for_handshake("HANDSHAKE_FAILED_NO_DETAIL");
    assert_string_equal(world.message, "");
    socket_destroy(&second, 0);
    socket_destroy(&client, 0);
}

TEST(a_refused_client_gets_in_by_itself_once_it_is_trusted)
{
    cert_t *all[] = {world.server_cert, world.friend_cert, world.stranger_cert};
    trust_t *larger = support_trust("larger", all, 3);
    socket_t *client = connect_as(world.stranger_cert);
    wait_for_handshake("HANDSHAKE_FAILED_AUTH");
    gate_set_trust(world.gate, larger);
    wait_for_message("hello");
    assert_string_equal(world.user, "stranger");
    socket_destroy(&client, 0);
    gate_set_trust(world.gate, world.trust);
    trust_destroy(&larger);
}

TEST(a_removed_key_is_refused_from_then_on)
{
    cert_t *others[] = {world.server_cert};
    trust_t *smaller = support_trust("smaller", others, 1);
    gate_set_trust(world.gate, smaller);
    socket_t *client = connect_as(world.friend_cert);
    wait_for_handshake("HANDSHAKE_FAILED_AUTH");
    socket_destroy(&client, 0);
    gate_set_trust(world.gate, world.trust);
    trust_destroy(&smaller);
}

TEST(a_client_without_curve_is_refused)
{
    zsock_t *client = zsock_new(ZMQ_DEALER);
    assert_int_equal(zsock_connect(client, "%s", world.endpoint), 0);
    assert_int_equal(zstr_send(client, "hello"), 0);
    wait_for_handshake("HANDSHAKE_FAILED_PROTOCOL");
    assert_string_equal(world.message, "");
    assert_int_equal(gate_counters(world.gate)->admitted, 0);
    zsock_destroy(&client);
}

TEST(a_client_that_expects_another_server_does_not_talk_to_this_one)
{
    fault_t fault;
    socket_t *client = socket_client(ZMQ_DEALER, world.friend_cert,
                                     &world.stranger_cert->curve_public, world.endpoint, &fault);
    assert_non_null(client);
    assert_int_equal(socket_send(client, "hello", 5), 0);
    wait_for_handshake("HANDSHAKE_FAILED_PROTOCOL");
    assert_string_equal(world.message, "");
    socket_destroy(&client, 0);
}

/* ---- what libzmq would ask, asked directly ---- */

typedef struct {
    const char *version;
    const char *domain;
    const char *mechanism;
    const uint8_t *key;
    size_t key_size;
} question_t;

static char reply[4][64];
static bool replied;

static int note_reply(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)arg;
    zmsg_t *message = zmsg_recv(socket);
    for (size_t i = 0; i < 4; i++) {
        char *text = zmsg_popstr(message);
        snprintf(reply[i], sizeof reply[i], "%s", text != NULL ? text : "(missing)");
        zstr_free(&text);
    }
    char *user = zmsg_popstr(message);
    snprintf(world.user, sizeof world.user, "%s", user != NULL ? user : "(missing)");
    zstr_free(&user);
    zmsg_destroy(&message);
    replied = true;
    return -1;
}

/* Send a message to the handler and run the loop until it has answered. */
static void ask(zmsg_t *message)
{
    zsock_t *client = zsock_new_req(">inproc://zeromq.zap.01");
    assert_non_null(client);
    zmsg_send(&message, client);
    zloop_reader(world.loop, client, note_reply, NULL);
    int timer = zloop_timer(world.loop, WAIT_MS, 1, note_time, NULL);
    for (replied = world.timed_out = false; !replied && !world.timed_out;)
        zloop_start(world.loop);
    zloop_timer_end(world.loop, timer);
    zloop_reader_end(world.loop, client);
    zsock_destroy(&client);
    assert_true(replied);
    assert_string_equal(reply[0], "1.0");
}

static void ask_question(const question_t *question)
{
    zmsg_t *message = zmsg_new();
    zmsg_addstr(message, question->version);
    zmsg_addstr(message, "request 7");
    zmsg_addstr(message, question->domain);
    zmsg_addstr(message, "192.0.2.7");
    zmsg_addstr(message, "");
    zmsg_addstr(message, question->mechanism);
    zmsg_addmem(message, question->key, question->key_size);
    ask(message);
    assert_string_equal(reply[1], "request 7");
}

TEST(the_handler_answers_only_for_our_domain_curve_and_whole_keys)
{
    uint8_t key[PUBKEY_BYTES + 1] = {0};
    memcpy(key, world.friend_cert->curve_public.bytes, PUBKEY_BYTES);
    const question_t questions[] = {
        {"1.0", SOCKET_ZAP_DOMAIN, "CURVE", key, PUBKEY_BYTES}, /* the only good one */
        {"2.0", SOCKET_ZAP_DOMAIN, "CURVE", key, PUBKEY_BYTES},
        {"1.0", "", "CURVE", key, PUBKEY_BYTES},
        {"1.0", "other", "CURVE", key, PUBKEY_BYTES},
        {"1.0", SOCKET_ZAP_DOMAIN, "PLAIN", key, PUBKEY_BYTES},
        {"1.0", SOCKET_ZAP_DOMAIN, "NULL", key, 0},
        {"1.0", SOCKET_ZAP_DOMAIN, "CURVE", key, PUBKEY_BYTES - 1},
        {"1.0", SOCKET_ZAP_DOMAIN, "CURVE", key, PUBKEY_BYTES + 1},
        {"1.0", SOCKET_ZAP_DOMAIN, "CURVE", world.stranger_cert->curve_public.bytes, PUBKEY_BYTES},
        {"1.0", SOCKET_ZAP_DOMAIN, "CURVE", world.friend_cert->sign_public.bytes, PUBKEY_BYTES},
    };
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        ask_question(&questions[i]);
        assert_string_equal(reply[2], i == 0 ? "200" : "300");
        assert_string_equal(world.user, i == 0 ? "friend" : "");
    }
    assert_int_equal(gate_counters(world.gate)->admitted, 1);
}

TEST(a_question_cut_short_is_refused)
{
    static const char *const frames[] = {"1.0",       "request 7", SOCKET_ZAP_DOMAIN,
                                         "192.0.2.7", "",          "CURVE"};
    for (size_t count = 1; count <= 6; count++) {
        zmsg_t *message = zmsg_new();
        for (size_t i = 0; i < count; i++)
            zmsg_addstr(message, frames[i]);
        ask(message);
        assert_string_equal(reply[2], "300");
        assert_string_equal(world.user, "");
    }
    assert_int_equal(gate_counters(world.gate)->admitted, 0);
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
        in_world(a_trusted_key_gets_in_under_the_name_of_its_file),
        in_world(a_stranger_is_refused_and_counted),
        in_world(an_empty_set_refuses_everybody),
        in_world(without_a_handler_everybody_is_refused),
        in_world(a_handler_that_dies_lets_nobody_new_in),
        in_world(a_refused_client_gets_in_by_itself_once_it_is_trusted),
        in_world(a_removed_key_is_refused_from_then_on),
        in_world(a_client_without_curve_is_refused),
        in_world(a_client_that_expects_another_server_does_not_talk_to_this_one),
        in_world(the_handler_answers_only_for_our_domain_curve_and_whole_keys),
        in_world(a_question_cut_short_is_refused),
    };
    return cmocka_run_group_tests_name("gate", tests, start_sockets, end_sockets);
}
