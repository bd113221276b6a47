#include "store.h"

#include "clock.h"
#include "store_access.h"
#include "store_login.h"
#include "ticker.h"

#include <sodium.h>

#define TICK_MS      100
#define PAUSE_MS     100 /* the first; each is twice the one before, half of it by chance */
#define PAUSE_MAX_MS 10000
#define SILENCE_MS   10000 /* with an answer due */
#define GREETING_MS  3000  /* the same while connecting: the next endpoint may do */
#define READS_MAX    16    /* of 16 KiB, before others on the loop have their turn */
#define CLUSTER_WORDS                                                                              \
    "; a cluster cannot be used: a single server is needed, or a master with replicas"

typedef enum { PAUSING, RESOLVING, GREETING, READY } store_state_t;

/* What was sent and not wholly answered; the bytes are kept to name what failed. */
typedef struct {
    commands_t commands;
    void *tag;
} request_t;

struct store {
    zloop_t *loop;
    store_calls_t calls;
    store_access_t *access;
    ticker_t *ticker;
    store_state_t state;
    size_t endpoint; /* being tried, or in use */
    redisContext *context;
    zmq_pollitem_t item;
    commands_t commands; /* being made */
    request_t requests[STORE_REQUESTS_MAX];
    size_t request_first;
    size_t request_count;
    size_t answered; /* commands of the first */
    mono_t heard_at; /* anything, or nothing was due */
    mono_t pause_from;
    int64_t pause_ms;
    unsigned failures;   /* in a row */
    bool settled;        /* something was done since it got ready */
    uint64_t tries;      /* connections begun: tells one from the next */
    store_login_t login; /* of this connection */
    fault_t warned;      /* what the log knows of */
    char last_dataset[STORE_DATASET_BYTES];
    uint64_t connections;
    uint64_t retries;
    uint64_t commands_done;
    fault_t last_error;
};

/* ---- the descriptor ---- */

static int handle(zloop_t *loop, zmq_pollitem_t *item, void *arg);

static void listen_for(store_t *self, short events)
{
    if (self->item.events == events)
        return;
    if (self->item.events != 0)
        zloop_poller_end(self->loop, &self->item);
    self->item = (zmq_pollitem_t){.fd = self->context->fd, .events = events};
    if (events != 0) {
        zloop_poller(self->loop, &self->item, handle, self);
        zloop_poller_set_tolerant(self->loop, &self->item);
    }
}

static void drop_request(store_t *self)
{
    commands_free(&self->requests[self->request_first].commands);
    self->request_first = (self->request_first + 1) % STORE_REQUESTS_MAX;
    self->request_count--;
    self->answered = 0;
}

static void hang_up(store_t *self)
{
    if (self->context == NULL)
        return;
    listen_for(self, 0);
    redisFree(self->context);
    self->context = NULL;
    commands_free(&self->commands);
    while (self->request_count > 0)
        drop_request(self);
}

/* An error stays in the context; the next read finds it. */
static void write_out(store_t *self)
{
    int done = 1;
    redisBufferWrite(self->context, &done);
    listen_for(self, done ? ZMQ_POLLIN : ZMQ_POLLIN | ZMQ_POLLOUT);
}

static void append(store_t *self, void *tag)
{
    commands_t *made = &self->commands;
    if (self->request_count == STORE_REQUESTS_MAX)
        fatalx("more than %d requests to the store", STORE_REQUESTS_MAX);
    if (self->request_count == 0)
        self->heard_at = mono_now();
    size_t at = (self->request_first + self->request_count++) % STORE_REQUESTS_MAX;
    self->requests[at] = (request_t){.tag = tag};
    commands_append(&self->requests[at].commands, made);
    redisAppendFormattedCommand(self->context, made->bytes, made->used);
    commands_clear(made);
}

commands_t *store_commands(store_t *self)
{
    return &self->commands;
}

void store_send(store_t *self, void *tag)
{
    append(self, tag);
    write_out(self);
}

bool store_is_idle(const store_t *self)
{
    return self->request_count == 0;
}

/* ---- connecting ---- */

static const char *name_of(const store_t *self)
{
    return store_endpoint_text(store_access_endpoint(self->access, self->endpoint));
}

/* Begin with an endpoint. Returns false if that failed already. */
static bool open_endpoint(store_t *self, fault_t *fault)
{
    store_endpoint_t *endpoint = store_access_endpoint(self->access, self->endpoint);
    int rc = store_endpoint_resolve(endpoint, fault);
    if (rc == 0)
        self->state = RESOLVING;
    if (rc != 1)
        return rc == 0;
    self->context = store_endpoint_connect(endpoint, fault);
    if (self->context == NULL)
        return false;
    self->state = GREETING;
    self->tries++;
    self->heard_at = mono_now();
    store_login_ask(self->access, &self->commands);
    append(self, NULL);
    listen_for(self, ZMQ_POLLIN | ZMQ_POLLOUT); /* written when it is up */
    return true;
}

static void pause_now(store_t *self)
{
    int64_t longest = PAUSE_MAX_MS;
    if (self->failures < 7)
        longest = PAUSE_MS << self->failures;
    self->failures++;
    self->state = PAUSING;
    self->pause_from = mono_now();
    self->pause_ms = longest / 2 + randombytes_uniform((uint32_t)longest / 2 + 1);
    self->retries++;
}

static void note_failure(store_t *self, const fault_t *fault)
{
    fault_set(&self->last_error, "%s: %s", name_of(self), fault->text);
    log_make_printable(self->last_error.text); /* a store may say anything */
    if (store_access_failed(self->access, self->endpoint, fault->text))
        log_warnx("store %s: %s", name_of(self), fault->text);
}

static void try_from(store_t *self, size_t first)
{
    fault_t fault;
    for (self->endpoint = first; self->endpoint < store_access_count(self->access);
         self->endpoint++) {
        if (open_endpoint(self, &fault))
            return;
        note_failure(self, &fault);
    }
    self->endpoint = 0;
    pause_now(self);
}

/* One that never was ready gives way to the next; one that was is looked for anew from the first.
 */
static void give_up(store_t *self, const fault_t *fault)
{
    store_state_t was = self->state;
    note_failure(self, fault);
    hang_up(self);
    if (was != READY) {
        try_from(self, self->endpoint + 1);
        return;
    }
    self->endpoint = 0;
    pause_now(self);
    self->calls.lost(self->calls.arg);
}

void store_fail(store_t *self, const char *format, ...)
{
    fault_t fault;
    va_list args;
    va_start(args, format);
    vsnprintf(fault.text, sizeof fault.text, format, args);
    va_end(args);
    give_up(self, &fault);
}

void store_settled(store_t *self)
{
    if (store_access_worked(self->access, self->endpoint) && !self->settled)
        log_info("store %s: takes everything again", name_of(self));
    self->settled = true;
    self->failures = 0;
}

/* ---- answers ---- */

/* Behind something that hides what it is. */
static bool is_of_cluster(const char *error)
{
    return strncmp(error, "MOVED ", 6) == 0 || strncmp(error, "ASK ", 4) == 0 ||
           strncmp(error, "CROSSSLOT", 9) == 0 || strncmp(error, "CLUSTERDOWN", 11) == 0;
}

/* The words of an error, with the command that met it. Returns 0 if there is none. */
static int find_error(const store_t *self, const commands_t *asked, const redisReply *reply,
                      fault_t *fault)
{
    char name[COMMANDS_NAME_MAX];
    if (reply->type == REDIS_REPLY_ERROR)
        return fault_set(fault, "%s: %.300s%s", commands_name(asked, self->answered, name),
                         reply->str, is_of_cluster(reply->str) ? CLUSTER_WORDS : "");
    if (reply->type != REDIS_REPLY_ARRAY)
        return 0;
    /* Of EXEC: the answers to the commands before it. */
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_ERROR)
            return fault_set(fault, "%s: %.300s",
                             commands_name(asked, self->answered - reply->elements + i, name),
                             reply->element[i]->str);
    return 0;
}

static void become_ready(store_t *self)
{
    bool another = *self->last_dataset != '\0' && !streq(self->last_dataset, self->login.dataset);
    /* One that connects and then refuses each block would say this at every try. */
    if (self->settled || self->connections == 0) {
        store_access_worked(self->access, self->endpoint);
        log_info("store %s: connected, dataset %s%s", name_of(self), self->login.dataset,
                 another ? ", another one than before: what it lacks is written again" : "");
    }
    if (*self->login.warning.text != '\0' && !streq(self->login.warning.text, self->warned.text))
        log_warnx("store %s: %s", name_of(self), self->login.warning.text);
    self->warned = self->login.warning;
    self->state = READY;
    self->settled = false;
    self->connections++;
    memcpy(self->last_dataset, self->login.dataset, sizeof self->login.dataset);
    self->calls.ready(self->calls.arg);
}

static void finish_request(store_t *self)
{
    void *tag = self->requests[self->request_first].tag;
    drop_request(self);
    if (self->state == GREETING) {
        commands_free(&self->commands); /* a password was in it */
        become_ready(self);
    } else
        self->calls.answered(self->calls.arg, tag);
}

static void take_answer(store_t *self, const redisReply *reply)
{
    fault_t fault;
    const request_t *request = &self->requests[self->request_first];
    size_t index = self->answered;
    if (self->request_count == 0) {
        store_fail(self, "sent an answer that nobody asked for");
        return;
    }
    bool greets = self->state == GREETING;
    bool may_fail = greets && store_login_may_fail(self->access, index);
    if ((!may_fail && find_error(self, &request->commands, reply, &fault) == -1) ||
        (greets && store_login_take(self->access, index, reply, &self->login, &fault) == -1)) {
        give_up(self, &fault);
        return;
    }
    self->answered++;
    self->commands_done++;
    bool last = self->answered == request->commands.count;
    if (self->state == READY)
        self->calls.answer(self->calls.arg, request->tag, index, reply);
    if (self->context != NULL && last)
        finish_request(self);
}

/* The connection is still that one. */
static bool is_still(const store_t *self, uint64_t tries)
{
    return self->context != NULL && self->tries == tries;
}

/* Take the answers that are here. Any of them may end the connection, or begin another one. */
static void take_answers(store_t *self)
{
    uint64_t tries = self->tries;
    void *reply = NULL;
    while (is_still(self, tries) && redisGetReplyFromReader(self->context, &reply) == REDIS_OK &&
           reply != NULL) {
        take_answer(self, reply);
        freeReplyObject(reply);
    }
    if (is_still(self, tries) && self->context->err != 0)
        store_fail(self, "%s", self->context->errstr);
}

static int handle(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    store_t *self = arg;
    short events = item->revents;
    uint64_t tries = self->tries;
    if (events & ZMQ_POLLOUT)
        write_out(self);
    if ((events & (ZMQ_POLLIN | ZMQ_POLLERR)) == 0)
        return 0;
    for (int i = 0; i < READS_MAX && is_still(self, tries); i++) {
        size_t before = self->context->reader->len;
        if (redisBufferRead(self->context) != REDIS_OK) {
            store_fail(self, "%s", self->context->errstr);
            return 0;
        }
        if (self->context->reader->len == before)
            return 0; /* all of it read */
        self->heard_at = mono_now();
        take_answers(self);
    }
    return 0;
}

static void tick(void *arg)
{
    store_t *self = arg;
    int limit_ms = self->state == GREETING ? GREETING_MS : SILENCE_MS;
    if (self->state == PAUSING && mono_since_ms(self->pause_from) >= self->pause_ms)
        try_from(self, 0);
    else if (self->state == RESOLVING)
        try_from(self, self->endpoint);
    else if (self->context != NULL && self->request_count > 0 &&
             mono_since_ms(self->heard_at) >= limit_ms)
        store_fail(self, "no answer for %d s", limit_ms / MS_PER_S);
}

/* ---- start and end ---- */

store_t *store_new(zloop_t *loop, const settings_t *settings, const store_calls_t *calls,
                   fault_t *fault)
{
    store_t *self = xcalloc(1, sizeof *self);
    self->loop = loop;
    self->calls = *calls;
    self->state = PAUSING; /* of no time: the first tick connects */
    self->access = store_access_new(settings, fault);
    if (self->access == NULL) {
        free(self);
        return NULL;
    }
    self->ticker = ticker_new(loop, TICK_MS, tick, self);
    return self;
}

void store_destroy(store_t **self_p)
{
    store_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    hang_up(self);
    ticker_destroy(&self->ticker);
    store_access_destroy(&self->access);
    free(self);
}

int store_reload(store_t *self, const settings_t *settings, fault_t *fault)
{
    bool was_ready = self->state == READY;
    store_access_t *access = store_access_new(settings, fault);
    if (access == NULL)
        return -1;
    if (store_access_equal(access, self->access)) {
        store_access_destroy(&access);
        return 0;
    }
    hang_up(self);
    store_access_destroy(&self->access);
    self->access = access;
    self->endpoint = 0;
    self->state = PAUSING;
    self->pause_ms = 0;
    if (was_ready)
        self->calls.lost(self->calls.arg);
    return 0;
}

const char *store_dataset(const store_t *self)
{
    return self->login.dataset;
}

bool store_may_select(const store_t *self)
{
    return self->login.may_select;
}

json_t *store_status(const store_t *self)
{
    bool connected = self->state == READY;
    return json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:s, s:s}", "endpoint",
                     connected ? name_of(self) : "", "connected", connected, "dataset",
                     connected ? self->login.dataset : "", "commands",
                     (json_int_t)self->commands_done, "connections", (json_int_t)self->connections,
                     "retries", (json_int_t)self->retries, "last_error", self->last_error.text,
                     "warning", connected ? self->login.warning.text : "");
}
