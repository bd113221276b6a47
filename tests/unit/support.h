/* support - what several unit tests need: a private directory, tables of cases, keys, events, child
 * processes. Fails the running test where something does not work. */
#ifndef BANMESH_TESTS_SUPPORT_H
#define BANMESH_TESTS_SUPPORT_H

#include "event.h"
#include "trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/types.h>

#define TEST(name)         static void name(void **state __attribute__((unused)))
#define plain(name)        cmocka_unit_test(name)
#define in_directory(name) cmocka_unit_test_setup_teardown(name, support_enter, support_leave)

/* ---- a private directory: the working directory from setup to teardown ---- */

int support_enter(void **state);
int support_leave(void **state);

/* Its absolute path. */
const char *support_directory(void);

void support_write(const char *path, const void *bytes, size_t size);
void support_write_text(const char *path, const char *text);
void support_make_directory(const char *path);

/* The whole file with a NUL behind it; for free (). size may be NULL. */
char *support_read(const char *path, size_t *size);
bool support_exists(const char *path);

/* ---- tables: tests/cases/FILE, a line a case, "input => expected", '#' begins a comment line ----
 */

/* Turns an input into what came of it. */
typedef void(support_case_fn)(char *input, char *out, size_t size);

/* Run all cases; says every one that came out otherwise, by file and line, and then fails. */
void support_table(const char *file, support_case_fn *run);

/* The path of something under tests/; lives until the next call. */
const char *support_source(const char *relative);

/* ---- values ---- */

addr_t support_addr(const char *text);

/* A well-formed ban of an address: jail sshd, time 1795288025123, 600 s, 5 failures. */
ban_t support_ban(const char *ip);
event_t support_ban_event(const char *ip);
event_t support_grace_event(event_kind_t kind, const char *network, const char *text);

/* Fail unless all fields are the same. */
void support_assert_same_ban(const ban_t *one, const ban_t *other);
void support_assert_same_event(const event_t *one, const event_t *other);

/* A certificate with fresh keys; the caller owns it. */
cert_t *support_cert(const char *name);

/* Write the public halves of some certificates into a new directory and load it. */
trust_t *support_trust(const char *directory, cert_t *const *certs, size_t count);

/* ---- chance that repeats itself: the seed is printed, BANMESH_TEST_SEED sets another ---- */

uint64_t support_seed(void);
uint64_t support_random(uint64_t *state);

/* ---- other processes ---- */

/* Fork; the child exits with what run returns. */
pid_t support_fork(int (*run)(void *arg), void *arg);

/* Its exit status; fails if a signal ended it. */
int support_wait(pid_t child);

/* Run in a child with standard error silenced, and return its exit status: for what is fatal. */
int support_exit_status(int (*run)(void *arg), void *arg);

/* ---- a full disk, nearly: no file may grow beyond a size; -1 ends it ---- */
void support_limit_files(int64_t bytes);

/* Whether it is `tests/run --long`. */
bool support_long(void);

#endif
