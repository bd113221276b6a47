/* readers: every message is read, whatever else the socket was used for when it came; and nobody
 * keeps the others waiting. */
#include "readers.h"
#include "support.h"

#define WAIT_MS     30000 /* for what must happen; never waited out */
#define THROTTLE_MS 20    /* after so long libzmq looks at what came when something is sent */
#define PAIRS       3

typedef struct {
    socket_t *here; /* read on the loop */
    socket_t *there;
    reader_t *reader;
    size_t count; /* read */
    size_t most;  /* to be read at one time */
} pair_t;

static zloop_t *loop;
static readers_t *readers;
static pair_t pairs[PAIRS];
static char order[64];          /* which of them was read, one letter a call */
static size_t expected;         /* in all, to end the loop */
static pair_t *removed_by_next; /* a read removes this one */

static size_t all_read(void)
{
    return pairs[0].count + pairs[1].count + pairs[2].count;
}

static void read_pair(void *arg, socket_t *socket)
{
    pair_t *pair = arg;
    zmq_msg_t message;
    size_t length = strlen(order);
    assert_ptr_equal(socket, pair->here);
    if (length + 1 < sizeof order)
        order[length] = (char)('a' + (pair - pairs));
    zmq_msg_init(&message);
    for (size_t i = 0; i < pair->most && socket_receive(socket, &message) == 1; i++)
        pair->count++;
    zmq_msg_close(&message);
    if (removed_by_next != NULL)
        readers_remove(readers, &removed_by_next->reader);
}

static int start(void **state)
{
    (void)state;
    socket_setup();
    loop = zloop_new();
    readers = readers_new(loop);
    memset(pairs, 0, sizeof pairs);
    memset(order, 0, sizeof order);
    removed_by_next = NULL;
    for (size_t i = 0; i < PAIRS; i++) {
        char endpoint[32];
        snprintf(endpoint, sizeof endpoint, "inproc://pair%zu", i);
        pairs[i].here = zmq_socket(zsys_init(), ZMQ_PAIR);
        pairs[i].there = zmq_socket(zsys_init(), ZMQ_PAIR);
        pairs[i].most = SIZE_MAX;
        if (zmq_bind(pairs[i].here, endpoint) == -1 || zmq_connect(pairs[i].there, endpoint) == -1)
            return -1;
        pairs[i].reader = readers_add(readers, pairs[i].here, read_pair, &pairs[i]);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        readers_remove(readers, &pairs[i].reader);
        socket_destroy(&pairs[i].here, 0);
        socket_destroy(&pairs[i].there, 0);
    }
    readers_destroy(&readers);
    zloop_destroy(&loop);
    socket_teardown();
    return 0;
}

#define with_pairs(name) cmocka_unit_test_setup_teardown(name, start, end)

static int look(zloop_t *of, int timer, void *arg)
{
    (void)of;
    (void)timer;
    const mono_t *since = arg;
    return all_read() >= expected || mono_since_ms(*since) > WAIT_MS ? -1 : 0;
}

/* Until so many were read in all, and for a moment more. */
static void run_until_read(size_t count)
{
    mono_t since = mono_now();
    expected = count;
    int timer = zloop_timer(loop, 5, 0, look, &since);
    zloop_start(loop);
    zloop_timer_end(loop, timer);
    assert_int_equal(all_read(), count);
}

static void send_to(pair_t *pair, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(socket_send(pair->there, "x", 1), 0);
}

TEST(each_socket_is_read_when_something_comes)
{
    for (size_t round = 1; round <= 3; round++)
        for (size_t i = 0; i < PAIRS; i++) {
            send_to(&pairs[i], i + 1);
            run_until_read((round - 1) * 6 + (i + 1) * (i + 2) / 2);
            assert_int_equal(pairs[i].count, round * (i + 1));
        }
}

TEST(what_came_before_a_socket_was_added_is_read)
{
    readers_remove(readers, &pairs[0].reader);
    assert_null(pairs[0].reader);
    send_to(&pairs[0], 2);
    pairs[0].reader = readers_add(readers, pairs[0].here, read_pair, &pairs[0]);
    run_until_read(2);
}

/* Sending takes notice of what came, and its descriptor does not tell of it any more. */
TEST(what_came_while_something_was_sent_is_read)
{
    run_until_read(0); /* all were asked once */
    for (size_t i = 1; i <= 5; i++) {
        send_to(&pairs[0], 1);
        zclock_sleep(THROTTLE_MS);
        assert_int_equal(socket_send(pairs[0].here, "y", 1), 0);
        readers_look(readers, pairs[0].reader);
        run_until_read(i);
    }
}

TEST(one_that_has_very_much_leaves_the_others_their_turn)
{
    pairs[0].most = 1;
    send_to(&pairs[0], 5);
    send_to(&pairs[2], 1);
    run_until_read(6);
    assert_int_equal(pairs[0].count, 5);
    assert_int_equal(strlen(order), 6);
    assert_true(strchr(order, 'c') < order + 2);
}

TEST(one_may_be_removed_while_it_is_read_or_while_it_is_due)
{
    send_to(&pairs[0], 2);
    pairs[0].most = 1;
    removed_by_next = &pairs[0];
    run_until_read(1);
    send_to(&pairs[1], 1);
    send_to(&pairs[2], 1);
    readers_look(readers, pairs[1].reader); /* first in the line */
    removed_by_next = &pairs[2];
    run_until_read(2);
    assert_int_equal(pairs[1].count, 1);
    assert_string_equal(order, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_pairs(each_socket_is_read_when_something_comes),
        with_pairs(what_came_before_a_socket_was_added_is_read),
        with_pairs(what_came_while_something_was_sent_is_read),
        with_pairs(one_that_has_very_much_leaves_the_others_their_turn),
        with_pairs(one_may_be_removed_while_it_is_read_or_while_it_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
