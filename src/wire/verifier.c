#include "verifier.h"

#include "log.h"

#include <czmq.h>

#include <pthread.h>
#include <sys/eventfd.h>

#define QUEUE_COUNT     2048
#define QUEUE_BYTES_MAX (8 * 1024 * 1024)
#define GROUP_COUNT     512 /* results that are worth waking the loop for */
#define STACK_BYTES     (256 * 1024)

typedef enum { JOB_WAITS, JOB_TAKEN, JOB_DONE } job_state_t;

typedef struct {
    void *tag;
    envelope_t envelope; /* a copy */
    job_state_t state;
    wire_error_t error;
} job_t;

typedef struct {
    verifier_t *verifier;
    wire_t *wire;
    pthread_t thread;
} worker_t;

/* A ring: results leave at `first`, questions are taken at `next`, new ones come in at `end`. */
struct verifier {
    verifier_calls_t calls;
    zloop_t *loop;
    zmq_pollitem_t item; /* an eventfd: the first of the queue is done */
    wire_t *wire;        /* the loop's own */
    worker_t workers[VERIFIER_THREADS_MAX];
    size_t thread_count;
    bool running;
    pthread_mutex_t lock; /* for all that follows */
    pthread_cond_t work;
    pthread_cond_t done;
    job_t jobs[QUEUE_COUNT];
    size_t first;
    size_t next;
    size_t end;
    size_t bytes;
    size_t ready; /* how many are done, wherever in the queue */
    bool woken;   /* the loop knows, and has not looked yet */
    bool stopping;
};

static job_t *job_at(verifier_t *self, size_t index)
{
    return &self->jobs[index % QUEUE_COUNT];
}

/* Take the next question; the lock is held. NULL: there is none. */
static job_t *take_job(verifier_t *self)
{
    if (self->next == self->end)
        return NULL;
    job_t *job = job_at(self, self->next++);
    job->state = JOB_TAKEN;
    return job;
}

/* Answer it; the lock is held, and let go meanwhile. */
static void do_job(verifier_t *self, wire_t *wire, job_t *job)
{
    pthread_mutex_unlock(&self->lock);
    wire_error_t error = wire_verify(wire, &job->envelope);
    pthread_mutex_lock(&self->lock);
    job->error = error;
    job->state = JOB_DONE;
    self->ready++;
}

/* Tell the loop of results, many at once: each time that it takes some in, it commits and syncs.
 * The lock is held. */
static void wake_loop(verifier_t *self)
{
    const uint64_t one = 1;
    if (job_at(self, self->first)->state != JOB_DONE)
        return; /* whoever has that one comes here, too */
    pthread_cond_signal(&self->done);
    if (self->woken || (self->next != self->end && self->ready < GROUP_COUNT))
        return;
    self->woken = true;
    if (write(self->item.fd, &one, sizeof one) == -1 && errno != EAGAIN)
        fatal("eventfd");
}

static void *work(void *arg)
{
    worker_t *worker = arg;
    verifier_t *self = worker->verifier;
    pthread_mutex_lock(&self->lock);
    while (!self->stopping) {
        job_t *job = take_job(self);
        if (job == NULL) {
            pthread_cond_wait(&self->work, &self->lock);
            continue;
        }
        do_job(self, worker->wire, job);
        wake_loop(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Give out one result, if the first of the queue has one. */
static bool give_one(verifier_t *self)
{
    job_t job;
    pthread_mutex_lock(&self->lock);
    bool ready = self->first != self->next && job_at(self, self->first)->state == JOB_DONE;
    if (ready) {
        job = *job_at(self, self->first++);
        self->bytes -= job.envelope.size;
        self->ready--;
    }
    pthread_mutex_unlock(&self->lock);
    if (ready) {
        self->calls.verified(self->calls.arg, job.tag, &job.envelope, job.error);
        wire_free(&job.envelope);
    }
    return ready;
}

static int give_results(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    verifier_t *self = arg;
    uint64_t count;
    if (read(item->fd, &count, sizeof count) == -1)
        return 0;
    pthread_mutex_lock(&self->lock);
    self->woken = false;
    pthread_mutex_unlock(&self->lock);
    while (give_one(self))
        ;
    self->calls.idle(self->calls.arg);
    return 0;
}

/* Where the system has no room for another thread, those that there are do it all. */
static void start_threads(verifier_t *self)
{
    pthread_attr_t attributes;
    size_t count = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (; count < self->thread_count; count++) {
        worker_t *worker = &self->workers[count];
        worker->verifier = self;
        worker->wire = wire_new(NULL);
        errno = pthread_create(&worker->thread, &attributes, work, worker);
        if (errno != 0) {
            log_warn("a thread that checks signatures cannot be started, %zu of %zu run", count,
                     self->thread_count);
            wire_destroy(&worker->wire);
            break;
        }
    }
    pthread_attr_destroy(&attributes);
    self->thread_count = count;
    self->running = true;
}

size_t verifier_cores(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores <= 1)
        return 1;
    return cores < VERIFIER_THREADS_MAX ? (size_t)cores : VERIFIER_THREADS_MAX;
}

verifier_t *verifier_new(zloop_t *loop, size_t threads, const verifier_calls_t *calls)
{
    verifier_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->calls = *calls;
    self->thread_count = threads;
    self->wire = wire_new(NULL);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->work, NULL);
    pthread_cond_init(&self->done, NULL);
    self->item =
        (zmq_pollitem_t){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .events = ZMQ_POLLIN};
    if (self->item.fd == -1)
        fatal("eventfd");
    zloop_poller(loop, &self->item, give_results, self);
    return self;
}

static void stop_threads(verifier_t *self)
{
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->work);
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < self->thread_count; i++) {
        pthread_join(self->workers[i].thread, NULL);
        wire_destroy(&self->workers[i].wire);
    }
}

void verifier_destroy(verifier_t **self_p)
{
    verifier_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->running)
        stop_threads(self);
    for (; self->first != self->end; self->first++)
        wire_free(&job_at(self, self->first)->envelope);
    zloop_poller_end(self->loop, &self->item);
    close(self->item.fd);
    pthread_cond_destroy(&self->done);
    pthread_cond_destroy(&self->work);
    pthread_mutex_destroy(&self->lock);
    wire_destroy(&self->wire);
    free(self);
}

static bool is_full(verifier_t *self)
{
    pthread_mutex_lock(&self->lock);
    bool full = self->end - self->first == QUEUE_COUNT || self->bytes > QUEUE_BYTES_MAX;
    pthread_mutex_unlock(&self->lock);
    return full;
}

/* Answer a question ourselves, or wait for who has the last ones. */
static void help(verifier_t *self)
{
    pthread_mutex_lock(&self->lock);
    job_t *job = take_job(self);
    if (job != NULL)
        do_job(self, self->wire, job);
    else
        while (self->first != self->end && job_at(self, self->first)->state != JOB_DONE)
            pthread_cond_wait(&self->done, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static void make_room(verifier_t *self)
{
    while (is_full(self)) {
        bool given = false;
        while (give_one(self))
            given = true;
        if (!given)
            help(self);
    }
}

void verifier_put(verifier_t *self, void *tag, const envelope_t *envelope)
{
    if (!self->running)
        start_threads(self);
    if (self->thread_count == 0) {
        self->calls.verified(self->calls.arg, tag, envelope, wire_verify(self->wire, envelope));
        return;
    }
    make_room(self);
    job_t job = {.tag = tag, .envelope = wire_copy(envelope)};
    pthread_mutex_lock(&self->lock);
    *job_at(self, self->end++) = job;
    self->bytes += envelope->size;
    pthread_cond_signal(&self->work);
    pthread_mutex_unlock(&self->lock);
}

void verifier_forget(verifier_t *self, const void *tag)
{
    pthread_mutex_lock(&self->lock);
    for (size_t i = self->first; i != self->end; i++)
        if (job_at(self, i)->tag == tag)
            job_at(self, i)->tag = NULL;
    pthread_mutex_unlock(&self->lock);
}
