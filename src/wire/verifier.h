/* verifier - signatures checked on all cores, results in the order of the questions.
 * For what comes in bulk (answers to Fetch); a single announcement is checked where it arrives.
 * Owns the threads and the copies in its queue. All calls and callbacks are on the loop's thread.
 */
#ifndef BANMESH_WIRE_VERIFIER_H
#define BANMESH_WIRE_VERIFIER_H

#include "loop.h"
#include "wire.h"

#define VERIFIER_THREADS_MAX 4

typedef struct verifier verifier_t;

typedef struct {
    /* One result. tag as it was given; NULL if it was forgotten meanwhile. */
    void (*verified)(void *arg, void *tag, const envelope_t *envelope, wire_error_t error);
    /* No more results for now: those that there were came many at once. */
    void (*idle)(void *arg);
    void *arg;
} verifier_calls_t;

/* threads: how many beside the loop's own, at most VERIFIER_THREADS_MAX; 0 checks at once in
 * verifier_put. They start at the first use. */
verifier_t *verifier_new(zloop_t *loop, size_t threads, const verifier_calls_t *calls);
void verifier_destroy(verifier_t **self_p);

/* As many threads as there are cores, at most VERIFIER_THREADS_MAX: the loop's own thread sleeps
 * most of the time, and goes before them when it wakes. */
size_t verifier_cores(void);

/* Check the signature of an envelope, which is copied. If the queue is full,
 * this thread helps until it is not, and results come in from within this call. */
void verifier_put(verifier_t *self, void *tag, const envelope_t *envelope);

/* The tag's owner goes away. */
void verifier_forget(verifier_t *self, const void *tag);

#endif
