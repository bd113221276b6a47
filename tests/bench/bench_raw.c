/* bench_raw - rates of the parts that a stream of bans is made of, each alone, a second:
 *
 *   curve COUNT        messages of 200 bytes from PUB to SUB over TCP on loopback, CURVE, two
 *                      contexts, one thread that sends and one that receives
 *   intake COUNT OUTSTANDING
 *                      requests of the feeder over a pair of sockets to a thread that answers
 *                      each packet with one, and does nothing else
 *   rows COUNT DIR     SQLite rows of 100 bytes, WAL, synchronous=FULL, 512 a commit: with
 * ascending keys (`ascending`), and with random 16-byte ones, WITHOUT ROWID (`random`)
 *   verify COUNT BYTES Ed25519 signatures of messages of that size: on one core (`verify-one`), and
 *                      on all of them at once, a thread each, all together (`verify-all`) */
#include "curve_pair.h"
#include "feeder.h"
#include "log.h"
#include "measure.h"

#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_BYTES 200
#define WARM_UP       10000
#define ROW_BYTES     100
#define KEY_BYTES     16
#define GROUP         512
#define GROUP_BYTES   49152 /* as the feeder and the intake */
#define THREADS_MAX   64
#define ANSWER        "ok nid=4611686018427387904 new\n" /* shorter than a request */

static double per_second(size_t count, int64_t ns)
{
    return (double)count * (double)NS_PER_S / (double)ns;
}

static pthread_t start_thread(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, arg) != 0)
        fatalx("cannot start a thread");
    return thread;
}

/* ---- curve ---- */

typedef struct {
    curve_pair_t *pair;
    size_t count;
} sender_t;

static void *send_all(void *arg)
{
    const sender_t *sender = arg;
    char message[MESSAGE_BYTES] = {0};
    for (size_t i = 0; i < sender->count; i++)
        curve_pair_send(sender->pair, message, sizeof message);
    return NULL;
}

static int measure_curve(char **argv)
{
    size_t count = number_of(argv[0]);
    sender_t sender = {curve_pair_new(), count + WARM_UP};
    pthread_t thread = start_thread(send_all, &sender);
    for (size_t i = 0; i < WARM_UP; i++)
        curve_pair_receive(sender.pair);
    int64_t start = now_ns();
    for (size_t i = 0; i < count; i++)
        curve_pair_receive(sender.pair);
    value_print("curve", per_second(count, now_ns() - start));
    pthread_join(thread, NULL);
    curve_pair_destroy(&sender.pair);
    return 0;
}

/* ---- intake ---- */

static void send_answers(int fd, size_t count)
{
    static char answers[GROUP_BYTES];
    size_t length = strlen(ANSWER);
    for (size_t i = 0; i < count; i++)
        memcpy(answers + i * length, ANSWER, length);
    for (size_t sent = 0; sent < count * length;) {
        ssize_t some = send(fd, answers + sent, count * length - sent, MSG_NOSIGNAL);
        if (some == -1)
            fatal("answer");
        sent += (size_t)some;
    }
}

static void *answer_all(void *arg)
{
    int fd = *(int *)arg;
    static char requests[GROUP_BYTES];
    ssize_t got;
    while ((got = recv(fd, requests, sizeof requests, 0)) > 0) {
        size_t count = 0;
        const char *end = requests + got;
        for (const char *p = requests; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
            count++;
        send_answers(fd, count);
    }
    return NULL;
}

static int measure_intake(char **argv)
{
    int fds[2];
    size_t count = number_of(argv[0]);
    feeder_t *feeder = feeder_new(count);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
        fatal("socketpair");
    pthread_t thread = start_thread(answer_all, &fds[1]);
    int64_t took = feeder_run(feeder, fds[0], number_of(argv[1]));
    value_print("intake", per_second(count, took));
    close(fds[0]);
    pthread_join(thread, NULL);
    close(fds[1]);
    feeder_destroy(&feeder);
    return 0;
}

/* ---- rows ---- */

static void run_sql(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fatalx("%s: %s", sql, sqlite3_errmsg(db));
}

/* Bind number i, as it is or as a random key of it, run, reset. */
static void add_row(sqlite3 *db, sqlite3_stmt *add, size_t i, bool random)
{
    static const char bytes[ROW_BYTES];
    uint8_t key[KEY_BYTES];
    if (random) {
        randombytes_buf(key, sizeof key);
        sqlite3_bind_blob(add, 1, key, sizeof key, SQLITE_STATIC);
    } else
        sqlite3_bind_int64(add, 1, (int64_t)i);
    sqlite3_bind_blob(add, 2, bytes, random ? ROW_BYTES - KEY_BYTES : ROW_BYTES, SQLITE_STATIC);
    if (sqlite3_step(add) != SQLITE_DONE)
        fatalx("%s", sqlite3_errmsg(db));
    sqlite3_reset(add);
}

static double rows_rate(const char *directory, const char *name, const char *table, size_t count,
                        bool random)
{
    char path[PATH_MAX];
    sqlite3 *db;
    sqlite3_stmt *add;
    snprintf(path, sizeof path, "%s/%s.db", directory, name);
    if (sqlite3_open(path, &db) != SQLITE_OK)
        fatalx("%s: %s", path, sqlite3_errmsg(db));
    run_sql(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    run_sql(db, table);
    if (sqlite3_prepare_v2(db, "INSERT INTO row VALUES (?, ?)", -1, &add, NULL) != SQLITE_OK)
        fatalx("%s: %s", path, sqlite3_errmsg(db));
    int64_t start = now_ns();
    for (size_t i = 0; i < count; i++) {
        if (i % GROUP == 0)
            run_sql(db, "BEGIN IMMEDIATE");
        add_row(db, add, i, random);
        if (i % GROUP == GROUP - 1 || i == count - 1)
            run_sql(db, "COMMIT");
    }
    double rate = per_second(count, now_ns() - start);
    sqlite3_finalize(add);
    sqlite3_close(db);
    return rate;
}

static int measure_rows(char **argv)
{
    size_t count = number_of(argv[0]);
    value_print("ascending",
                rows_rate(argv[1], "ascending",
                          "CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB)", count, false));
    value_print("random", rows_rate(argv[1], "random",
                                    "CREATE TABLE row (key BLOB PRIMARY KEY, bytes BLOB) "
                                    "WITHOUT ROWID",
                                    count, true));
    return 0;
}

/* ---- verify ---- */

typedef struct {
    size_t count;
    size_t size;
    uint8_t *message;
    uint8_t signature[crypto_sign_BYTES];
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
} check_t;

static void *check_all(void *arg)
{
    const check_t *check = arg;
    for (size_t i = 0; i < check->count; i++)
        if (crypto_sign_verify_detached(check->signature, check->message, check->size,
                                        check->public_key) != 0)
            fatalx("a signature of our own does not verify");
    return NULL;
}

/* Each of so many threads checks all of them. */
static double verify_rate(check_t *check, size_t threads)
{
    pthread_t started[THREADS_MAX];
    int64_t start = now_ns();
    for (size_t i = 0; i < threads; i++)
        started[i] = start_thread(check_all, check);
    for (size_t i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
    return per_second(check->count * threads, now_ns() - start);
}

static int measure_verify(char **argv)
{
    check_t check = {.count = number_of(argv[0]), .size = number_of(argv[1])};
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    check.message = xcalloc(1, check.size);
    crypto_sign_keypair(check.public_key, secret_key);
    crypto_sign_detached(check.signature, NULL, check.message, check.size, secret_key);
    value_print("verify-one", verify_rate(&check, 1));
    value_print("verify-all",
                verify_rate(&check, cores < THREADS_MAX ? (size_t)cores : THREADS_MAX));
    free(check.message);
    return 0;
}

static const struct {
    const char *name;
    int arguments;
    int (*measure)(char **argv);
} table[] = {
    {"curve", 1, measure_curve},
    {"intake", 2, measure_intake},
    {"rows", 2, measure_rows},
    {"verify", 2, measure_verify},
};

int main(int argc, char **argv)
{
    log_open("bench_raw");
    if (sodium_init() == -1)
        fatalx("libsodium cannot start");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (argc > 1 && strcmp(argv[1], table[i].name) == 0 && argc - 2 == table[i].arguments)
            return table[i].measure(argv + 2);
    fputs("usage: bench_raw curve COUNT | intake COUNT OUTSTANDING | rows COUNT DIR | "
          "verify COUNT BYTES\n",
          stderr);
    return 2;
}
