#include "support.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUT_MAX      1024
#define SEED_DEFAULT 20261121

static char directory[PATH_MAX];

int support_enter(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/banmesh-test.XXXXXX",
             parent != NULL && *parent != '\0' ? parent : "/tmp");
    return mkdtemp(directory) != NULL && chdir(directory) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

int support_leave(void **state)
{
    (void)state;
    if (chdir("/") == -1)
        return -1;
    return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *support_directory(void)
{
    return directory;
}

void support_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        fail_msg("%s: %s", path, strerror(errno));
}

void support_write_text(const char *path, const char *text)
{
    support_write(path, text, strlen(text));
}

void support_make_directory(const char *path)
{
    if (mkdir(path, 0700) == -1)
        fail_msg("%s: %s", path, strerror(errno));
}

char *support_read(const char *path, size_t *size)
{
    struct stat status;
    FILE *file = fopen(path, "r");
    if (file == NULL || fstat(fileno(file), &status) == -1)
        fail_msg("%s: %s", path, strerror(errno));
    char *bytes = xcalloc(1, (size_t)status.st_size + 1);
    if (fread(bytes, 1, (size_t)status.st_size, file) != (size_t)status.st_size)
        fail_msg("%s: cannot be read whole", path);
    fclose(file);
    if (size != NULL)
        *size = (size_t)status.st_size;
    return bytes;
}

bool support_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

const char *support_source(const char *relative)
{
    static char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", BANMESH_TEST_DIR, relative);
    return path;
}

/* Splits "input => expected"; an arrow at the very start means no input. Returns what is expected;
 * NULL for a line without a case. */
static char *split(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    if (line[0] == '#' || line[0] == '\0')
        return NULL;
    char *arrow = strncmp(line, "=> ", 3) == 0 ? line : strstr(line, " => ");
    if (arrow == NULL)
        fail_msg("expected \"input => expected\": %s", line);
    char *expected = arrow + (arrow == line ? 3 : 4);
    *arrow = '\0';
    return expected;
}

void support_table(const char *file, support_case_fn *run)
{
    char relative[PATH_MAX];
    char *line = NULL;
    size_t size = 0;
    int number = 0;
    int cases = 0;
    int wrong = 0;
    snprintf(relative, sizeof relative, "cases/%s", file);
    FILE *table = fopen(support_source(relative), "r");
    if (table == NULL)
        fail_msg("%s: %s", support_source(relative), strerror(errno));
    while (getline(&line, &size, table) != -1) {
        char out[OUT_MAX] = "";
        number++;
        const char *expected = split(line);
        if (expected == NULL)
            continue;
        cases++;
        run(line, out, sizeof out);
        if (strcmp(out, expected) == 0)
            continue;
        wrong++;
        print_error("tests/cases/%s:%d: expected: %s\n    but it is: %s\n", file, number, expected,
                    out);
    }
    free(line);
    fclose(table);
    if (wrong > 0 || cases == 0)
        fail_msg("tests/cases/%s: %d of %d cases are wrong", file, wrong, cases);
}

addr_t support_addr(const char *text)
{
    addr_t addr;
    addr_error_t error = addr_parse(text, &addr);
    if (error != ADDR_OK)
        fail_msg("%s: %s", text, addr_error_text(error));
    return addr;
}

ban_t support_ban(const char *ip)
{
    ban_t ban = {
        .address = support_addr(ip),
        .jail = "sshd",
        .time_ms = 1795288025123,
        .duration_s = 600,
        .failures = 5,
        .bancount = 1,
        .port = "ssh",
        .protocol = "tcp",
    };
    return ban;
}

event_t support_ban_event(const char *ip)
{
    return (event_t){.kind = EVENT_BAN, .ban = support_ban(ip)};
}

event_t support_grace_event(event_kind_t kind, const char *network, const char *text)
{
    event_t event = {.kind = kind};
    event.grace.network = support_addr(network);
    event.grace.time_ms = 1795288025123;
    event.grace.until_ms = 1795291625000;
    snprintf(event.grace.text, sizeof event.grace.text, "%s", text);
    return event;
}

void support_assert_same_ban(const ban_t *one, const ban_t *other)
{
    assert_true(addr_equal(&one->address, &other->address));
    assert_string_equal(one->jail, other->jail);
    assert_int_equal(one->time_ms, other->time_ms);
    assert_int_equal(one->duration_s, other->duration_s);
    assert_int_equal(one->failures, other->failures);
    assert_int_equal(one->bancount, other->bancount);
    assert_string_equal(one->port, other->port);
    assert_string_equal(one->protocol, other->protocol);
    assert_string_equal(one->reason, other->reason);
}

void support_assert_same_event(const event_t *one, const event_t *other)
{
    assert_int_equal(one->kind, other->kind);
    assert_int_equal(one->has_original, other->has_original);
    if (one->has_original) {
        assert_int_equal(one->original.epoch, other->original.epoch);
        assert_int_equal(one->original.channel, other->original.channel);
        assert_int_equal(one->original.seq, other->original.seq);
        assert_int_equal(one->original.index, other->original.index);
    }
    if (one->kind == EVENT_BAN)
        support_assert_same_ban(&one->ban, &other->ban);
    else if (one->kind != EVENT_UNKNOWN) {
        assert_true(addr_equal(&one->grace.network, &other->grace.network));
        assert_int_equal(one->grace.time_ms, other->grace.time_ms);
        assert_int_equal(one->grace.until_ms, other->grace.until_ms);
        assert_string_equal(one->grace.text, other->grace.text);
        assert_int_equal(one->grace.ban_count, other->grace.ban_count);
        for (size_t i = 0; i < one->grace.ban_count; i++)
            assert_true(event_position_equal(&one->grace.bans[i], &other->grace.bans[i]));
    }
}

cert_t *support_cert(const char *name)
{
    fault_t fault;
    cert_t *cert = cert_new(name, "", "", &fault);
    if (cert == NULL)
        fail_msg("%s", fault.text);
    return cert;
}

trust_t *support_trust(const char *path, cert_t *const *certs, size_t count)
{
    fault_t fault;
    support_make_directory(path);
    for (size_t i = 0; i < count; i++)
        if (cert_save_public(certs[i], path, certs[i]->name, &fault) == -1)
            fail_msg("%s", fault.text);
    trust_t *trust = trust_load(path, &fault);
    if (trust == NULL)
        fail_msg("%s", fault.text);
    return trust;
}

uint64_t support_seed(void)
{
    const char *text = getenv("BANMESH_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : SEED_DEFAULT;
    print_message("seed %" PRIu64 "\n", seed);
    return seed;
}

/* splitmix64, public domain, by Sebastiano Vigna. */
uint64_t support_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

pid_t support_fork(int (*run)(void *arg), void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == -1)
        fail_msg("fork: %s", strerror(errno));
    if (child == 0)
        _exit(run(arg));
    return child;
}

int support_wait(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) == -1)
        if (errno != EINTR)
            fail_msg("waitpid: %s", strerror(errno));
    if (!WIFEXITED(status))
        fail_msg("a child process ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

typedef struct {
    int (*run)(void *arg);
    void *arg;
} call_t;

static int run_silently(void *arg)
{
    const call_t *call = arg;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd == -1 || dup2(fd, STDERR_FILENO) == -1)
        return 99;
    return call->run(call->arg);
}

int support_exit_status(int (*run)(void *arg), void *arg)
{
    call_t call = {run, arg};
    return support_wait(support_fork(run_silently, &call));
}

void support_limit_files(int64_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &limit) == -1)
        fail_msg("getrlimit: %s", strerror(errno));
    limit.rlim_cur = bytes >= 0 ? (rlim_t)bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &limit) == -1)
        fail_msg("setrlimit: %s", strerror(errno));
}

bool support_long(void)
{
    const char *text = getenv("BANMESH_LONG");
    return text != NULL && strcmp(text, "1") == 0;
}
