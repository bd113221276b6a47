/* verifier: many threads, one order. Also run under ThreadSanitizer. */
#include "clock.h"
#include "forge.h"
#include "verifier.h"

#include <czmq.h>
#include <dirent.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define MANY    3000 /* more than the queue holds */
#define WAIT_MS 60000

/* Wrapped by the linker: a system that has no room for another thread. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg);

static int threads_left; /* that may be started; -1: any number */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    if (threads_left == 0)
        return EAGAIN;
    threads_left -= threads_left > 0;
    return __real_pthread_create(thread, attributes, run, arg);
}

/* Wrapped as well: the first question can be held up until so many others are answered. */
wire_error_t __real_wire_verify(wire_t *wire, const envelope_t *envelope);
wire_error_t __wrap_wire_verify(wire_t *wire, const envelope_t *envelope);

static atomic_size_t answered;
static atomic_bool begun; /* somebody has the first */
static size_t hold_until; /* 0: not at all */

wire_error_t __wrap_wire_verify(wire_t *wire, const envelope_t *envelope)
{
    size_t index;
    memcpy(&index, envelope->bytes + WIRE_HEADER_BYTES, sizeof index);
    if (index == 0)
        atomic_store(&begun, true);
    while (index == 0 && atomic_load(&answered) < hold_until)
        usleep(1000);
    wire_error_t error = __real_wire_verify(wire, envelope);
    atomic_fetch_add(&answered, 1);
    return error;
}

static zloop_t *loop;
static verifier_t *verifier;
static forge_node_t node;
static char tags[MANY];
static size_t results;
static size_t expected;
static size_t forgotten;
static size_t idles;
static size_t results_at_idle;
static size_t threads_before;

/* What is asked: every third one has a signature that does not fit, every fifth is much longer.
 * Made beforehand, so that asking is quicker than answering. */
#define LONG_BYTES  2000
#define SHORT_BYTES 200

static struct {
    uint8_t bytes[WIRE_HEADER_BYTES + LONG_BYTES + WIRE_SIGNATURE_BYTES];
    size_t size;
} made[MANY];

static bool is_good(size_t index)
{
    return index % 3 != 0;
}

static int make_all(void **state)
{
    static forged_t envelope;
    uint8_t body[LONG_BYTES] = {0};
    (void)state;
    if (sodium_init() == -1)
        return -1;
    node = forge_node(7);
    for (size_t i = 0; i < MANY; i++) {
        memcpy(body, &i, sizeof i);
        forge_body(&node, WIRE_BATCH, body, i % 5 == 0 ? LONG_BYTES : SHORT_BYTES, &envelope);
        if (!is_good(i))
            envelope.bytes[envelope.size - 1] ^= 1;
        memcpy(made[i].bytes, envelope.bytes, envelope.size);
        made[i].size = envelope.size;
    }
    forge_end(&node);
    return 0;
}

static void verified(void *arg, void *tag, const envelope_t *envelope, wire_error_t error)
{
    assert_ptr_equal(arg, &loop);
    assert_int_equal(envelope->size, made[results].size);
    assert_memory_equal(envelope->bytes, made[results].bytes, envelope->size);
    assert_int_equal(error, is_good(results) ? WIRE_OK : WIRE_BAD_SIGNATURE);
    if (tag == NULL)
        forgotten++;
    else
        assert_ptr_equal(tag, &tags[results]);
    results++;
}

static void idle(void *arg)
{
    assert_ptr_equal(arg, &loop);
    idles++;
    results_at_idle = results;
}

/* Those of ours: a sanitizer may have one of its own. */
static size_t count_threads(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks))
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count - threads_before;
}

static int start(void **state)
{
    (void)state;
    results = expected = forgotten = idles = results_at_idle = 0;
    threads_left = -1;
    hold_until = 0;
    atomic_store(&answered, 0);
    atomic_store(&begun, false);
    threads_before = 0;
    threads_before = count_threads();
    loop = zloop_new();
    return 0;
}

static int end(void **state)
{
    (void)state;
    verifier_destroy(&verifier);
    zloop_destroy(&loop);
    return 0;
}

#define with_loop(name) cmocka_unit_test_setup_teardown(name, start, end)

static void begin(size_t threads)
{
    const verifier_calls_t calls = {verified, idle, &loop};
    verifier = verifier_new(loop, threads, &calls);
}

static void put(size_t from, size_t to)
{
    static uint8_t lent[sizeof made[0].bytes];
    for (size_t i = from; i < to; i++) {
        memcpy(lent, made[i].bytes, made[i].size);
        verifier_put(verifier, &tags[i], forge_envelope(lent, made[i].size));
        memset(lent, 0xff, sizeof lent); /* it must have taken a copy */
    }
    expected = to;
}

static int look(zloop_t *which, int timer, void *arg)
{
    (void)which;
    (void)timer;
    const mono_t *since = arg;
    return results_at_idle == expected || mono_since_ms(*since) > WAIT_MS ? -1 : 0;
}

/* Until the loop was told that all is in. */
static void run(void)
{
    mono_t since = mono_now();
    int timer = zloop_timer(loop, 1, 0, look, &since);
    zloop_start(loop);
    zloop_timer_end(loop, timer);
    assert_int_equal(results, expected);
    assert_int_equal(results_at_idle, expected);
}

TEST(results_come_in_the_order_of_the_questions)
{
    begin(VERIFIER_THREADS_MAX);
    put(0, 1);
    run();
    put(1, 500);
    run();
    put(500, MANY);
    run();
}

/* The loop does not run meanwhile: what is too much comes out of verifier_put itself. */
TEST(a_full_queue_loses_nothing)
{
    begin(2);
    put(0, MANY);
    assert_true(results >= MANY - 2048);
    assert_true(results < MANY);
    assert_int_equal(idles, 0);
    run();
}

/* Nothing can be done but wait for the thread that has the first of them. */
TEST(a_full_queue_whose_first_is_slow_is_waited_for)
{
    begin(1);
    hold_until = 2047; /* all the others that the queue holds */
    put(0, 1);
    while (!atomic_load(&begun))
        usleep(1000);
    put(1, MANY);
    run();
}

static size_t large_results;

static void count_large(void *arg, void *tag, const envelope_t *envelope, wire_error_t error)
{
    (void)arg;
    (void)tag;
    assert_int_equal(envelope->size, WIRE_ENVELOPE_MAX);
    assert_int_equal(error, WIRE_BAD_SIGNATURE);
    large_results++;
}

/* 8 MiB of the largest: what waits is bounded in bytes, too. */
TEST(a_queue_of_large_ones_is_full_sooner)
{
    static uint8_t bytes[WIRE_ENVELOPE_MAX];
    const envelope_t large = {bytes, sizeof bytes, WIRE_BATCH, (const pubkey_t *)bytes};
    const verifier_calls_t calls = {count_large, idle, &loop};
    verifier = verifier_new(loop, 1, &calls);
    large_results = 0;
    for (size_t i = 0; i < 300; i++) {
        verifier_put(verifier, NULL, &large);
        assert_true(i - large_results < 8 * 1024 * 1024 / sizeof bytes + 2);
    }
}

TEST(the_order_holds_where_all_of_it_is_asked_and_answered_at_once)
{
    begin(VERIFIER_THREADS_MAX);
    for (size_t i = 0; i < MANY; i += 100) {
        put(i, i + 100);
        if (i % 300 == 0)
            run();
    }
    run();
}

TEST(the_loop_is_woken_for_many_at_once)
{
    begin(1);
    put(0, 2000);
    run();
    assert_in_range(idles, 1, 2000 / 512 + 3);
}

TEST(who_went_away_is_forgotten_and_the_results_come_all_the_same)
{
    begin(2);
    put(0, 1500);
    for (size_t i = 0; i < 1500; i += 2)
        verifier_forget(verifier, &tags[i]);
    size_t before = results;
    run();
    /* Those that were given out before had theirs. */
    assert_in_range(forgotten, (1500 - before) / 2, (1500 - before) / 2 + 1);
}

TEST(the_end_comes_while_jobs_wait)
{
    begin(VERIFIER_THREADS_MAX);
    put(0, 2000);
    size_t before = results;
    verifier_destroy(&verifier);
    assert_null(verifier);
    assert_int_equal(results, before);
    assert_int_equal(idles, 0);
    verifier_destroy(&verifier);
}

TEST(the_end_comes_before_the_first_question)
{
    begin(VERIFIER_THREADS_MAX);
    assert_int_equal(count_threads(), 0);
}

TEST(threads_start_at_the_first_question_and_end)
{
    begin(3);
    assert_int_equal(count_threads(), 0);
    put(0, 1);
    assert_int_equal(count_threads(), 3);
    run();
    verifier_destroy(&verifier);
    assert_int_equal(count_threads(), 0);
}

TEST(without_threads_each_is_answered_at_once)
{
    begin(0);
    for (size_t i = 0; i < 10; i++) {
        put(i, i + 1);
        assert_int_equal(results, i + 1);
    }
    assert_int_equal(count_threads(), 0);
    verifier_forget(verifier, &tags[3]);
    assert_int_equal(idles, 0);
}

TEST(fewer_threads_than_wanted_do_it_all)
{
    begin(3);
    threads_left = 1;
    put(0, MANY);
    assert_int_equal(count_threads(), 1);
    run();
}

TEST(where_no_thread_can_be_started_each_is_answered_at_once)
{
    begin(3);
    threads_left = 0;
    put(0, 5);
    assert_int_equal(results, 5);
    assert_int_equal(count_threads(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_loop(results_come_in_the_order_of_the_questions),
        with_loop(a_full_queue_loses_nothing),
        with_loop(a_full_queue_whose_first_is_slow_is_waited_for),
        with_loop(a_queue_of_large_ones_is_full_sooner),
        with_loop(the_order_holds_where_all_of_it_is_asked_and_answered_at_once),
        with_loop(the_loop_is_woken_for_many_at_once),
        with_loop(who_went_away_is_forgotten_and_the_results_come_all_the_same),
        with_loop(the_end_comes_while_jobs_wait),
        with_loop(the_end_comes_before_the_first_question),
        with_loop(threads_start_at_the_first_question_and_end),
        with_loop(without_threads_each_is_answered_at_once),
        with_loop(fewer_threads_than_wanted_do_it_all),
        with_loop(where_no_thread_can_be_started_each_is_answered_at_once),
    };
    return cmocka_run_group_tests(tests, make_all, NULL);
}
