/* jailer: with a helper that works, is missing, dies, talks nonsense, and works again. The helper
 * is a thread of this test that listens at the socket. */
#include "jailer.h"
#include "support.h"

#include <czmq.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATH "helper.sock"

typedef enum { ANSWER, HANG_UP, NONSENSE, WRONG_TAG, WRONG_COUNT, REFUSE } manner_t;

static zloop_t *loop;
static settings_t settings;
static jailer_t *jailer;
static int listener = -1;
static pthread_t thread;
static manner_t manner;

/* What the last request came to. */
static struct {
    int calls;
    jailer_status_t status;
    bool held[JAILER_LIFT_MAX];
    size_t count;
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
            items[i] = i % 2 == 0;
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
        if (helper_request_read(record, (size_t)size, &request) == -1)
            return;
        if (manner == NONSENSE) {
            send(fd, "nonsense", 8, MSG_NOSIGNAL);
            continue;
        }
        if (request.what == HELPER_LIST && manner == ANSWER)
            send(fd, record, make_answer(&request, false, record), MSG_NOSIGNAL);
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
    while (!jailer_is_free(jailer)) /* a pause of a second */
        zclock_sleep(10);
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

TEST(a_helper_that_is_missing_is_said_and_found_later)
{
    assert_int_equal(lift(), JAILER_NO_HELPER);
    assert_non_null(strstr(jailer_fault(jailer)->text, "no banmesh-helper at " PATH));
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
        with_jailer(a_helper_that_is_missing_is_said_and_found_later),
        with_jailer(a_helper_that_dies_costs_its_request),
        with_jailer(nonsense_is_not_believed),
        with_jailer(a_refusal_is_fail2bans),
        with_jailer(after_its_end_nobody_is_called),
        with_jailer(who_has_no_fail2ban_asks_nothing),
    };
    return cmocka_run_group_tests_name("jailer", tests, NULL, NULL);
}
