#include "consumer.h"

#include "chain.h"
#include "history.h"
#include "reader.h"
#include "store.h"
#include "ticker.h"

#define TICK_MS      1000
#define BLOCKS       6 /* at once: being written, looked up, or waiting for it */
#define DATASET_LOST "its dataset is gone or another one; was it flushed?"

/* What a request is for. Of each kind but the last three one at most is on its way; those are about
 * a block. */
typedef enum { CURSORS, NOTE, OPEN, LOOK, COMPARE, WRITE } kind_t;

/* How far a block is. */
typedef enum { FILLED, LOOKING, LOOKED, WRITING } stage_t;

typedef struct slot slot_t;

typedef struct {
    kind_t kind;
    slot_t *slot;      /* NULL: of no block */
    size_t decides_at; /* the answer that matters: of the dataset's GET, of EXISTS, of EXEC */
} task_t;

struct slot {
    block_t *block;
    stage_t stage;
    bool some_exist;
    bool refused; /* EXEC: somebody else wrote */
    task_t task;
};

struct consumer {
    service_t *service;
    store_t *store;
    cursors_t *cursors;
    reader_t *reader;
    ticker_t *ticker;
    bool ready;
    slot_t slots[BLOCKS];
    size_t first; /* the oldest */
    size_t count;
    chain_t *chain;
    bool broken; /* somebody else wrote: start again when all is answered */
    task_t cursors_task;
    task_t note_task;
    task_t open_task;
    bool dataset_same;
    uint64_t outcomes[BLOCK_OUTCOME_COUNT];
    uint64_t transactions;
    uint64_t conflicts;
};

static slot_t *slot_at(consumer_t *self, size_t index)
{
    return &self->slots[(self->first + index) % BLOCKS];
}

/* ---- requests ---- */

static void ask_cursors(consumer_t *self)
{
    if (cursors_ask(self->cursors, store_commands(self->store)))
        store_send(self->store, &self->cursors_task);
}

static void add_note(consumer_t *self)
{
    cursors_note(self->cursors, store_commands(self->store), store_dataset(self->store));
}

static void add_dataset(consumer_t *self, task_t *task)
{
    commands_t *out = store_commands(self->store);
    task->decides_at = out->count;
    commands_begin(out, "GET", 2);
    commands_text(out, STORE_DATASET_KEY);
}

static void note(consumer_t *self)
{
    add_note(self);
    add_dataset(self, &self->note_task);
    store_send(self->store, &self->note_task);
}

static void open_chain(consumer_t *self)
{
    chain_open(self->chain, store_commands(self->store));
    add_dataset(self, &self->open_task);
    store_send(self->store, &self->open_task);
}

static void look(consumer_t *self, slot_t *slot)
{
    commands_t *out = store_commands(self->store);
    add_note(self);
    slot->stage = LOOKING;
    slot->some_exist = false;
    slot->task = (task_t){LOOK, slot, out->count};
    if (!block_ask(slot->block, out))
        slot->task.decides_at = SIZE_MAX; /* no EXISTS, only HMGETs */
    store_send(self->store, &slot->task);
}

static void compare(consumer_t *self, slot_t *slot)
{
    slot->task = (task_t){COMPARE, slot, 0};
    block_ask_again(slot->block, store_commands(self->store));
    store_send(self->store, &slot->task);
}

static void write_block(consumer_t *self, slot_t *slot)
{
    commands_t *out = store_commands(self->store);
    chain_begin_block(self->chain, out);
    block_write(slot->block, out);
    slot->stage = WRITING;
    slot->task = (task_t){WRITE, slot, out->count};
    commands_begin(out, "EXEC", 1);
    store_send(self->store, &slot->task);
}

/* ---- what is next ---- */

static void retire(consumer_t *self)
{
    block_finish(self->slots[self->first].block, self->cursors, self->outcomes);
    self->first = (self->first + 1) % BLOCKS;
    self->count--;
}

/* In order. */
static void send_writes(consumer_t *self)
{
    for (size_t i = 0; i < self->count && i < chain_width(self->chain); i++) {
        slot_t *slot = slot_at(self, i);
        if (slot->stage == LOOKED)
            write_block(self, slot);
        else if (slot->stage != WRITING)
            return;
    }
}

/* One block that is not full may wait, and takes in more until it is looked up. */
static void fill(consumer_t *self)
{
    while (true) {
        slot_t *newest = self->count > 0 ? slot_at(self, self->count - 1) : NULL;
        if (newest != NULL && newest->stage == FILLED)
            reader_fill(self->reader, newest->block);
        if (self->count == BLOCKS ||
            (newest != NULL && newest->stage != WRITING && !block_is_full(newest->block)))
            return;
        slot_t *slot = slot_at(self, self->count);
        reader_fill(self->reader, slot->block);
        if (!block_moves(slot->block))
            return;
        slot->stage = FILLED;
        self->count++;
    }
}

/* Blocks whose nids are all their own are looked up far ahead; others only when all before them are
 * in the store. */
static void send_looks(consumer_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        slot_t *slot = slot_at(self, i);
        if (i > 0 && (block_prolongs(slot->block) || block_prolongs(slot_at(self, i - 1)->block)))
            return;
        if (slot->stage != FILLED)
            continue;
        if (block_attempts(slot->block) == 0) {
            if (i > 0)
                return;
            retire(self); /* batches without a ban */
            send_looks(self);
            return;
        }
        if (chain_is_closed(self->chain))
            open_chain(self);
        look(self, slot);
    }
}

/* A block was refused, and with it all that were sent behind it: look again. */
static void start_again(consumer_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        slot_at(self, i)->stage = FILLED;
    chain_close(self->chain);
    self->broken = false;
}

/* Go on as far as possible. */
static void pump(consumer_t *self)
{
    if (!self->ready || (self->broken && !store_is_idle(self->store)))
        return;
    if (self->broken)
        start_again(self);
    ask_cursors(self);
    send_writes(self);
    fill(self);
    send_looks(self);
    if (store_is_idle(self->store) && cursors_have_moved(self->cursors))
        note(self);
}

/* ---- answers ---- */

static void answer(void *arg, void *tag, size_t index, const redisReply *reply)
{
    consumer_t *self = arg;
    task_t *task = tag;
    switch (task->kind) {
    case CURSORS:
        cursors_learn(self->cursors, reply, store_dataset(self->store));
        break;
    case NOTE:
    case OPEN:
        if (index == task->decides_at)
            self->dataset_same =
                reply->type == REDIS_REPLY_STRING && streq(reply->str, store_dataset(self->store));
        break;
    case LOOK:
    case COMPARE:
        if (task->kind == LOOK && index == task->decides_at)
            task->slot->some_exist = reply->integer > 0;
        else if (reply->type == REDIS_REPLY_ARRAY) /* not of the cursors' MSET */
            block_learn(task->slot->block, reply);
        break;
    case WRITE:
        if (index == task->decides_at)
            task->slot->refused = reply->type == REDIS_REPLY_NIL;
        break;
    }
}

static void finish_write(consumer_t *self, const slot_t *slot)
{
    if (slot->refused || self->broken) {
        self->conflicts += !self->broken;
        self->broken = true;
        return;
    }
    chain_hold(self->chain);
    self->transactions++;
    store_settled(self->store);
    retire(self);
}

static void answered(void *arg, void *tag)
{
    consumer_t *self = arg;
    task_t *task = tag;
    switch (task->kind) {
    case NOTE:
    case OPEN:
        if (!self->dataset_same) {
            store_fail(self->store, DATASET_LOST);
            return;
        }
        if (task->kind == NOTE)
            store_settled(self->store);
        break;
    case LOOK:
        if (task->slot->some_exist && !self->broken)
            compare(self, task->slot);
        else
            task->slot->stage = LOOKED;
        break;
    case COMPARE:
        task->slot->stage = LOOKED;
        break;
    case WRITE:
        finish_write(self, task->slot);
        break;
    case CURSORS:
        break;
    }
    pump(self);
}

static void ready(void *arg)
{
    consumer_t *self = arg;
    self->ready = true;
    pump(self);
}

static void lost(void *arg)
{
    consumer_t *self = arg;
    self->ready = false;
    chain_close(self->chain);
    self->broken = false;
    for (size_t i = 0; i < BLOCKS; i++)
        block_clear(self->slots[i].block);
    self->count = 0;
    cursors_forget(self->cursors);
}

/* ---- start and end ---- */

/* A store that was flushed while nothing happens, or that hangs, is found out, too. */
static void tick(void *arg)
{
    consumer_t *self = arg;
    pump(self);
    if (self->ready && store_is_idle(self->store))
        note(self);
}

void consumer_run(consumer_t *self)
{
    pump(self);
}

consumer_t *consumer_new(service_t *service, enrich_t *enrich, fault_t *fault)
{
    consumer_t *self = xcalloc(1, sizeof *self);
    store_calls_t calls = {ready, answer, answered, lost, self};
    self->service = service;
    self->chain = chain_new(service_settings(service)->node.name);
    self->cursors_task.kind = CURSORS;
    self->note_task.kind = NOTE;
    self->open_task.kind = OPEN;
    for (size_t i = 0; i < BLOCKS; i++)
        self->slots[i].block = block_new();
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
    chain_destroy(&self->chain);
    reader_destroy(&self->reader);
    cursors_destroy(&self->cursors);
    for (size_t i = 0; i < BLOCKS; i++)
        block_destroy(&self->slots[i].block);
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
