/* router: who a message is from, where an answer goes, and how much one turn takes. */
#include "gate.h"
#include "router.h"
#include "socket.h"
#include "world.h"

#include <string.h>

#define VISITS_MAX 100

static crowd_t *crowd;
static gate_t *gate;
static router_t *router;
static socket_t *client; /* of mx1 */
static link_visit_t visits[VISITS_MAX];
static char texts[VISITS_MAX][8];
static size_t visit_count;
static size_t wanted_visits;
static size_t idle_count;
static size_t most_in_one_turn;
static size_t in_this_turn;
static bool are_requests;
static char answer[8];

static bool visit(void *arg, const link_visit_t *in)
{
    assert_ptr_equal(arg, &world);
    assert_true(visit_count < VISITS_MAX);
    snprintf(texts[visit_count], sizeof texts[0], "%.*s", (int)in->size, (const char *)in->bytes);
    visits[visit_count++] = *in;
    in_this_turn++;
    return are_requests;
}

static void idle(void *arg)
{
    assert_ptr_equal(arg, &world);
    most_in_one_turn = in_this_turn > most_in_one_turn ? in_this_turn : most_in_one_turn;
    in_this_turn = 0;
    idle_count++;
}

static int read_answer(zloop_t *loop, zsock_t *socket, void *arg)
{
    (void)loop;
    (void)arg;
    zmq_recv(socket, answer, sizeof answer - 1, ZMQ_DONTWAIT);
    return 0;
}

static int start(void **state)
{
    static const link_calls_t calls = {.visit = visit, .idle = idle, .arg = &world};
    fault_t fault;
    if (world_start(state) == -1)
        return -1;
    crowd = crowd_new();
    gate = gate_new(world.readers, world.trust, crowd);
    router =
        router_new(world.readers, world.certs[SELF], "ipc://router", world.trust, &calls, &fault);
    client = socket_client(ZMQ_DEALER, world.certs[MX1], &world.certs[SELF]->curve_public,
                           "ipc://router", &fault);
    visit_count = idle_count = most_in_one_turn = in_this_turn = 0;
    are_requests = false;
    memset(answer, 0, sizeof answer);
    return router != NULL && client != NULL ? 0 : -1;
}

static int end(void **state)
{
    socket_destroy(&client, 0);
    router_destroy(&router);
    gate_destroy(&gate);
    crowd_destroy(&crowd);
    return world_end(state);
}

#define with_router(name) cmocka_unit_test_setup_teardown(name, start, end)

static bool all_came(void)
{
    return visit_count >= wanted_visits && idle_count > 0;
}

static void wait_for(size_t count)
{
    wanted_visits = count;
    world_run(all_came);
    assert_int_equal(visit_count, count);
}

static void say(const char *text)
{
    assert_int_equal(socket_send(client, text, strlen(text)), 0);
}

static bool was_answered(void)
{
    return answer[0] != '\0';
}

TEST(a_message_comes_with_its_sender_and_is_answered_over_its_connection)
{
    say("hello");
    wait_for(1);
    assert_string_equal(texts[0], "hello");
    assert_ptr_equal(visits[0].sender, world_node(MX1));
    assert_false(visits[0].more_frames);
    zloop_reader(world.loop, (zsock_t *)client, read_answer, NULL);
    assert_int_equal(router_send(router, &visits[0].route, (const uint8_t *)"well", 4), 0);
    world_run(was_answered);
    zloop_reader_end(world.loop, (zsock_t *)client);
    assert_string_equal(answer, "well");
}

TEST(a_message_of_several_frames_is_told)
{
    assert_int_equal(zmq_send(client, "a", 1, ZMQ_SNDMORE), 1);
    say("b");
    say("c");
    wait_for(2);
    assert_true(visits[0].more_frames);
    assert_false(visits[1].more_frames);
    assert_string_equal(texts[1], "c");
}

TEST(who_left_the_set_is_nobody)
{
    trust_t *smaller = support_trust("smaller", world.certs, 1);
    say("hello");
    wait_for(1);
    router_set_trust(router, smaller);
    say("again");
    wait_for(2);
    assert_non_null(visits[0].sender);
    assert_null(visits[1].sender);
    trust_destroy(&smaller);
}

TEST(a_connection_that_is_full_is_told_from_one_that_is_gone)
{
    static const uint8_t large[60000];
    static const peer_route_t nowhere = {.bytes = "nobody", .size = 6};
    size_t sent = 0;
    say("hello");
    wait_for(1);
    while (router_send(router, &visits[0].route, large, sizeof large) == 0)
        sent++;
    assert_int_equal(errno, EAGAIN);
    assert_true(sent > LINK_ANSWER_MAX);
    assert_int_equal(router_send(router, &nowhere, large, sizeof large), -1);
    assert_int_not_equal(errno, EAGAIN);
}

TEST(a_turn_takes_few_requests)
{
    are_requests = true;
    say("first"); /* until it came, nothing waits at the router */
    wait_for(1);
    for (size_t i = 1; i < 60; i++)
        say("more");
    zclock_sleep(200); /* they are there */
    wait_for(60);
    assert_true(most_in_one_turn <= 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_router(a_message_comes_with_its_sender_and_is_answered_over_its_connection),
        with_router(a_message_of_several_frames_is_told),
        with_router(who_left_the_set_is_nobody),
        with_router(a_connection_that_is_full_is_told_from_one_that_is_gone),
        with_router(a_turn_takes_few_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
