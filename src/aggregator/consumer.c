#include "consumer.h"

#include "chain.h"
#include "history.h"
#include "reader.h"
#include "store.h"
#include "ticker.h"

#include <inttypes.h>

#define TICK_MS     1000
#define BLOCKS      6  /* at once: being written, looked up, or waiting for it */
#define UNNOTED_MAX 16 /* written blocks whose cursors may wait for a pause */
/* What is written beside an attempt has changed once: cursors of the first version count for
 * nothing, and what the replica has is written again. */
#define CONTENTS_VERSION ".2"
#define DATASET_LOST     "its dataset is gone or another one; was it flushed?"
#define WENT_BACK        "it went back in time; was an old copy put in its place?"

/* What a request is for. Of each kind but the last three one at most is on its way; those are about
 * a block. */
typedef enum { CURSORS, CHECK, OPEN, NOTE, TELL, LOOK, COMPARE, WRITE } kind_t;

/* How far a block is. */
typedef enum { FILLED, LOOKING, LOOKED, WRITING } stage_t;

typedef struct slot slot_t;

typedef struct {
    kind_t kind;
    slot_t *slot;      /* NULL: of no block */
    size_t checks_at;  /* with a check: the answer that names the dataset; our mark is behind it */
    size_t decides_at; /* the answer that matters: of MGET, of EXISTS, of EXEC */
    size_t tops_at;    /* with a look: the first answer that is about scores */
    uint64_t number;   /* of a link; or of the oldest mark that a check takes */
    bool refused;      /* EXEC: somebody else wrote */
} task_t;

struct slot {
    block_t *block;
    stage_t stage;
    bool some_exist;
    task_t task;
};

struct consumer {
    service_t *service;
    store_t *store;
    cursors_t *cursors;
    reader_t *reader;
    tops_t *tops;
    char contents[STORE_DATASET_BYTES + sizeof CONTENTS_VERSION]; /* what cursors are about */
    ticker_t *ticker;
    bool ready;
    slot_t slots[BLOCKS];
    size_t first; /* the oldest */
    size_t count;
    chain_t *chain;
    bool broken; /* somebody else wrote: start again when all is answered */
    task_t cursors_task;
    task_t check_task;
    task_t open_task;
    task_t note_task;
    task_t tell_task;
    commands_t news;   /* for those who listen, not sent yet */
    bool telling;      /* some are on their way */
    bool checking;     /* a check is on its way */
    bool noting;       /* a note is on its way */
    size_t unnoted;    /* blocks since the last one */
    bool dataset_same; /* of the last check */
    bool mark_same;
    uint64_t outcomes[BLOCK_OUTCOME_COUNT];
    uint64_t transactions;
    uint64_t conflicts;
};

static slot_t *slot_at(consumer_t *self, size_t index)
{
    return &self->slots[(self->first + index) % BLOCKS];
}

/* ---- requests ---- */

/* Ask whether the store still has what we left there. */
static void add_check(consumer_t *self, task_t *task)
{
    commands_t *out = store_commands(self->store);
    task->checks_at = out->count;
    commands_begin(out, "GET", 2);
    commands_text(out, STORE_DATASET_KEY);
    task->number = chain_check(self->chain, out);
}

/* Behind a mark, so that a store which is older than what we learn here is known by it. */
static void ask_cursors(consumer_t *self)
{
    commands_t *out = store_commands(self->store);
    if (!cursors_may_ask(self->cursors))
        return;
    add_check(self, &self->cursors_task);
    chain_mark(self->chain, out);
    self->cursors_task.decides_at = out->count;
    cursors_ask(self->cursors, out);
    store_send(self->store, &self->cursors_task);
}

/* KeyDB leaves a connection in the old database when SWAPDB puts another one in its place. What is
 * on its way behind this then meets a database without our token, and does nothing. */
static void choose_database(consumer_t *self)
{
    commands_t *out = store_commands(self->store);
    if (!store_may_select(self->store))
        return;
    commands_begin(out, "SELECT", 2);
    commands_text(out, "0");
}

/* Whoever counts what runs must not count what has ended meanwhile. Twice, or by two aggregators,
 * it does the same. */
static void drop_ended(consumer_t *self)
{
    char until[32];
    commands_t *out = store_commands(self->store);
    snprintf(until, sizeof until, "%" PRId64, wall_now().ms / MS_PER_S);
    commands_begin(out, "ZREMRANGEBYSCORE", 4);
    commands_text(out, HISTORY_ACTIVE_KEY);
    commands_text(out, "-inf");
    commands_text(out, until);
}

static void check(consumer_t *self)
{
    choose_database(self);
    add_check(self, &self->check_task);
    drop_ended(self);
    self->checking = true;
    store_send(self->store, &self->check_task);
}

static void open_chain(consumer_t *self)
{
    choose_database(self);
    tops_forget(self->tops);
    chain_open(self->chain, store_commands(self->store));
    add_check(self, &self->open_task);
    store_send(self->store, &self->open_task);
}

static void end_link(consumer_t *self, task_t *task)
{
    commands_t *out = store_commands(self->store);
    task->decides_at = out->count;
    task->refused = false;
    commands_begin(out, "EXEC", 1);
    store_send(self->store, task);
}

static void note(consumer_t *self)
{
    commands_t *out = store_commands(self->store);
    self->note_task.number = chain_begin(self->chain, out);
    cursors_note(self->cursors, out, self->contents);
    self->noting = true;
    self->unnoted = 0;
    end_link(self, &self->note_task);
}

static void look(consumer_t *self, slot_t *slot)
{
    commands_t *out = store_commands(self->store);
    slot->stage = LOOKING;
    slot->some_exist = false;
    slot->task = (task_t){.kind = LOOK, .slot = slot, .decides_at = out->count};
    if (!block_ask(slot->block, self->tops, out))
        slot->task.decides_at = SIZE_MAX; /* no EXISTS, only HMGETs */
    slot->task.tops_at = out->count;
    tops_ask(self->tops, out);
    store_send(self->store, &slot->task);
}

static void compare(consumer_t *self, slot_t *slot)
{
    slot->task = (task_t){.kind = COMPARE, .slot = slot};
    block_ask_again(slot->block, store_commands(self->store));
    store_send(self->store, &slot->task);
}

static void write_block(consumer_t *self, slot_t *slot)
{
    commands_t *out = store_commands(self->store);
    slot->stage = WRITING;
    slot->task = (task_t){.kind = WRITE, .slot = slot};
    slot->task.number = chain_begin(self->chain, out);
    block_write(slot->block, self->tops, wall_now().ms / MS_PER_S, out);
    end_link(self, &slot->task);
}

/* ---- what is next ---- */

static void retire(consumer_t *self)
{
    self->unnoted++;
    block_tell(self->slots[self->first].block, wall_now().ms / MS_PER_S, &self->news);
    block_finish(self->slots[self->first].block, self->outcomes);
    self->first = (self->first + 1) % BLOCKS;
    self->count--;
}

/* In order. */
static void send_writes(consumer_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        slot_t *slot = slot_at(self, i);
        if (slot->stage == LOOKED && chain_has_room(self->chain))
            write_block(self, slot);
        else if (slot->stage != WRITING)
            return;
    }
}

/* One block that is not full may wait, and takes in more until it is looked up. */
static void fill(consumer_t *self)
{
    while (true) {
        if (tops_is_full(self->tops) && self->count > 0)
            return;
        if (tops_is_full(self->tops))
            tops_forget(self->tops);
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

/* Blocks go first, but not for ever: after a crash, what is not noted is looked up again. */
static void send_note(consumer_t *self, size_t unnoted)
{
    if (self->noting || self->unnoted < unnoted || !cursors_have_moved(self->cursors))
        return;
    if (chain_has_room(self->chain))
        note(self);
    else if (chain_is_closed(self->chain))
        open_chain(self);
}

/* A link was refused, and with it all that were sent behind it: look again. */
static void start_again(consumer_t *self)
{
    for (size_t i = 0; i < self->count; i++)
        slot_at(self, i)->stage = FILLED;
    chain_close(self->chain);
    self->broken = false;
}

/* Outside of any transaction: what is not heard of so is in the store all the same. */
static void send_news(consumer_t *self)
{
    if (self->telling || self->news.count == 0)
        return;
    commands_append(store_commands(self->store), &self->news);
    commands_clear(&self->news);
    self->telling = true;
    store_send(self->store, &self->tell_task);
}

/* Go on as far as possible. */
static void pump(consumer_t *self)
{
    if (!self->ready || (self->broken && !store_is_idle(self->store)))
        return;
    if (self->broken)
        start_again(self);
    send_note(self, UNNOTED_MAX);
    send_news(self);
    send_writes(self);
    fill(self);
    send_looks(self);
    ask_cursors(self);
    send_note(self, 0);
}

/* ---- answers ---- */

/* The answer that matters. */
static void decide(consumer_t *self, task_t *task, const redisReply *reply)
{
    switch (task->kind) {
    case CURSORS:
        cursors_learn(self->cursors, reply, self->contents);
        break;
    case LOOK:
        task->slot->some_exist = reply->integer > 0;
        break;
    case NOTE:
    case WRITE:
        task->refused = reply->type == REDIS_REPLY_NIL;
        break;
    case CHECK:
    case OPEN:
    case TELL:
    case COMPARE:
        break;
    }
}

static bool has_check(const task_t *task)
{
    return task->kind == CURSORS || task->kind == CHECK || task->kind == OPEN;
}

static void answer(void *arg, void *tag, size_t index, const redisReply *reply)
{
    consumer_t *self = arg;
    task_t *task = tag;
    if (task->kind == LOOK && index >= task->tops_at)
        tops_learn(self->tops, reply);
    else if (task->kind == COMPARE || (task->kind == LOOK && index != task->decides_at))
        block_learn(task->slot->block, reply);
    else if (has_check(task) && index == task->checks_at)
        self->dataset_same =
            reply->type == REDIS_REPLY_STRING && streq(reply->str, store_dataset(self->store));
    else if (has_check(task) && index == task->checks_at + 1)
        self->mark_same = chain_is_intact(self->chain, task->number, reply);
    else if (index == task->decides_at)
        decide(self, task, reply);
}

/* Returns false if the link was not written, and starts again with all behind it. */
static bool finish_link(consumer_t *self, const task_t *task)
{
    if (task->refused || self->broken) {
        self->conflicts += !self->broken;
        self->broken = true;
        return false;
    }
    chain_hold(self->chain, task->number);
    self->transactions++;
    store_settled(self->store);
    return true;
}

/* Returns false if the store is not what it was: the connection is gone then. */
static bool finish_check(consumer_t *self)
{
    if (self->dataset_same && self->mark_same)
        return true;
    store_fail(self->store, "%s", self->dataset_same ? WENT_BACK : DATASET_LOST);
    return false;
}

static void finish_look(consumer_t *self, slot_t *slot)
{
    if (slot->task.kind == LOOK && slot->some_exist && !self->broken)
        compare(self, slot);
    else
        slot->stage = LOOKED;
}

static void answered(void *arg, void *tag)
{
    consumer_t *self = arg;
    task_t *task = tag;
    if (has_check(task) && !finish_check(self))
        return;
    switch (task->kind) {
    case CHECK:
        self->checking = false;
        store_settled(self->store);
        break;
    case OPEN:
        chain_opened(self->chain);
        break;
    case TELL:
        self->telling = false;
        break;
    case NOTE:
        self->noting = false;
        cursors_noted(self->cursors, finish_link(self, task));
        break;
    case LOOK:
    case COMPARE:
        finish_look(self, task->slot);
        break;
    case WRITE:
        if (finish_link(self, task))
            retire(self);
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
    snprintf(self->contents, sizeof self->contents, "%s" CONTENTS_VERSION,
             store_dataset(self->store));
    pump(self);
}

static void lost(void *arg)
{
    consumer_t *self = arg;
    self->ready = self->checking = self->telling = false;
    commands_clear(&self->news);
    chain_forget(self->chain);
    self->broken = false;
    self->noting = false;
    for (size_t i = 0; i < BLOCKS; i++)
        block_clear(self->slots[i].block);
    self->count = 0;
    tops_forget(self->tops);
    cursors_forget(self->cursors);
}

/* ---- start and end ---- */

/* A store that was flushed while nothing happens, or that hangs, is found out, too; and under load
 * no later. */
static void tick(void *arg)
{
    consumer_t *self = arg;
    pump(self);
    if (self->ready && !self->checking)
        check(self);
}

/* The block that comes next, if it need not wait for those before it to be filled. What it has got
 * in this burst becomes a block like any in fill, behind the replica's commit. */
static block_t *coming(const consumer_t *self)
{
    const slot_t *newest = &self->slots[(self->first + self->count + BLOCKS - 1) % BLOCKS];
    if (!self->ready || self->broken || self->count == BLOCKS ||
        (self->count > 0 && newest->stage != WRITING && !block_is_full(newest->block)))
        return NULL;
    return self->slots[(self->first + self->count) % BLOCKS].block;
}

static void stored(void *arg, const arrival_t *in, const feed_ref_t *feed,
                   const wire_batch_t *batch)
{
    consumer_t *self = arg;
    block_t *block = coming(self);
    if (block != NULL)
        reader_take(self->reader, block, in->signer, feed, batch);
}

static void taken_back(void *arg)
{
    consumer_t *self = arg;
    block_t *block = coming(self);
    if (block != NULL)
        block_take_back(block);
}

static void advanced(void *arg)
{
    pump(arg);
}

consumer_t *consumer_new(service_t *service, enrich_t *enrich, fault_t *fault)
{
    consumer_t *self = xcalloc(1, sizeof *self);
    store_calls_t calls = {ready, answer, answered, lost, self};
    self->service = service;
    self->chain = chain_new(service_settings(service)->node.name);
    self->tops = tops_new();
    self->cursors_task.kind = CURSORS;
    self->check_task.kind = CHECK;
    self->open_task.kind = OPEN;
    self->note_task.kind = NOTE;
    self->tell_task.kind = TELL;
    for (size_t i = 0; i < BLOCKS; i++)
        self->slots[i].block = block_new();
    self->cursors = cursors_new(service_feed(service));
    self->reader = reader_new(service, enrich, self->cursors);
    history_set_timezone(service_settings(service)->history.timezone);
    self->store = store_new(service_loop(service), service_settings(service), &calls, fault);
    if (self->store == NULL) {
        consumer_destroy(&self);
        return NULL;
    }
    const mesh_follower_t follower = {stored, taken_back, advanced, self};
    mesh_follow(service_mesh(service), &follower);
    self->ticker = ticker_new(service_loop(service), TICK_MS, tick, self);
    return self;
}

void consumer_destroy(consumer_t **self_p)
{
    consumer_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    mesh_follow(service_mesh(self->service), NULL);
    ticker_destroy(&self->ticker);
    store_destroy(&self->store);
    chain_destroy(&self->chain);
    tops_destroy(&self->tops);
    commands_free(&self->news);
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

static void add_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

/* To what the mesh says of each feed, in the same order: how far it is in the store. */
static void add_progress(consumer_t *self, const json_t *feeds)
{
    for (size_t i = 0; i < json_array_size(feeds); i++) {
        const cursor_t *one = cursors_at(self->cursors, i);
        if (one == NULL)
            continue; /* our own */
        add_number(json_array_get(feeds, i), "stored", one->stored.seq);
        add_number(json_array_get(feeds, i), "missed_batches", one->stored.missed);
    }
}

void consumer_status(consumer_t *self, json_t *status)
{
    json_t *store = store_status(self->store);
    json_t *events = json_object();
    add_progress(self, json_object_get(json_object_get(status, "mesh"), "feeds"));
    add_number(store, "transactions", self->transactions);
    add_number(store, "conflicts", self->conflicts);
    add_number(store, "missed_batches", cursors_missed(self->cursors));
    json_object_set_new(status, "store", store);
    for (int i = 0; i < BLOCK_OUTCOME_COUNT; i++)
        if (self->outcomes[i] > 0 || i == BLOCK_STORED)
            add_number(events, block_outcome_name((block_outcome_t)i), self->outcomes[i]);
    json_object_set_new(status, "events", events);
    add_number(status, "behind", cursors_behind(self->cursors));
}
