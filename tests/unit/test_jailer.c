/* jailer: with a helper that works, is missing, dies, hangs, talks nonsense, and works again. The
 * helper is a thread of this test that listens at the socket, or the real one as a child. */
#include "jailer.h"
#include "support.h"

#include <czmq.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define PATH "helper.sock"

typedef enum {
    ANSWER,
    HANG_UP,
    HANG_UP_IN_A_LIST,
    HANG,
    NONSENSE,
    WRONG_TAG,
    WRONG_COUNT,
    TWICE,
    REFUSE,
} manner_t;

static zloop_t *loop;
static settings_t settings;
static jailer_t *jailer;
static int listener = -1;
static pthread_t thread;
static manner_t manner;

/* The clock is leapt forward, so that nobody waits for pauses and limits. */
static _Atomic time_t leap_s;

int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = __real_clock_gettime(id, out);
    out->tv_sec += leap_s;
    return rc;
}

/* Programs are looked for in the working directory. */
ssize_t __wrap_readlink(const char *path, char *out, size_t size);

ssize_t __wrap_readlink(const char *path, char *out, size_t size)
{
    assert_string_equal(path, "/proc/self/exe");
    return snprintf(out, size, "%s/banmeshd", support_directory());
}

/* What the last request came to. */
static struct {
    int calls;
    jailer_status_t status;
    bool held[JAILER_LIFT_MAX];
    size_t count;
    uint8_t jails[JAILER_LIFT_MAX];
    size_t tickets;
} got;

/* ---- the other side ---- */

static size_t make_answer(const helper_request_t *request, bool last,
                          uint8_t record[static HELPER_RECORD_MAX])
{
    helper_answer_t answer = {.what = request->what, .tag = request->tag, .last = last};
    uint8_t *items = record + HELPER_ANSWER_HEADER;
    if (manner == WRONG_TAG)
        answer.tag++;
    if (manner == REFUSE) {
        answer.status = HELPER_REFUSED;
        snprintf(answer.text, sizeof answer.text, "no such jail");
    } else if (request->what == HELPER_LIST) {
        const helper_ticket_t ticket = {.address = support_addr("45.154.244.1"), .bantime_s = -1};
        answer.count = 1;
        helper_ticket_put(items, &ticket);
    } else {
        answer.count = request->count + (manner == WRONG_COUNT);
        for (size_t i = 0; i < answer.count; i++)
            items[i] = i % 2 == 0 ? 3 : 0;
    }
    return helper_answer_write(&answer, record);
}

static void serve_one(int fd)
{
    uint8_t record[HELPER_RECORD_MAX];
    helper_request_t request;
    ssize_t size;
    while ((size = recv(fd, record, sizeof record, 0)) > 0) {
        if (manner == HANG_UP)
            return;
        if (manner == HANG)
            continue;
        if (helper_request_read(record, (size_t)size, &request) == -1)
            return;
        if (manner == NONSENSE) {
            send(fd, "nonsense", 8, MSG_NOSIGNAL);
            continue;
        }
        if (request.what == HELPER_LIST)
            send(fd, record, make_answer(&request, false, record), MSG_NOSIGNAL);
        if (manner == HANG_UP_IN_A_LIST)
            return;
        send(fd, record, make_answer(&request, true, record), MSG_NOSIGNAL);
        if (manner == TWICE)
            send(fd, record, make_answer(&request, true, record), MSG_NOSIGNAL);
    }
}

static void *serve(void *arg)
{
    (void)arg;
    int fd;
    while ((fd = accept(listener, NULL, NULL)) != -1) {
        serve_one(fd);
        close(fd);
    }
    return NULL;
}

static void listen_as(manner_t how)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH};
    manner = how;
    unlink(PATH);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void stop_listening(void)
{
    if (listener == -1)
        return;
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    listener = -1;
}

/* ---- this side ---- */

static int start(void **state)
{
    if (support_enter(state) == -1)
        return -1;
    static char path[] = PATH;
    static char jail[] = "shared";
    static char fail2ban[] = "/nowhere/fail2ban.sock";
    settings.helper.socket = path;
    settings.shared.jail = jail;
    settings.shared.fail2ban = fail2ban;
    loop = zloop_new();
    jailer = jailer_new(loop, &settings);
    return 0;
}

static int end(void **state)
{
    jailer_destroy(&jailer);
    stop_listening();
    zloop_destroy(&loop);
    return support_leave(state);
}

#define with_jailer(name) cmocka_unit_test_setup_teardown(name, start, end)

static int look(zloop_t *looked, int timer, void *arg)
{
    (void)looked;
    (void)timer;
    return got.calls > *(int *)arg ? -1 : 0;
}

/* Until the request that was made is done. */
static void wait_done(int before)
{
    int timer = zloop_timer(loop, 1, 0, look, &before);
    zloop_start(loop);
    zloop_timer_end(loop, timer);
    assert_int_equal(got.calls, before + 1);
}

static void lifted(void *arg, jailer_status_t status, const bool *held, size_t count)
{
    assert_ptr_equal(arg, &got);
    got.calls++;
    got.status = status;
    got.count = count;
    for (size_t i = 0; i < count; i++)
        got.held[i] = held[i];
}

static void counted(void *arg, jailer_status_t status, const uint8_t *jails, size_t count)
{
    assert_ptr_equal(arg, &got);
    got.calls++;
    got.status = status;
    got.count = count;
    memcpy(got.jails, jails, count);
}

static void portion(void *arg, const jailer_ticket_t *tickets, size_t count)
{
    assert_ptr_equal(arg, &got);
    assert_int_equal(tickets[0].bantime_s, -1);
    got.tickets += count;
}

static void done(void *arg, jailer_status_t status)
{
    assert_ptr_equal(arg, &got);
    got.calls++;
    got.status = status;
}

static jailer_status_t lift(void)
{
    const addr_t addresses[] = {support_addr("45.154.244.1"), support_addr("2a02:4780:11::/64")};
    int before = got.calls;
    for (int i = 0; i < 120 && !jailer_is_free(jailer); i++) /* a pause */
        leap_s++;
    assert_true(jailer_lift(jailer, addresses, 2, lifted, &got));
    assert_int_equal(got.calls, before); /* never within the call */
    assert_false(jailer_is_free(jailer));
    assert_false(jailer_lift(jailer, addresses, 2, lifted, &got));
    wait_done(before);
    return got.status;
}

TEST(what_was_held_comes_back)
{
    listen_as(ANSWER);
    assert_int_equal(lift(), JAILER_OK);
    assert_int_equal(got.count, 2);
    assert_true(got.held[0]);
    assert_false(got.held[1]);
    assert_null(jailer_fault(jailer));
    assert_int_equal(lift(), JAILER_OK); /* over the same connection */
}

TEST(a_list_comes_in_portions)
{
    int before = got.calls;
    listen_as(ANSWER);
    got.tickets = 0;
    assert_true(jailer_list(jailer, "shared", portion, done, &got));
    wait_done(before);
    assert_int_equal(got.status, JAILER_OK);
    assert_int_equal(got.tickets, 2);
}

TEST(in_how_many_jails_it_was_comes_back)
{
    const addr_t addresses[] = {support_addr("45.154.244.1"), support_addr("45.154.244.2")};
    int before = got.calls;
    listen_as(ANSWER);
    assert_true(jailer_lift_everywhere(jailer, addresses, 2, counted, &got));
    wait_done(before);
    assert_int_equal(got.status, JAILER_OK);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.jails[0], 3);
    assert_int_equal(got.jails[1], 0);
}

TEST(a_helper_that_is_missing_is_said_and_found_later)
{
    assert_int_equal(lift(), JAILER_NO_HELPER);
    assert_non_null(strstr(jailer_fault(jailer)->text, "no banmesh-helper at \"" PATH "\""));
    assert_false(jailer_is_free(jailer));
    listen_as(ANSWER);
    assert_int_equal(lift(), JAILER_OK);
    assert_null(jailer_fault(jailer));
}

TEST(a_helper_that_dies_costs_its_request)
{
    listen_as(HANG_UP);
    assert_int_equal(lift(), JAILER_NO_HELPER);
    manner = ANSWER;
    assert_int_equal(lift(), JAILER_OK);
}

TEST(a_list_that_is_cut_off_is_not_whole)
{
    int before = got.calls;
    listen_as(HANG_UP_IN_A_LIST);
    got.tickets = 0;
    assert_true(jailer_list(jailer, "shared", portion, done, &got));
    wait_done(before);
    assert_int_equal(got.status, JAILER_NO_HELPER);
    assert_int_equal(got.tickets, 1);
}

static int leap(zloop_t *looked, int timer, void *arg)
{
    (void)looked;
    (void)timer;
    (void)arg;
    leap_s += 80;
    return 0;
}

TEST(a_helper_that_hangs_is_given_up)
{
    listen_as(HANG);
    int timer = zloop_timer(loop, 10, 1, leap, NULL);
    assert_int_equal(lift(), JAILER_FAILED);
    zloop_timer_end(loop, timer);
    assert_string_equal(jailer_fault(jailer)->text, "banmesh-helper: no answer in time");
    manner = ANSWER;
    assert_int_equal(lift(), JAILER_OK);
}

TEST(pauses_grow_to_a_minute_and_begin_anew)
{
    int steps = 0;
    for (int i = 0; i < 8; i++)
        assert_int_equal(lift(), JAILER_NO_HELPER);
    for (; !jailer_is_free(jailer); steps++)
        leap_s++;
    assert_in_range(steps, 55, 61);
    listen_as(ANSWER);
    assert_int_equal(lift(), JAILER_OK);
    assert_true(jailer_is_free(jailer));
}

/* ---- a child ---- */

static jailer_status_t lift_by_a_child(void)
{
    static char none[] = "";
    settings.helper.socket = none;
    return lift();
}

static void have_program(void)
{
    assert_int_equal(symlink(BANMESH_HELPER, "banmesh-helper"), 0);
}

static void assert_no_child(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

TEST(a_child_is_started_and_ends_with_the_node)
{
    have_program();
    assert_int_equal(lift_by_a_child(), JAILER_NO_FAIL2BAN);
    assert_string_equal(jailer_fault(jailer)->text,
                        "banmesh-helper: /nowhere/fail2ban.sock: No such file or directory");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* it goes on */
    jailer_destroy(&jailer);
    assert_no_child();
}

TEST(a_child_of_other_settings_is_another_one)
{
    static char elsewhere[] = "/elsewhere.sock";
    settings_t other;
    have_program();
    assert_int_equal(lift_by_a_child(), JAILER_NO_FAIL2BAN);
    other = settings;
    other.shared.fail2ban = elsewhere;
    jailer_set(jailer, &other);
    assert_no_child();
    assert_int_equal(lift(), JAILER_NO_FAIL2BAN);
    assert_non_null(strstr(jailer_fault(jailer)->text, elsewhere));
    jailer_set(jailer, &settings);
}

TEST(a_child_that_is_killed_is_reaped_and_started_again)
{
    int before = got.calls;
    const addr_t address = support_addr("45.154.244.1");
    support_write_text("banmesh-helper", "#!/bin/sh\nkill -9 $$\n");
    assert_int_equal(chmod("banmesh-helper", 0700), 0);
    assert_int_equal(lift_by_a_child(), JAILER_NO_HELPER);
    assert_int_equal(got.calls, before + 1);
    assert_no_child();
    assert_int_equal(unlink("banmesh-helper"), 0);
    have_program();
    assert_false(jailer_lift(jailer, &address, 1, lifted, &got)); /* the pause */
    assert_int_equal(lift(), JAILER_NO_FAIL2BAN);
}

TEST(a_program_that_is_not_there_is_named)
{
    char expected[600];
    snprintf(expected, sizeof expected,
             "no banmesh-helper at \"\", and cannot start %s/banmesh-helper: No such file",
             support_directory());
    assert_int_equal(lift_by_a_child(), JAILER_NO_HELPER);
    assert_non_null(strstr(jailer_fault(jailer)->text, expected));
    assert_no_child();
}

/* ---- nonsense ---- */

TEST(who_answers_twice_is_hung_up)
{
    int before = got.calls;
    listen_as(TWICE);
    assert_int_equal(lift(), JAILER_OK);
    for (int i = 0; i < 1000 && jailer_fault(jailer) == NULL; i++) {
        int timer = zloop_timer(loop, 5, 1, look, &before); /* one round more */
        zloop_start(loop);
        zloop_timer_end(loop, timer);
    }
    assert_string_equal(jailer_fault(jailer)->text,
                        "banmesh-helper: an answer though nobody asked");
    assert_int_equal(got.calls, before + 1);
    manner = ANSWER;
    assert_int_equal(lift(), JAILER_OK);
}

TEST(nonsense_is_not_believed)
{
    static const manner_t manners[] = {NONSENSE, WRONG_TAG, WRONG_COUNT};
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        listen_as(manners[i]);
        assert_int_equal(lift(), JAILER_FAILED);
        assert_int_equal(got.count, 0);
        stop_listening();
        jailer_destroy(&jailer); /* without its pause */
        jailer = jailer_new(loop, &settings);
    }
}

TEST(a_refusal_is_fail2bans)
{
    listen_as(REFUSE);
    assert_int_equal(lift(), JAILER_REFUSED);
    assert_string_equal(jailer_fault(jailer)->text, "banmesh-helper: no such jail");
}

TEST(after_its_end_nobody_is_called)
{
    const addr_t address = support_addr("45.154.244.1");
    int before = got.calls;
    listen_as(ANSWER);
    assert_true(jailer_lift(jailer, &address, 1, lifted, &got));
    jailer_destroy(&jailer);
    assert_int_equal(got.calls, before);
}

TEST(who_has_no_fail2ban_asks_nothing)
{
    static char none[] = "";
    const addr_t address = support_addr("45.154.244.1");
    settings.shared.fail2ban = none;
    assert_false(jailer_is_free(jailer));
    assert_false(jailer_lift(jailer, &address, 1, lifted, &got));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        with_jailer(what_was_held_comes_back),
        with_jailer(a_list_comes_in_portions),
        with_jailer(in_how_many_jails_it_was_comes_back),
        with_jailer(a_list_that_is_cut_off_is_not_whole),
        with_jailer(a_helper_that_hangs_is_given_up),
        with_jailer(pauses_grow_to_a_minute_and_begin_anew),
        with_jailer(a_child_is_started_and_ends_with_the_node),
        with_jailer(a_child_of_other_settings_is_another_one),
        with_jailer(a_child_that_is_killed_is_reaped_and_started_again),
        with_jailer(a_program_that_is_not_there_is_named),
        with_jailer(who_answers_twice_is_hung_up),
        with_jailer(a_helper_that_is_missing_is_said_and_found_later),
        with_jailer(a_helper_that_dies_costs_its_request),
        with_jailer(nonsense_is_not_believed),
        with_jailer(a_refusal_is_fail2bans),
        with_jailer(after_its_end_nobody_is_called),
        with_jailer(who_has_no_fail2ban_asks_nothing),
    };
    return cmocka_run_group_tests_name("jailer", tests, NULL, NULL);
}
