#include "consumer.h"

#include "block.h"
#include "history.h"
#include "reader.h"
#include "store.h"
#include "ticker.h"

#define WRITER_KEY   "banmesh:writer"
#define TICK_MS      1000
#define DATASET_LOST "its dataset is gone or another one; was it flushed?"

/* What the request that is on its way is for. */
typedef enum { NOTHING, ASKING_CURSORS, NOTING, LOOKING, COMPARING, WRITING } phase_t;

struct consumer {
    service_t *service;
    store_t *store;
    cursors_t *cursors;
    reader_t *reader;
    ticker_t *ticker;
    bool ready;
    phase_t phase;
    block_t *block;         /* on its way */
    block_t *next;          /* being collected */
    commands_t transaction; /* that writes the block that was looked up, if nothing of it exists */
    /* Of the request under way: which of its answers is what, and what they said. */
    size_t exec_at;
    size_t dataset_at;
    block_t *looked; /* the block whose attempts are looked up; NULL: none */
    bool asked_exists;
    bool some_exist;
    bool dataset_same;
    bool conflict; /* somebody else wrote */
    uint64_t outcomes[BLOCK_OUTCOME_COUNT];
    uint64_t transactions;
    uint64_t conflicts;
};

/* ---- requests ---- */

/* Note cursors, and read the dataset. */
static void add_note(consumer_t *self)
{
    commands_t *out = store_commands(self->store);
    cursors_note(self->cursors, out, store_dataset(self->store));
    self->dataset_same = false;
    self->dataset_at = out->count;
    commands_begin(out, "GET", 2);
    commands_text(out, STORE_DATASET_KEY);
}

/* All that writes a block. */
static void format(consumer_t *self, block_t *block)
{
    commands_t *out = &self->transaction;
    commands_clear(out);
    commands_begin(out, "MULTI", 1);
    commands_begin(out, "SET", 3);
    commands_text(out, WRITER_KEY);
    commands_text(out, service_settings(self->service)->node.name);
    block_write(block, out);
    commands_begin(out, "EXEC", 1);
}

/* Look up what a block would write. It is formatted while the store looks, so that it is at hand
 * when the answer comes: until then the store has nothing to do. */
static void send_look(consumer_t *self, block_t *block)
{
    commands_t *out = store_commands(self->store);
    commands_begin(out, "WATCH", 3);
    commands_text(out, STORE_DATASET_KEY);
    commands_text(out, WRITER_KEY);
    add_note(self);
    self->looked = block;
    self->some_exist = false;
    self->asked_exists = block_ask(block, out);
    store_send(self->store);
    format(self, block);
}

static void look(consumer_t *self)
{
    self->phase = LOOKING;
    send_look(self, self->block);
}

static void note(consumer_t *self)
{
    self->phase = NOTING;
    add_note(self);
    store_send(self->store);
}

static void compare(consumer_t *self)
{
    self->phase = COMPARING;
    block_ask_again(self->block, store_commands(self->store));
    store_send(self->store);
}

/* Write the block; behind it in the same request, look up what the next one would write: the store
 * goes on with that before we have read the answers. */
static void write_block(consumer_t *self)
{
    commands_t *out = store_commands(self->store);
    self->phase = WRITING;
    self->looked = NULL;
    if (block_has_learned(self->block))
        format(self, self->block);
    commands_append(out, &self->transaction);
    self->exec_at = out->count - 1;
    store_send(self->store);
    reader_fill(self->reader, self->next);
    if (block_attempts(self->next) > 0)
        send_look(self, self->next);
}

static void swap_blocks(consumer_t *self)
{
    block_t *swapped = self->block;
    self->block = self->next;
    self->next = swapped;
}

/* Nothing is on its way: what is next? */
static void step(consumer_t *self)
{
    self->phase = NOTHING;
    if (!self->ready)
        return;
    if (cursors_ask(self->cursors, store_commands(self->store))) {
        self->phase = ASKING_CURSORS;
        store_send(self->store);
        return;
    }
    reader_fill(self->reader, self->next);
    swap_blocks(self);
    if (block_attempts(self->block) > 0) {
        look(self);
        return;
    }
    block_finish(self->block, self->cursors, self->outcomes); /* batches without a ban */
    if (cursors_have_moved(self->cursors))
        note(self);
}

/* ---- answers ---- */

static void take_look(consumer_t *self, size_t index, const redisReply *reply)
{
    if (index == self->dataset_at)
        self->dataset_same =
            reply->type == REDIS_REPLY_STRING && streq(reply->str, store_dataset(self->store));
    else if (index == self->dataset_at + 1 && self->asked_exists)
        self->some_exist = reply->integer > 0;
    else if (index > self->dataset_at)
        block_learn(self->looked, reply);
}

static void answer(void *arg, size_t index, const redisReply *reply)
{
    consumer_t *self = arg;
    switch (self->phase) {
    case ASKING_CURSORS:
        cursors_learn(self->cursors, reply, store_dataset(self->store));
        break;
    case NOTING:
    case LOOKING:
        take_look(self, index, reply);
        break;
    case COMPARING:
        block_learn(self->block, reply);
        break;
    case WRITING:
        if (index == self->exec_at)
            self->conflict = reply->type == REDIS_REPLY_NIL;
        else if (index > self->exec_at)
            take_look(self, index, reply);
        break;
    case NOTHING:
        break;
    }
}

/* The block was looked up, under WATCH. */
static void finish_look(consumer_t *self)
{
    if (!self->dataset_same)
        store_fail(self->store, DATASET_LOST);
    else if (self->some_exist)
        compare(self);
    else
        write_block(self);
}

static void finish_note(consumer_t *self)
{
    if (!self->dataset_same) {
        store_fail(self->store, DATASET_LOST);
        return;
    }
    store_settled(self->store);
    step(self);
}

static void finish_write(consumer_t *self)
{
    if (self->conflict) {
        self->conflicts++;
        look(self);
        return;
    }
    self->transactions++;
    store_settled(self->store);
    block_finish(self->block, self->cursors, self->outcomes);
    if (self->looked == NULL) {
        step(self);
        return;
    }
    swap_blocks(self);
    finish_look(self);
}

static void answered(void *arg)
{
    consumer_t *self = arg;
    cursors_noted(self->cursors);
    switch (self->phase) {
    case NOTING:
        finish_note(self);
        break;
    case LOOKING:
        finish_look(self);
        break;
    case COMPARING:
        write_block(self);
        break;
    case WRITING:
        finish_write(self);
        break;
    case ASKING_CURSORS:
    case NOTHING:
        step(self);
        break;
    }
}

static void ready(void *arg)
{
    consumer_t *self = arg;
    self->ready = true;
    step(self);
}

static void lost(void *arg)
{
    consumer_t *self = arg;
    self->ready = false;
    self->phase = NOTHING;
    block_clear(self->block);
    block_clear(self->next);
    cursors_forget(self->cursors);
}

/* ---- start and end ---- */

/* A store that was flushed while nothing happens, or that hangs, is found out, too. */
static void tick(void *arg)
{
    consumer_t *self = arg;
    if (!self->ready || self->phase != NOTHING)
        return;
    step(self);
    if (self->phase == NOTHING)
        note(self);
}

void consumer_run(consumer_t *self)
{
    if (self->phase == NOTHING)
        step(self);
}

consumer_t *consumer_new(service_t *service, enrich_t *enrich, fault_t *fault)
{
    consumer_t *self = xcalloc(1, sizeof *self);
    store_calls_t calls = {ready, answer, answered, lost, self};
    self->service = service;
    self->block = block_new();
    self->next = block_new();
    self->cursors = cursors_new(service_feed(service), service_cert(service)->sign_public);
    self->reader = reader_new(service, enrich, self->cursors);
    history_set_timezone(service_settings(service)->history.timezone);
    self->store = store_new(service_loop(service), service_settings(service), &calls, fault);
    if (self->store == NULL)
        consumer_destroy(&self);
    else
        self->ticker = ticker_new(service_loop(service), TICK_MS, tick, self);
    return self;
}

void consumer_destroy(consumer_t **self_p)
{
    consumer_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    ticker_destroy(&self->ticker);
    store_destroy(&self->store);
    reader_destroy(&self->reader);
    cursors_destroy(&self->cursors);
    block_destroy(&self->block);
    block_destroy(&self->next);
    commands_free(&self->transaction);
    free(self);
}

void consumer_reload(consumer_t *self)
{
    fault_t fault;
    const settings_t *settings = service_settings(self->service);
    history_set_timezone(settings->history.timezone);
    if (store_reload(self->store, settings, &fault) == -1)
        log_warnx("%s; the old store settings stay", fault.text);
}

void consumer_status(consumer_t *self, json_t *status)
{
    json_t *store = store_status(self->store);
    json_t *events = json_object();
    json_object_set_new(store, "transactions", json_integer((json_int_t)self->transactions));
    json_object_set_new(store, "conflicts", json_integer((json_int_t)self->conflicts));
    json_object_set_new(status, "store", store);
    for (int i = 0; i < BLOCK_OUTCOME_COUNT; i++)
        if (self->outcomes[i] > 0 || i == BLOCK_STORED)
            json_object_set_new(events, block_outcome_name((block_outcome_t)i),
                                json_integer((json_int_t)self->outcomes[i]));
    json_object_set_new(status, "events", events);
    json_object_set_new(status, "behind", json_integer((json_int_t)cursors_behind(self->cursors)));
}
